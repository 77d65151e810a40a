"""Negative log-likelihoods of counts, amounts and measurements, and the divergence of distributions."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import ArrayLike

from . import arrays
from .arrays import LARGEST, in_two, number_in
from .loss import Declaration, loss
from .run import Pointwise

__all__ = [
    "gamma_nll_loss",
    "gaussian_nll_loss",
    "kl_div",
    "poisson_nll_loss",
    "tweedie_nll_loss",
]


@loss("pointwise", hess=True)
def poisson_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    *,
    reduction: str = "mean",
) -> Declaration:
    r"""Negative log-likelihood of counts under Poisson distributions.

    Per element :math:`e^x - t x`, or with ``log_input=False`` :math:`x - t \log(x + \epsilon)`, as
    ``torch.nn.functional.poisson_nll_loss``; 0 log 0 is 0.

    Parameters
    ----------
    input : array_like
        The expectation or its logarithm, as `log_input` says; floating.
    target : array_like
        Counts: floating, integer or boolean; broadcasts with `input`.
    log_input : bool
        Whether `input` is the logarithm of the expectation.
    full : bool
        Whether to add Stirling's approximation of :math:`\log t!`, for t > 1.
    eps : float
        Added under the logarithm; at least 0.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`, and if a parameter is not one of those above.

    See Also
    --------
    torch.nn.functional.poisson_nll_loss
    keras.losses.Poisson
    sklearn.metrics.mean_poisson_deviance

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.poisson_nll_loss(np.log([1.0, 2.0]), [1, 3], reduction="none").round(4)
    array([ 1.    , -0.0794])
    """
    name = "poisson_nll_loss"
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        kernel=name + ("" if log_input else "_of_mean") + ("_full" if full else ""),
        params=(number_in(eps, name, "eps", 0.0),),
    )


@loss("pointwise", hess=True)
def gamma_nll_loss(
    input: ArrayLike, target: ArrayLike, log_input: bool = True, *, reduction: str = "mean"
) -> Declaration:
    r"""Negative log-likelihood of positive amounts under gamma distributions, up to constants.

    Per element :math:`x + t e^{-x}`, or with ``log_input=False`` :math:`\log x + t / x`: half the deviance, but for
    what depends on t alone.

    Parameters
    ----------
    input : array_like
        The expectation or its logarithm, as `log_input` says; floating.
    target : array_like
        Floating or integer; broadcasts with `input`.
    log_input : bool
        Whether `input` is the logarithm of the expectation.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`.

    See Also
    --------
    sklearn.metrics.mean_gamma_deviance

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.gamma_nll_loss([0.0, 1.0], [1.0, 2.0], reduction="none").round(4)
    array([1.    , 1.7358])
    """
    name = "gamma_nll_loss"
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        kernel=name if log_input else name + "_of_mean",
    )


def _tweedie(power: float, log_input: bool) -> tuple[str, tuple[float, ...]]:
    """The kernel for a power, and its parameters."""
    first, second = 2 - power, 1 - power
    if power in (1, 2):
        kernel = "poisson_nll_loss" if power == 1 else "gamma_nll_loss"
        return kernel if log_input else kernel + "_of_mean", (0.0,)
    if log_input:
        return "tweedie_nll_loss", (*in_two(first), *in_two(second), 1 / first, 1 / second)
    if power == 0:
        return "mse_loss", ()
    if power > 1.5:
        return "tweedie_nll_loss_of_mean_steep", (*in_two(first), 1 / first, 1 / second, power)
    return "tweedie_nll_loss_of_mean", (*in_two(second), 1 / first, 1 / second, power)


@loss("pointwise", hess=True)
def tweedie_nll_loss(
    input: ArrayLike, target: ArrayLike, power: float = 1.5, log_input: bool = True, *, reduction: str = "mean"
) -> Declaration:
    r"""Half the Tweedie deviance, up to constants: for amounts that are often 0.

    Per element :math:`\frac{m^{2-p}}{2-p} - \frac{t\, m^{1-p}}{1-p}` with :math:`m = e^x`, or with ``log_input=False``
    :math:`m = x`, and its limits for p = 1 (:func:`poisson_nll_loss`) and 2 (:func:`gamma_nll_loss`).

    Parameters
    ----------
    input : array_like
        The expectation or its logarithm, as `log_input` says; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    power : float
        The variance's exponent p: 0 is normal, 1 Poisson, between them no distribution, 2 gamma, 3 inverse Gaussian.
    log_input : bool
        Whether `input` is the logarithm of the expectation.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`, and if a parameter is not one of those above.

    See Also
    --------
    sklearn.metrics.mean_tweedie_deviance

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.tweedie_nll_loss([0.0, 1.0], [0, 2], reduction="none").round(4)
    array([2.    , 5.7236])
    """
    name = "tweedie_nll_loss"
    power = number_in(power, name, "power", -LARGEST)
    if 0 < power < 1:
        raise ValueError(f"{name}: power must not be between 0 and 1, got {power!r}")
    kernel, params = _tweedie(power, log_input)
    weight = 0.5 if kernel == "mse_loss" else None
    return Pointwise(
        name, [("input", input)], [("target", target)], weight, reduction=reduction, kernel=kernel, params=params
    )


class _ByRow:
    """A call whose second prediction lacks the last axis, declared with one of length 1 in its place."""

    def __init__(self, declared: Declaration) -> None:
        self._declared = declared

    def value(self) -> Any:
        return self._declared.value()

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        wide = out
        if isinstance(out, (tuple, list)) and len(out) == 2:
            wide = (out[0], out[1][..., None])
        value, (grad, by_var) = self._declared.value_and_grad(wide)
        return value, (grad, by_var[..., 0]) if out is None else tuple(out)


@loss("pointwise", predictions=("input", "var"))
def gaussian_nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: float = 1e-6,
    *,
    reduction: str = "mean",
) -> Declaration:
    r"""Negative log-likelihood of measurements under normal distributions of given variance.

    Per element :math:`\tfrac{1}{2} (\log v + (x - t)^2 / v)` with :math:`v = \max(\mathrm{var}, \epsilon)`, as
    ``torch.nn.functional.gaussian_nll_loss``. It is differentiated by `input` and by `var`, by this as if it were v.

    Parameters
    ----------
    input : array_like
        Expectations; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    var : array_like
        Variances, floating and not negative: one number, or in the shape of `input`, which may lack its last axis or
        have length 1 along one axis.
    full : bool
        Whether to add :math:`\tfrac{1}{2} \log 2 \pi`.
    eps : float
        The least variance; at least 0.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If the shapes do not fit, a variance is negative, or `reduction` or a parameter is not one of those above.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.gaussian_nll_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> value, (by_input, by_var) = fl.gaussian_nll_loss.value_and_grad([1.0, 2.0], [0, 0], [1.0, 4.0])
    >>> round(value, 4), by_input, by_var
    (0.8466, array([0.5 , 0.25]), array([0., 0.]))
    """
    name = "gaussian_nll_loss"
    x, v = arrays.floating(input, name, "input"), arrays.floating(var, name, "var")
    by_row = v.ndim > 0 and v.shape == x.shape[:-1]
    differ = [n for n, m in zip(v.shape, x.shape, strict=False) if n != m]
    if v.ndim > 0 and not by_row and (v.ndim != x.ndim or differ not in ([], [1])):
        raise ValueError(
            f"{name}: var must have the shape of input, {x.shape}, or lack its last axis, or have length 1 along one "
            f"axis; has {v.shape}"
        )
    declared = Pointwise(
        name,
        [("input", x), ("var", v[..., None] if by_row else v)],
        [("target", target)],
        reduction=reduction,
        params=(number_in(eps, name, "eps", 0.0), math.log(2 * math.pi) / 2 if full else 0.0),
        refused="var must not be negative",
    )
    return _ByRow(declared) if by_row else declared


@loss("pointwise")
def kl_div(input: ArrayLike, target: ArrayLike, log_target: bool = False, *, reduction: str = "mean") -> Declaration:
    r"""Kullback-Leibler divergence of the distribution with log-probabilities `input` from `target`.

    Per element :math:`t (\log t - x)`, or with ``log_target=True`` :math:`e^t (t - x)`, as
    ``torch.nn.functional.kl_div``; 0 log 0 is 0, also where x is -inf.

    Parameters
    ----------
    input : array_like
        Log-probabilities; floating.
    target : array_like
        Probabilities, or their logarithms as `log_target` says; broadcasts with `input`.
    log_target : bool
        Whether `target` holds logarithms.
    reduction : {"mean", "batchmean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array. "mean" divides by
        the number of elements, "batchmean" by the length of the first axis, which makes it the divergence.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`.

    See Also
    --------
    torch.nn.functional.kl_div
    optax.losses.kl_divergence
    keras.losses.KLDivergence

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> log_p, q = np.log([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    >>> round(fl.kl_div(log_p, q, reduction="batchmean"), 6)
    0.05268
    """
    name = "kl_div"
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        kernel="kl_div_log_target" if log_target else name,
        batchmean=True,
    )
