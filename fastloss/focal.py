"""The focal loss of classes: cross entropy that looks away from rows it has already learnt."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run import Rowwise

__all__ = ["focal_loss"]


@loss("rowwise")
def focal_loss(
    input: ArrayLike,
    target: ArrayLike,
    gamma: float = 2.0,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    axis: int = -1,
) -> Declaration:
    r"""Focal loss of logits with class indices.

    Per row :math:`w_t (1 - p_t)^\gamma (-\log p_t)`, where p is the softmax. With ``gamma=0`` it is
    :func:`cross_entropy`. :math:`1 - p_t` is formed as such, so that a confident row keeps its small loss.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`; ``(C,)`` is a single row.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`.
    gamma : float
        How much less a confident row counts; at least 0.
    weight : array_like of shape (C,), optional
        Factor of each class, often called alpha.
    ignore_index : int
        Rows with this label count for nothing.
    reduction : {"mean", "sum", "none"}
        As for :func:`cross_entropy`: "mean" divides by the sum of the weights of the rows that count. Keras, where
        alpha is part of the loss, divides by the number of rows.
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
    keras.losses.CategoricalFocalCrossentropy : From one-hot targets, with alpha in place of `weight`.
    cross_entropy

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollar, "Focal Loss for Dense Object Detection", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> logits = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32)
    >>> fl.focal_loss(logits, [0, 1], reduction="none").round(6)
    array([0.010869, 0.099082], dtype=float32)
    >>> value, grad = fl.focal_loss.value_and_grad(logits, [0, 1], gamma=1.0)
    >>> grad.round(4)
    array([[-0.0428,  0.0214,  0.0214],
           [ 0.0786, -0.1572,  0.0786]], dtype=float32)
    """
    name = "focal_loss"
    if not 0 <= arrays.number(gamma, name, "gamma") < math.inf:
        raise ValueError(f"{name}: gamma must be finite and at least 0, got {gamma!r}")
    return Rowwise(
        name,
        name,
        input,
        axis,
        reduction=reduction,
        label=target,
        weight=weight,
        ignore_index=ignore_index,
        gamma=float(gamma),
    )
