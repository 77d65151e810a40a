"""The losses of cosines and distances between rows: of pairs and of triplets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run_rowsums import ComposedTriplet, RowSums

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "pairwise_distance",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _finite(value: Any, loss: str, name: str) -> float:
    number = arrays.number(value, loss, name)
    if not math.isfinite(number):
        raise ValueError(f"{loss}: {name} must be finite, got {value!r}")
    return number


def _above_0(value: Any, loss: str, name: str) -> float:
    number = _finite(value, loss, name)
    if number <= 0:
        raise ValueError(f"{loss}: {name} must be greater than 0, got {value!r}")
    return number


def _norm(loss: str, p: Any) -> tuple[str, float]:
    """The end of the kernel's name for the norm of an exponent, and the exponent."""
    number = arrays.number(p, loss, "p")
    if math.isnan(number):
        raise ValueError(f"{loss}: p must be a number, got {p!r}")
    return {2.0: "", 1.0: "_1"}.get(number, "_p"), number


@loss("rowwise", grad_output=True, predictions=("x1", "x2"))
def cosine_similarity(x1: ArrayLike, x2: ArrayLike, axis: int = -1, eps: float = 1e-8) -> Declaration:
    r"""Cosine of the angle between rows.

    Per row :math:`\frac{x \cdot y}{\max(\lVert x \rVert, \epsilon) \max(\lVert y \rVert, \epsilon)}`, as
    ``torch.nn.functional.cosine_similarity``, gradient included: that of a norm below `eps` is the norm's own.

    Parameters
    ----------
    x1, x2 : array_like
        Floating; they broadcast.
    axis : int
        The axis of the common shape along which the rows lie; torch's is 1.
    eps : float
        The least that a norm counts for. Where it is 0, so is the cosine with a row of zeros.

    Returns
    -------
    ndarray
        One per row: float64 for float64 input, else float32.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, there is no such axis, or `eps` is negative.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.cosine_similarity
    optax.losses.cosine_similarity
    keras.losses.CosineSimilarity : Its negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.cosine_similarity(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([1.0, 0.0]))
    array([1. , 0.6])
    """
    name = "cosine_similarity"
    if _finite(eps, name, "eps") < 0:
        raise ValueError(f"{name}: eps must not be negative, got {eps!r}")
    return RowSums(name, name, [("x1", x1), ("x2", x2)], axis=axis, reduction="none", params=(eps,))


@loss("rowwise", predictions=("input1", "input2"))
def cosine_embedding_loss(
    input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = 0.0, *, reduction: str = "mean"
) -> Declaration:
    r"""Loss of pairs of rows that should be alike or not.

    Per row :math:`1 - \cos(x, y)` where the target is 1 and :math:`\max(0, \cos(x, y) - m)` where it is -1 (0 for any
    other target), as ``torch.nn.functional.cosine_embedding_loss``: 1e-12 is added to the squares of the norms. Nothing
    cancels where the cosine is near 1.

    Parameters
    ----------
    input1, input2 : array_like
        Rows, floating: ``(N, D)``, or ``(D,)`` for one pair; they broadcast.
    target : array_like
        1 or -1 for each pair: ``(N,)``, or a number for one.
    margin : float
        How large the cosine of rows that should differ may be.
    reduction : {"mean", "sum", "none"}
        What to make of the rows: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.cosine_embedding_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, y = np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [1.0, 0.0]])
    >>> fl.cosine_embedding_loss(x, y, [1, -1], reduction="none").round(6)
    array([1. , 0.6])
    """
    name = "cosine_embedding_loss"
    x, y = arrays.floating(input1, name, "input1"), arrays.floating(input2, name, "input2")
    t = arrays.numeric(target, name, "target")
    if t.ndim > 1 or x.ndim != t.ndim + 1 or y.ndim != t.ndim + 1:
        raise ValueError(
            f"{name}: a target of shape (N,) takes input1 and input2 of shape (N, D), a number takes (D,); "
            f"target has {t.shape}, input1 {x.shape}, input2 {y.shape}"
        )
    rows = np.broadcast_shapes(x.shape[:-1], y.shape[:-1]) if t.ndim and 1 in (len(x), len(y)) else x.shape[:-1]
    if t.shape != rows and t.shape != (1,) and rows != (1,):
        raise ValueError(f"{name}: target must have shape {rows}, one per pair, has {t.shape}")
    return RowSums(
        name, name, [("input1", x), ("input2", y)], reduction=reduction, number=("target", t),
        params=(_finite(margin, name, "margin"),),
    )  # fmt: skip


@loss("rowwise", grad_output=True, predictions=("x1", "x2"))
def pairwise_distance(
    x1: ArrayLike, x2: ArrayLike, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Declaration:
    r"""Distance between rows.

    Per row :math:`\lVert x - y + \epsilon \rVert_p`, as ``torch.nn.functional.pairwise_distance``. The gradient of a
    distance of 0 is 0; of several largest elements for an infinite `p` each gets its share.

    Parameters
    ----------
    x1, x2 : array_like
        Rows along the last axis, floating; they broadcast.
    p : float
        Of the norm; also infinite, below 1, and 0: the number of elements that differ.
    eps : float
        Added to each difference.
    keepdim : bool
        Whether the value keeps the last axis, with length 1.

    Returns
    -------
    ndarray
        One per row: float64 for float64 input, else float32.

    Raises
    ------
    ValueError
        If the shapes do not broadcast or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.pairwise_distance

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.pairwise_distance(np.array([[3.0, 4.0], [1.0, 1.0]]), np.zeros(2), eps=0.0).round(6)
    array([5.      , 1.414214])
    """
    name = "pairwise_distance"
    kernel, p = _norm(name, p)
    return RowSums(
        name, name + kernel, [("x1", x1), ("x2", x2)], reduction="none", keepdims=bool(keepdim),
        params=(_finite(eps, name, "eps"), p),
    )  # fmt: skip


@loss("rowwise", predictions=("anchor", "positive", "negative"))
def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Declaration:
    r"""Loss of triplets of rows: the positive should be nearer to the anchor than the negative, by a margin.

    Per row :math:`\max(0, m + d(a, p) - d(a, n))` with :func:`pairwise_distance` for :math:`d`, as
    ``torch.nn.functional.triplet_margin_loss``. The gradient of a distance of 0 is 0.

    Parameters
    ----------
    anchor, positive, negative : array_like
        Rows along the last axis, floating, with the same number of axes; they broadcast.
    margin : float
        Greater than 0.
    p : float
        Of the norm.
    eps : float
        Added to each difference.
    swap : bool
        Whether the distance of positive and negative takes the place of the negative's where it is smaller.
    reduction : {"mean", "sum", "none"}
        As for :func:`cosine_embedding_loss`.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.triplet_margin_loss
    optax.losses.triplet_margin_loss : With `eps` under the root.

    References
    ----------
    V. Balntas, E. Riba, D. Ponsa and K. Mikolajczyk, Learning local feature descriptors with triplets and shallow
    convolutional neural networks, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 4.0]])
    >>> round(fl.triplet_margin_loss(a, p, n), 6)
    2.0
    >>> round(fl.triplet_margin_loss(a, p, n, swap=True), 5)
    3.0
    """
    name = "triplet_margin_loss"
    kernel, p = _norm(name, p)
    return _triplets(
        name, kernel, anchor, positive, negative, reduction,
        (_finite(eps, name, "eps"), p, _above_0(margin, name, "margin"), float(bool(swap))),
    )  # fmt: skip


def _triplets(
    name: str, kernel: str, anchor: Any, positive: Any, negative: Any, reduction: str, params: tuple[float, ...]
) -> RowSums:
    given = (("anchor", anchor), ("positive", positive), ("negative", negative))
    named = [(each, arrays.floating(value, name, each)) for each, value in given]
    a, p, n = (found for _, found in named)
    shapes = ", ".join(f"{each} {found.shape}" for each, found in named)
    if not a.ndim == p.ndim == n.ndim:
        raise ValueError(f"{name}: the three must have the same number of axes; shapes: {shapes}")
    lengths = [found.shape[-1] for found in (a, p, n) if found.ndim]
    if lengths.count(1) > 1 and len(set(lengths)) > 1:
        raise ValueError(f"{name}: two rows of length 1 and one of another; shapes: {shapes}")
    return RowSums(name, "triplet_margin_loss" + kernel, named, reduction=reduction, params=params)


@loss("rowwise", predictions=("anchor", "positive", "negative"))
def triplet_margin_with_distance_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    distance_function: Callable[..., Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Declaration:
    r"""Loss of triplets of rows under any distance.

    Per row :math:`\max(0, m + d(a, p) - d(a, n))` where :math:`d` is a Python function, as
    ``torch.nn.functional.triplet_margin_with_distance_loss``.

    Parameters
    ----------
    anchor, positive, negative : array_like
        Rows, floating, with the same number of axes.
    distance_function : callable, optional
        Takes two NumPy arrays (float32, or float64 where that is the input) and returns an array of floating distances,
        one per row. For the gradient it has to carry ``value_and_grad(x1, x2, grad_output=...)``, which returns the
        distances and the gradients of ``(grad_output * distances).sum()`` by both: as :func:`pairwise_distance`, which
        is the default, and :func:`cosine_similarity` do.
    margin : float
        Greater than 0.
    swap : bool
        Whether the distance of positive and negative takes the place of the negative's where it is smaller.
    reduction : {"mean", "sum", "none"}
        As for :func:`cosine_embedding_loss`.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported, `distance_function` is no function, or the gradient is asked of one that has none.

    See Also
    --------
    torch.nn.functional.triplet_margin_with_distance_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), np.array([[0.0, 4.0]])
    >>> fl.triplet_margin_with_distance_loss(a, p, n, distance_function=lambda x, y: abs(x - y).max(-1))
    1.0
    """
    name = "triplet_margin_with_distance_loss"
    params = (1e-6, 2.0, _above_0(margin, name, "margin"), float(bool(swap)))
    if distance_function is None:
        return _triplets(name, "", anchor, positive, negative, reduction, params)
    if not callable(distance_function):
        raise TypeError(f"{name}: distance_function must be callable, is a {type(distance_function).__name__}")
    return ComposedTriplet(
        name,
        [("anchor", anchor), ("positive", positive), ("negative", negative)],
        distance_function,
        reduction=reduction,
        params=params,
    )
