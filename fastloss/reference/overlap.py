"""Losses of overlap by their definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .terms import Terms, as_float64, reference, sum_to


@reference("mean")
def dice_loss(
    input: Any,
    target: Any,
    *,
    axis: int | Sequence[int] | None = -1,
    smooth: float = 1.0,
    from_logits: bool = True,
) -> Terms:
    """``1 - (2 sum p t + smooth) / (sum p + sum t + smooth)``: Tversky's with halves, and half the smooth (Keras)."""
    return tversky_loss.terms(input, target, axis=axis, smooth=smooth / 2, from_logits=from_logits)


@reference("mean")
def tversky_loss(
    input: Any,
    target: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    *,
    axis: int | Sequence[int] | None = -1,
    smooth: float = 1.0,
    from_logits: bool = True,
) -> Terms:
    """``1 - (T + s) / (T + F + s)``, ``T = sum p t``, ``F = alpha sum p (1 - t) + beta sum (1 - p) t`` (Keras).

    That is ``F / D`` with ``D = T + F + s``. Gradient ``(F' D - F D') / D^2`` by ``p``, ``p (1 - p)`` times that by a
    logit.
    """
    x, t = np.broadcast_arrays(as_float64(input), as_float64(target))
    small = np.exp(-np.abs(x))
    up, down = np.where(x >= 0, 1.0, small) / (1 + small), np.where(x >= 0, small, 1.0) / (1 + small)
    p, q, slope = (up, down, up * down) if from_logits else (x, 1 - x, np.ones(x.shape))
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, int) else tuple(axis)
    axes = axes if x.ndim else ()

    def total(each: Any) -> Any:
        return np.asarray(each.sum(axis=axes, keepdims=True))

    missed, missed_by_p = alpha * total(p * (1 - t)) + beta * total(q * t), alpha * (1 - t) - beta * t
    everything, everything_by_p = total(p * t) + missed + smooth, t + missed_by_p
    value = np.where(everything == 0, 0.0, missed / everything)
    by_p = (missed_by_p * (total(p * t) + smooth) - missed * t) / everything**2
    by_p = np.where(everything == 0, 0.0, by_p) + 0 * everything_by_p * value
    grad = by_p * slope
    return Terms(value.squeeze(axes), (sum_to(grad, np.shape(input)),))
