"""Losses of a linear layer's output by their definitions: the logits whole, and the chain rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rowwise import cross_entropy
from .terms import Terms, as_float64, reference


@reference("mean")
def linear_cross_entropy(
    hidden: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    class_weight: Any = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Terms:
    """``cross_entropy`` of ``x = hidden @ weight.T + bias`` (torch): with its gradient ``g`` by the rows of ``x``,

    ``g @ weight`` by ``hidden``, ``g.T @ hidden`` by ``weight``, the sum of ``g`` over the rows by ``bias``. Of the
    rows that count: others are not looked at.
    """
    h, w, labels = as_float64(hidden), as_float64(weight), np.asarray(target)
    counted = np.broadcast_to(labels != ignore_index, h.shape[:-1])
    h[~counted] = 0.0
    x = h @ w.T + (0.0 if bias is None else as_float64(bias))
    found = cross_entropy.terms(
        x,
        target,
        class_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
    )
    g = found.grads[0][counted]
    by_hidden = np.zeros_like(h)
    by_hidden[counted] = g @ w
    grads = (by_hidden, g.T @ h[counted], *(() if bias is None else (g.sum(0),)))
    return Terms(found.value, grads, None, found.denominator)
