"""The losses of overlap: how far two soft sets are from being one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run_rowsums import RowSums

__all__ = ["dice_loss", "tversky_loss"]


def _not_negative(value: Any, name: str, parameter: str) -> float:
    number = arrays.number(value, name, parameter)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}: {parameter} must be finite and not negative, got {value!r}")
    return number


def _overlap(
    name: str, input: Any, target: Any, axis: Any, from_logits: bool, reduction: str, params: tuple[float, ...]
) -> RowSums:
    kernel = "tversky_loss" if from_logits else "tversky_loss_of_probabilities"
    return RowSums(name, kernel, [("input", input)], [("target", target)], axis, reduction=reduction, params=params)


@loss("rowwise")
def dice_loss(
    input: ArrayLike,
    target: ArrayLike,
    *,
    axis: int | Sequence[int] | None = -1,
    smooth: float = 1.0,
    from_logits: bool = True,
    reduction: str = "mean",
) -> Declaration:
    r"""Dice loss: one less the overlap of predicted and true sets.

    With :math:`p` the logits' sigmoid, per row
    :math:`1 - \frac{2 \sum_j p_j t_j + s}{\sum_j p_j + \sum_j t_j + s}`, formed without cancellation.

    Parameters
    ----------
    input : array_like
        Logits, or with ``from_logits=False`` probabilities; floating.
    target : array_like
        Of any dtype, 0 and 1 or between; broadcasts with `input`.
    axis : int, sequence of int or None
        What is summed over: an axis, several, or with None all. Images of shape ``(N, C, H, W)`` take ``(2, 3)`` for a
        loss per image and class, ``(0, 2, 3)`` for one per class of the batch.
    smooth : float
        Added above and below; with 0 the loss of two empty sets is 0.
    from_logits : bool
        Whether `input` holds logits.
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
    optax.losses.dice_loss : Of softmax; adds `smooth` to half of what is added here.
    keras.losses.Dice : From probabilities, over all axes by default.
    segmentation_models_pytorch.losses.DiceLoss
    monai.losses.DiceLoss

    References
    ----------
    F. Milletari, N. Navab and S.-A. Ahmadi, V-Net, 2016.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> p, t = np.array([[1.0, 0.5, 0.0, 0.0]]), np.array([[1, 1, 0, 0]])
    >>> round(fl.dice_loss(p, t, from_logits=False), 6)
    0.111111
    """
    smooth = _not_negative(smooth, "dice_loss", "smooth")
    return _overlap("dice_loss", input, target, axis, from_logits, reduction, (0.5, 0.5, smooth / 2))


@loss("rowwise")
def tversky_loss(
    input: ArrayLike,
    target: ArrayLike,
    alpha: float = 0.5,
    beta: float = 0.5,
    *,
    axis: int | Sequence[int] | None = -1,
    smooth: float = 1.0,
    from_logits: bool = True,
    reduction: str = "mean",
) -> Declaration:
    r"""Tversky loss: as Dice's, with weights of its own for what is predicted falsely and what is missed.

    With :math:`p` the logits' sigmoid, per row :math:`1 - \frac{T + s}{T + \alpha F + \beta M + s}` where
    :math:`T = \sum_j p_j t_j`, :math:`F = \sum_j p_j (1 - t_j)` and :math:`M = \sum_j (1 - p_j) t_j`.

    Parameters
    ----------
    input : array_like
        Logits, or with ``from_logits=False`` probabilities; floating.
    target : array_like
        Of any dtype, 0 and 1 or between; broadcasts with `input`.
    alpha, beta : float
        Weights of false positives and of false negatives. Halves give Dice's loss with twice the `smooth`, ones
        Jaccard's.
    axis : int, sequence of int or None
        As for :func:`dice_loss`.
    smooth : float
        Added above and below.
    from_logits : bool
        Whether `input` holds logits.
    reduction : {"mean", "sum", "none"}
        As for :func:`dice_loss`.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`dice_loss`.

    See Also
    --------
    optax.losses.dice_loss : Of softmax; with `alpha` and `beta`.
    keras.losses.Tversky : From probabilities, over all axes by default.
    segmentation_models_pytorch.losses.TverskyLoss
    monai.losses.TverskyLoss

    References
    ----------
    S. S. M. Salehi, D. Erdogmus and A. Gholipour, Tversky loss function for image segmentation using 3D fully
    convolutional deep networks, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> p, t = np.array([[1.0, 0.5, 0.0, 0.0]]), np.array([[1, 1, 0, 0]])
    >>> round(fl.tversky_loss(p, t, alpha=0.3, beta=0.7, from_logits=False), 6)
    0.122807
    """
    name = "tversky_loss"
    params = [_not_negative(x, name, each) for each, x in (("alpha", alpha), ("beta", beta), ("smooth", smooth))]
    return _overlap(name, input, target, axis, from_logits, reduction, tuple(params))
