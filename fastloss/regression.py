"""Losses of the difference of a prediction and a number: regression."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from .arrays import LARGEST, number, number_in
from .loss import Declaration, loss
from .run import ONE, Outer, Pointwise
from .run_rowsums import RowSums

__all__ = [
    "huber_loss",
    "l1_loss",
    "log_cosh_loss",
    "mape_loss",
    "mse_loss",
    "msle_loss",
    "quantile_loss",
    "rmse_loss",
    "smooth_l1_loss",
]


@loss("pointwise", hess=True)
def l1_loss(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, *, reduction: str = "mean", hess: float = 0.0
) -> Declaration:
    r"""Mean absolute error.

    Per element :math:`w\,|x - t|`, as ``torch.nn.functional.l1_loss``. Its slope where x and t are equal is taken as 0.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts. With it, "mean" divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.
    hess : float
        What ``grad_hess`` returns for the Hessian, which is 0; boosting wants 1. No effect elsewhere.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`.

    See Also
    --------
    torch.nn.functional.l1_loss
    sklearn.metrics.mean_absolute_error
    keras.losses.MeanAbsoluteError

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.l1_loss([1.0, 2.0, 4.0], [1, 1, 2])
    1.0
    >>> fl.l1_loss.value_and_grad([1.0, 2.0, 4.0], [1, 1, 2], reduction="none")
    (array([0., 1., 2.]), array([0., 1., 1.]))
    >>> fl.l1_loss.grad_hess([1.0, 2.0, 4.0], [1, 1, 2], hess=1.0)
    (array([0., 1., 1.]), array([1., 1., 1.]))
    """
    return Pointwise(
        "l1_loss",
        [("input", input)],
        [("target", target)],
        weight,
        reduction=reduction,
        params=(number(hess, "l1_loss", "hess"),),
        mean_by_weight=True,
    )


@loss("pointwise", hess=True)
def mse_loss(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, *, reduction: str = "mean"
) -> Declaration:
    r"""Mean squared error.

    Per element :math:`w (x - t)^2`, as ``torch.nn.functional.mse_loss``.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts. With it, "mean" divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If the shapes do not broadcast or `reduction` is none of the three.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.mse_loss
    optax.losses.squared_error
    sklearn.metrics.mean_squared_error
    keras.losses.MeanSquaredError

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, t = np.array([1.0, 2.0, 4.0]), np.array([1, 1, 2])
    >>> fl.mse_loss(x, t, reduction="none")
    array([0., 1., 4.])
    >>> fl.mse_loss.value_and_grad(x, t, reduction="sum")
    (5.0, array([0., 2., 4.]))
    """
    return Pointwise(
        "mse_loss", [("input", input)], [("target", target)], weight, reduction=reduction, mean_by_weight=True
    )


def _half_inverse(mean: float, root: float) -> float:
    return 0.5 / root if root else 0.0


@loss("pointwise")
def rmse_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    axis: int | Sequence[int] | None = None,
) -> Declaration:
    r"""Root of the mean squared error.

    One number :math:`\sqrt{\sum w (x - t)^2 / \sum w}` of all elements, or one for each row along `axis`. Where x and t
    are equal throughout, its gradient is 0.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts.
    axis : int or sequence of int, optional
        What the mean is taken over; all axes by default.

    Returns
    -------
    float or ndarray
        With `axis`, an array of the operands' shape without it.

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`.

    See Also
    --------
    sklearn.metrics.root_mean_squared_error

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.rmse_loss([1.0, 7.0], [0, 0])
    5.0
    >>> fl.rmse_loss(np.array([[1.0, 7.0], [3.0, 3.0]]), 0, axis=1)
    array([5., 3.])
    """
    if axis is not None:
        others = [("target", target), ("weight", ONE if weight is None else weight)]
        return RowSums("rmse_loss", "rmse_loss_rows", [("input", input)], others, axis, reduction="none")
    return Pointwise(
        "rmse_loss",
        [("input", input)],
        [("target", target)],
        weight,
        kernel="mse_loss",
        reduction="mean",
        mean_by_weight=True,
        outer=Outer(math.sqrt, _half_inverse),
    )


@loss("pointwise")
def mape_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Mean absolute percentage error, as a fraction: 0.01 is one percent.

    Per element :math:`|(t - x) / t|`; where t is 0 it is infinite, but 0 if x is 0 too.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
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
    sklearn.metrics.mean_absolute_percentage_error
    keras.losses.MeanAbsolutePercentageError : a hundred times as large

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.mape_loss([1.0, 3.0], [2, 4], reduction="none")
    array([0.5 , 0.25])
    """
    return Pointwise("mape_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise", hess=True)
def msle_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Mean squared logarithmic error.

    Per element :math:`(\log(1 + x) - \log(1 + t))^2`, without cancellation; NaN where x or t is below -1.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
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
    sklearn.metrics.mean_squared_log_error
    keras.losses.MeanSquaredLogarithmicError

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.msle_loss([0.0, 1.0], [0, 3]), 4)
    0.2402
    """
    return Pointwise("msle_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise", hess=True)
def smooth_l1_loss(input: ArrayLike, target: ArrayLike, beta: float = 1.0, *, reduction: str = "mean") -> Declaration:
    r"""Absolute error that is squared near 0.

    Per element :math:`d^2 / 2\beta` where :math:`d = |x - t| < \beta`, and :math:`d - \beta / 2` elsewhere, as
    ``torch.nn.functional.smooth_l1_loss``.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    beta : float
        Where the square ends: at least 0; with 0 this is :func:`l1_loss`.
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
    torch.nn.functional.smooth_l1_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.smooth_l1_loss([0.5, 3.0], [0, 0], reduction="none")
    array([0.125, 2.5  ])
    """
    name = "smooth_l1_loss"
    beta = number_in(beta, name, "beta", 0.0)
    if 0 < beta < 1 / LARGEST:
        raise ValueError(f"{name}: beta must be 0 or in [{1 / LARGEST}, {LARGEST}], got {beta!r}")
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        kernel=name if beta else "l1_loss",
        params=(beta, 1 / beta) if beta else (0.0,),
    )


@loss("pointwise", hess=True)
def huber_loss(
    input: ArrayLike, target: ArrayLike, delta: float = 1.0, weight: ArrayLike | None = None, *, reduction: str = "mean"
) -> Declaration:
    r"""Squared error that is linear far from 0.

    Per element :math:`w\, d^2 / 2` where :math:`d = |x - t| \le \delta`, and :math:`w\, \delta (d - \delta / 2)`
    elsewhere, as ``torch.nn.functional.huber_loss``.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    delta : float
        Where the square ends; positive.
    weight : array_like, optional
        Factor of each element; broadcasts. "mean" divides by the number of elements all the same.
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
    torch.nn.functional.huber_loss
    optax.losses.huber_loss
    keras.losses.Huber

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.huber_loss([0.5, 3.0], [0, 0], delta=2.0, reduction="none")
    array([0.125, 4.   ])
    """
    return Pointwise(
        "huber_loss",
        [("input", input)],
        [("target", target)],
        weight,
        reduction=reduction,
        params=(number_in(delta, "huber_loss", "delta", 1 / LARGEST),),
    )


@loss("pointwise", hess=True)
def log_cosh_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Logarithm of the hyperbolic cosine of the error: squared near 0 and absolute far from it.

    Per element :math:`\log \cosh(x - t)`, which overflows nowhere.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
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
    optax.losses.log_cosh
    keras.losses.LogCosh

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.log_cosh_loss([1e-3, 1000.0], [0, 0], reduction="none").round(9)
    array([5.00000000e-07, 9.99306853e+02])
    """
    return Pointwise("log_cosh_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise", hess=True)
def quantile_loss(
    input: ArrayLike, target: ArrayLike, q: float = 0.5, *, reduction: str = "mean", hess: float = 0.0
) -> Declaration:
    r"""Pinball loss, which the q-quantile of t minimises.

    Per element :math:`\max(q (t - x), (q - 1)(t - x))`. Its slope where x and t are equal is taken as 0.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    q : float
        In [0, 1].
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.
    hess : float
        What ``grad_hess`` returns for the Hessian, which is 0; boosting wants 1. No effect elsewhere.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`, and if a parameter is not one of those above.

    See Also
    --------
    sklearn.metrics.mean_pinball_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.quantile_loss([1.0, 3.0], [2, 2], q=0.25, reduction="none")
    array([0.25, 0.75])
    """
    name = "quantile_loss"
    q = number_in(q, name, "q", 0.0, 1.0)
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        params=(q, 1 - q, number(hess, name, "hess")),
    )
