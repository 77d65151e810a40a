"""Losses of margins over a row of classes by their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Terms, as_float64, product, reference, sum_to


@reference("mean")
def multi_margin_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None) -> Terms:
    """``w_t / C sum_{j != t} max(0, margin - x_t + x_j)^p`` (torch).

    Gradient ``w_t / C p max(0, z_j)^(p - 1)`` for ``z_j > 0``, and at the target the sum of those taken off.
    """
    x, label = np.atleast_1d(as_float64(input)), np.asarray(target)
    classes = x.shape[-1]
    rows, t = x.reshape(-1, classes), label.reshape(-1).astype(int)
    if ((t < 0) | (t >= classes)).any():
        raise IndexError(f"target {target} is out of range for {classes} classes")
    w = np.ones(classes) if weight is None else as_float64(weight)
    others = np.arange(classes) != t[:, None]
    z = np.where(others, margin - rows[np.arange(len(t)), t][:, None] + rows, -np.inf)
    over = np.maximum(0, z)
    factor = (w[t] / classes)[:, None]
    slope = product(factor, 2 * over if p == 2 else np.where(np.isnan(z), z, z > 0))
    slope = np.where(np.isnan(over).any(-1, keepdims=True), np.nan, slope)
    grad = np.where(others, slope, -slope.sum(-1, where=others | np.isnan(slope), keepdims=True))
    return Terms(
        product(factor, over**p).sum(-1).reshape(label.shape), (grad.reshape(np.shape(input)),), None, float(len(t))
    )


@reference("mean")
def multilabel_margin_loss(input: Any, target: Any) -> Terms:
    """``1 / C`` times the sum of ``max(0, 1 - x_t + x_j)`` over labels ``t`` and other classes ``j`` (torch).

    Gradient: what each pair with a positive term gives to ``j`` and takes from ``t``.
    """
    x = np.atleast_1d(as_float64(input))
    classes = x.shape[-1]
    rows, labels = x.reshape(-1, classes), np.asarray(target).reshape(-1, classes)
    if ((labels < -1) | (labels >= classes)).any():
        raise IndexError(f"target {target} is out of range for {classes} classes")
    value, grad = np.zeros(len(rows)), np.zeros(rows.shape)
    for i, (row, listed) in enumerate(zip(rows, labels, strict=True)):
        ended = np.flatnonzero(listed < 0)
        t = listed[: ended[0]] if len(ended) else listed
        others = ~np.isin(np.arange(classes), t)
        for label in t:
            over = np.maximum(0, 1 - row[label] + row[others])
            step = np.where(np.isnan(over).any(), np.nan, over > 0) / classes
            value[i] += over.sum() / classes
            grad[i, others] += step
            grad[i, label] -= step.sum()
    return Terms(value.reshape(x.shape[:-1]) if np.ndim(input) else value[0], (grad.reshape(np.shape(input)),))


@reference("mean")
def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None) -> Terms:
    """``1 / C sum_j w_j [(1 - t_j) softplus(x_j) + t_j softplus(-x_j)]`` (torch).

    Gradient ``w_j (s(x_j) - t_j) / C``, where ``s`` is the sigmoid.
    """
    given = (input, target, 1.0 if weight is None else weight)
    x, t, w = np.broadcast_arrays(*map(as_float64, given))
    small = np.exp(-np.abs(x))
    up, down = np.where(x >= 0, 1.0, small) / (1 + small), np.where(x >= 0, small, 1.0) / (1 + small)
    each = product(1 - t, np.logaddexp(0, x)) + product(t, np.logaddexp(0, -x))
    classes = np.shape(input)[-1]
    value = product(w, each).sum(-1) / classes
    grad = product(w, (1 - t) * up - t * down) / classes + np.where(np.isnan(value), value, 0.0)[..., None]
    return Terms(value, (sum_to(grad, np.shape(input)),))
