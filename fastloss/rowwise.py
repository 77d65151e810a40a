"""Cross entropy and its relatives: one number per row of classes, along any axis.

Softmax's own functions are in softmax.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run import ABSENT, Outer, Rowwise

__all__ = ["cross_entropy", "entropy", "nll_loss", "perplexity", "selective_log_softmax"]


def _given(value: Any) -> bool:
    """Whether a parameter is anything but its default 0.0, and so worth a look."""
    return type(value) is not float or value != 0.0


def _is_probabilities(input: ArrayLike, target: Any, name: str) -> bool:
    """Whether a target is class probabilities: floating, of the input's shape (torch decides by the shape alone)."""
    found = arrays.array(target, name, "target")
    if arrays.is_label_dtype(found):
        return False
    predictions = arrays.array(input, name, "input")
    if found.shape == predictions.shape:
        return True
    if found.size == 0 and not isinstance(target, np.ndarray):
        return False
    if found.ndim == predictions.ndim and found.dtype.kind in "fV":
        raise ValueError(
            f"{name}: target of probabilities must have the shape of input, {predictions.shape}, has {found.shape}"
        )
    raise TypeError(
        f"{name}: target must hold class indices of an integer dtype, or probabilities in the shape of input, "
        f"{predictions.shape}; has dtype {found.dtype} and shape {found.shape}"
    )


def check_parameters(name: str, label_smoothing: float, z_loss: float, softcap: float | None) -> None:
    """Those of a cross entropy."""
    if _given(label_smoothing) and not 0.0 <= arrays.number(label_smoothing, name, "label_smoothing") <= 1.0:
        raise ValueError(f"{name}: label_smoothing must be in [0, 1], got {label_smoothing!r}")
    if _given(z_loss) and not 0.0 <= arrays.number(z_loss, name, "z_loss") <= arrays.LARGEST:
        raise ValueError(f"{name}: z_loss must be in [0, {arrays.LARGEST}], got {z_loss!r}")
    if softcap is not None and not 1 / arrays.LARGEST <= arrays.number(softcap, name, "softcap") <= arrays.LARGEST:
        raise ValueError(f"{name}: softcap must be in [{1 / arrays.LARGEST}, {arrays.LARGEST}], got {softcap!r}")


@loss("rowwise", hess=True)
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    axis: int = -1,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Declaration:
    r"""Cross entropy of logits with class indices or class probabilities.

    For an index :math:`t`, with :math:`\operatorname{lse} = \log \sum_j e^{x_j}` and smoothing :math:`\epsilon`,

    .. math:: (1 - \epsilon)\, w_t (\operatorname{lse} - x_t)
              + \frac{\epsilon}{C} \sum_j w_j (\operatorname{lse} - x_j) + z \operatorname{lse}^2,

    as ``torch.nn.functional.cross_entropy``; probabilities :math:`t_j` take the place of the one index. One read of
    the logits, no intermediate array. A masked logit of -inf contributes nothing, in value and gradient.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`; ``(C,)`` is a single row.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`; or probabilities: floating, in the
        shape of `input`.
    weight : array_like of shape (C,), optional
        Factor of each class.
    ignore_index : int
        Rows with this label count for nothing. No effect on probabilities.
    reduction : {"mean", "sum", "none"}
        "mean" of class indices divides by the sum of the weights of the rows that count, of probabilities by the
        number of rows. The result is a Python float accumulated in float64; with "none", an array of one per row.
    label_smoothing : float
        In [0, 1].
    axis : int
        The class axis; torch's is 1.
    z_loss : float
        Adds ``z_loss * lse**2`` to each row that counts (PaLM, Chowdhery et al. 2022).
    softcap : float, optional
        Replaces each logit x by ``softcap * tanh(x / softcap)`` (Gemma 2, 2024).

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit; the message names it.
    IndexError
        If a label is out of range; the message names the first.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.cross_entropy
    optax.losses.softmax_cross_entropy_with_integer_labels
    optax.losses.softmax_cross_entropy : of probabilities
    sklearn.metrics.log_loss : from probabilities
    keras.losses.SparseCategoricalCrossentropy : with ``from_logits=True``

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    >>> round(fl.cross_entropy(logits, [0, 1]), 6)
    0.395495
    >>> value, grad = fl.cross_entropy.value_and_grad(logits, [0, 1])
    >>> grad.round(3)
    array([[-0.107,  0.053,  0.053],
           [ 0.106, -0.212,  0.106]], dtype=float32)
    """
    name = "cross_entropy"
    check_parameters(name, label_smoothing, z_loss, softcap)
    dense = not (type(target) is np.ndarray and target.dtype.kind in "iub") and _is_probabilities(input, target, name)
    return Rowwise(
        name,
        "cross_entropy_dense" if dense else "cross_entropy",
        input,
        axis,
        reduction=reduction,
        label=ABSENT if dense else target,
        dense=target if dense else ABSENT,
        weight=weight,
        ignore_index=None if dense else ignore_index,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap or 0.0,
    )


@loss("rowwise")
def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = -1,
) -> Declaration:
    r"""Negative log-likelihood from log-probabilities: :math:`-w_t x_t`.

    As ``torch.nn.functional.nll_loss``. It reads the targets' elements only.

    Parameters
    ----------
    input : array_like
        Log-probabilities, floating, with the classes along `axis`.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`.
    weight : array_like of shape (C,), optional
        Factor of each class.
    ignore_index : int
        Rows with this label count for nothing.
    reduction : {"mean", "sum", "none"}
        As for :func:`cross_entropy`.
    axis : int
        The class axis; torch's is 1.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, IndexError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torch.nn.functional.nll_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.nll_loss(np.log([[0.5, 0.5], [0.9, 0.1]]), [0, 0]), 6)
    0.399254
    """
    return Rowwise(
        "nll_loss",
        "nll_loss",
        input,
        axis,
        reduction=reduction,
        label=target,
        weight=weight,
        ignore_index=ignore_index,
    )


@loss("rowwise")
def selective_log_softmax(input: ArrayLike, target: ArrayLike, *, axis: int = -1) -> Declaration:
    r"""Log-probability of the chosen class of each row: :math:`x_t - \operatorname{lse}`.

    What reinforcement learning and evaluation take from ``log_softmax`` and a gather, without the intermediate.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`.
    axis : int
        The class axis.

    Returns
    -------
    ndarray
        One per row: float64 for float64 input, else float32.

    Raises
    ------
    ValueError, IndexError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    trl.trainer.utils.selective_log_softmax
    torch.nn.functional.log_softmax : and a gather

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.selective_log_softmax(np.array([[0.0, 0.0], [3.0, 0.0]]), [1, 0]).round(4)
    array([-0.6931, -0.0486])
    """
    name = "selective_log_softmax"
    return Rowwise(name, name, input, axis, reduction="none", label=target)


def _perplexity(base: float) -> Outer:
    log_base = math.log(base)

    def value(mean: float) -> float:
        try:
            return float(math.pow(base, mean / log_base))
        except OverflowError:
            return math.inf

    return Outer(value, lambda mean, perplexity: perplexity)


def _check_base(name: str, base: float | None) -> None:
    if base is not None and not (0 < arrays.number(base, name, "base") < math.inf and base != 1):
        raise ValueError(f"{name}: base must be a finite number > 0 other than 1, got {base!r}")


@loss("rowwise")
def perplexity(
    input: ArrayLike,
    target: ArrayLike,
    ignore_index: int = -100,
    base: float | None = None,
    *,
    axis: int = -1,
) -> Declaration:
    r"""Perplexity: the exponential of the mean cross entropy of the rows that count.

    Of the n rows that count :math:`\exp\left(\frac{1}{n} \sum_i (\operatorname{lse}_i - x_{i,t_i})\right)`.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`.
    ignore_index : int
        Rows with this label count for nothing.
    base : float, optional
        The mean is taken in units of this base and raised to it: 2 takes bits. The number is the same.
    axis : int
        The class axis.

    Returns
    -------
    float
        inf where it exceeds the range of float64; NaN where no row counts.

    Raises
    ------
    ValueError, IndexError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torchmetrics.text.Perplexity
    torch.nn.functional.cross_entropy : its logarithm

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.perplexity(np.zeros((5, 8)), [0, 1, 2, 3, 4]), 6)
    8.0
    """
    name = "perplexity"
    _check_base(name, base)
    return Rowwise(
        name,
        "cross_entropy",
        input,
        axis,
        reduction="mean",
        label=target,
        ignore_index=ignore_index,
        outer=_perplexity(math.e if base is None else base),
    )


@loss("rowwise")
def entropy(
    input: ArrayLike,
    from_logits: bool = True,
    base: float | None = None,
    *,
    axis: int = -1,
    reduction: str = "none",
) -> Declaration:
    r"""Shannon's entropy of each row: :math:`-\sum_j p_j \log p_j`, where 0 log 0 is 0.

    Parameters
    ----------
    input : array_like
        Logits, or with ``from_logits=False`` probabilities; floating, with the classes along `axis`.
    from_logits : bool
        Whether `input` holds logits.
    base : float, optional
        Of the logarithm: 2 gives bits. Natural by default.
    axis : int
        The class axis.
    reduction : {"none", "mean", "sum"}
        One number per row by default.

    Returns
    -------
    ndarray or float

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    scipy.stats.entropy : from probabilities
    torch.distributions.Categorical : its ``entropy()``

    Notes
    -----
    From probabilities the gradient is :math:`-(\log x_j + 1)`, and 0 where :math:`x_j` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.entropy(np.zeros((2, 8)), base=2)
    array([3., 3.])
    >>> fl.entropy(np.array([0.5, 0.5, 0.0]), from_logits=False, base=2)
    array(1.)
    """
    name = "entropy"
    _check_base(name, base)
    return Rowwise(
        name,
        "entropy" if from_logits else "entropy_of_probabilities",
        input,
        axis,
        reduction=reduction,
        unit=1.0 if base is None else 1.0 / math.log(base),
    )
