"""The losses of margins over a row of classes: one label, or several."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run import ONE
from .run_rowsums import RowSums

__all__ = ["multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss"]


@loss("rowwise")
def multi_margin_loss(
    input: ArrayLike,
    target: ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> Declaration:
    r"""Hinge loss of several classes.

    Per row :math:`\frac{w_t}{C} \sum_{j \ne t} \max(0, m - x_t + x_j)^p`, as ``torch.nn.functional.multi_margin_loss``.

    Parameters
    ----------
    input : array_like
        Scores, floating: ``(N, C)``, or ``(C,)`` for one row.
    target : array_like
        Class indices of any integer dtype: ``(N,)``, or one for one row.
    p : int
        1 or 2.
    margin : float
        How much larger the target's score should be than any other.
    weight : array_like of shape (C,), optional
        Factor of each class: a row has its target's.
    reduction : {"mean", "sum", "none"}
        What to make of the rows: a Python float accumulated in float64, or with "none" the array. "mean" divides by
        the number of rows.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    IndexError
        If a label is out of range; the message names the first.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.multi_margin_loss
    sklearn.metrics.hinge_loss : With the largest other class alone.
    optax.losses.multiclass_hinge_loss : Likewise.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.multi_margin_loss(np.array([[0.1, 0.2, 0.4, 0.8]]), [3]), 6)
    0.325
    """
    name = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p!r}")
    margin = arrays.number(margin, name, "margin")
    if not math.isfinite(margin):
        raise ValueError(f"{name}: margin must be finite, got {margin!r}")
    x, t = arrays.floating(input, name, "input"), arrays.labels(target, name, "target")
    rows = _rows(x, name)
    if t.ndim > 1 or t.size != rows:
        raise ValueError(f"{name}: target must have shape ({rows},) for input of shape {x.shape}, has {t.shape}")
    return RowSums(
        name, name if p == 1 else "multi_margin_loss_squared", [("input", x)], reduction=reduction,
        label=("target", t), weight=weight, params=(margin,),
    )  # fmt: skip


def _rows(x: arrays.Array, name: str) -> int:
    if x.ndim > 2:
        raise ValueError(f"{name}: input must be a row of classes or a matrix of such rows, has shape {x.shape}")
    return len(x) if x.ndim == 2 else 1


@loss("rowwise")
def multilabel_margin_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Hinge loss of rows with several labels.

    Per row with labels :math:`T`: :math:`\frac{1}{C} \sum_{t \in T} \sum_{j \notin T} \max(0, 1 - x_t + x_j)`, as
    ``torch.nn.functional.multilabel_margin_loss``; a label that is listed twice counts twice.

    Parameters
    ----------
    input : array_like
        Scores, floating: ``(N, C)``, or ``(C,)`` for one row.
    target : array_like
        Rows of class indices of any signed integer dtype, in the shape of `input`: each row's labels, ended by -1 where
        they are fewer than classes.
    reduction : {"mean", "sum", "none"}
        As for :func:`multi_margin_loss`.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape does not fit.
    IndexError
        If a label is neither -1 nor a class, also behind the end; the message names the first.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.multilabel_margin_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> round(fl.multilabel_margin_loss(np.array([[0.1, 0.2, 0.4, 0.8]]), [[3, 0, -1, 1]]), 6)
    0.85
    """
    name = "multilabel_margin_loss"
    x, t = arrays.floating(input, name, "input"), arrays.labels(target, name, "target")
    _rows(x, name)
    if t.shape != x.shape and not (x.size == t.size == 1 and max(x.ndim, t.ndim) == 1):
        raise ValueError(f"{name}: target must have the shape of input, {x.shape}, has {t.shape}")
    return RowSums(
        name, "multi_margin_loss", [("input", x)], reduction=reduction, labels=("target", t.reshape(x.shape)),
        params=(1.0,),
    )  # fmt: skip


@loss("rowwise")
def multilabel_soft_margin_loss(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, *, reduction: str = "mean"
) -> Declaration:
    r"""Binary cross entropy of the logits of a row, averaged over its classes.

    Per row :math:`\frac{1}{C} \sum_j w_j [(1 - t_j) \operatorname{softplus}(x_j) + t_j \operatorname{softplus}(-x_j)]`,
    as ``torch.nn.functional.multilabel_soft_margin_loss``, finite for every finite logit.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along the last axis.
    target : array_like
        Probabilities, or labels 0 and 1 of any integer dtype or bool; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts, so that one per class fits.
    reduction : {"mean", "sum", "none"}
        As for :func:`multi_margin_loss`.

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
    torch.nn.functional.multilabel_soft_margin_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, t = np.array([[0.0, 3.0], [-1000.0, 0.0]]), np.array([[1, 1], [0, 1]])
    >>> fl.multilabel_soft_margin_loss(x, t, reduction="none").round(4)
    array([0.3709, 0.3466])
    """
    name = "multilabel_soft_margin_loss"
    x = arrays.floating(input, name, "input")
    given = (("target", target), ("weight", ONE if weight is None else weight))
    others = [(each, arrays.numeric(value, name, each)) for each, value in given]
    if x.ndim == 0:
        raise ValueError(f"{name}: input must have a class axis, has shape ()")
    for each, found in others:
        if found.ndim > x.ndim:
            raise ValueError(f"{name}: {each} has more axes than input: shape {found.shape}, input {x.shape}")
    return RowSums(name, name, [("input", x)], others, reduction=reduction, params=(float(x.shape[-1]),))
