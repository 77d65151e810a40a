"""Losses over the pairs of a batch by their definitions: the whole matrix of pairs, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .terms import Array, Terms, as_float64, from_unit, quotient, reference, unit

Mask = npt.NDArray[np.bool_]


class Batch:
    """Embeddings in the order of their labels, what they have with each other, and which pairs have one label."""

    def __init__(
        self, embeddings: Any, labels: Any, metric: str | None, cosine: bool = False, temperature: float = 1.0
    ) -> None:
        x = as_float64(embeddings)
        labels = np.asarray(labels)
        if labels.ndim == 0:
            labels = np.arange(len(x)) % (len(x) // int(labels) or 1)
        self.order = np.argsort(labels, kind="stable")
        labels, self.x, self.metric, self.temperature = labels[self.order], x[self.order], metric, temperature
        self.divided = cosine or metric in (None, "cosine")
        self.points, self.norm = unit(self.x) if self.divided else (self.x, np.ones(1))
        if metric is None:
            self.pairs = self.points @ self.points.T / temperature
        else:
            apart = np.sqrt(((self.points[:, None] - self.points) ** 2).sum(axis=-1))
            self.pairs = {"euclidean": apart, "squared": apart**2, "cosine": apart**2 / 2}[metric]
        same = labels[:, None] == labels
        self.positive: Mask = same & ~np.eye(len(x), dtype=bool)
        self.negative: Mask = ~same

    def back(self, array: Array) -> Array:
        """Rows in the order that they were given in."""
        to: Array = np.empty_like(array)
        to[self.order] = array
        return to

    def terms(self, value: Array, slopes: Array, count: float) -> Terms:
        """A loss per anchor with its slopes by the pairs, and the number of terms that a mean divides by."""
        if self.metric is None:
            grad = (slopes + slopes.T) @ self.points / self.temperature
        else:
            both = {"squared": 2 * slopes, "cosine": slopes}.get(self.metric, quotient(slopes, self.pairs))
            both = both + both.T
            grad = both.sum(axis=1, keepdims=True) * self.points - both @ self.points
        if self.divided:
            grad = from_unit(grad, self.points, self.norm)
        if not np.isfinite(self.x).all():
            value, grad = np.full_like(value, np.nan), np.full_like(grad, np.nan)
        return Terms(self.back(value), (self.back(grad),), denominator=max(count, 1))


def _softplus(x: Any) -> Any:
    return np.logaddexp(0.0, x)


def _sigmoid(x: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -x))


def _over_margin(x: Any, soft: bool) -> tuple[Any, Any]:
    """The hinge, or the softplus; and its slope."""
    return (_softplus(x), _sigmoid(x)) if soft else (np.maximum(x, 0.0), (np.asarray(x) > 0) * 1.0)


@reference("mean")
def batch_all_triplet_loss(
    embeddings: Any, labels: Any, margin: float = 5.0, metric: str = "euclidean", *, soft_margin: bool = False
) -> Terms:
    """``[d_ap - d_an + margin]+`` of every triplet; the mean is of those above 0."""
    batch = Batch(embeddings, labels, metric)
    value, slopes, count = np.zeros(len(batch.x)), np.zeros_like(batch.pairs), 0.0
    for a, d in enumerate(batch.pairs):
        p, n = batch.positive[a], batch.negative[a]
        over = d[p][:, None] - d[n] + (0.0 if soft_margin else margin)
        each, slope = _over_margin(over, soft_margin)
        value[a], count = each.sum(), count + (over.size if soft_margin else (over > 0).sum())
        slopes[a, p], slopes[a, n] = slope.sum(axis=1), -slope.sum(axis=0)
    return batch.terms(value, slopes, count)


@reference("mean")
def batch_hard_triplet_loss(
    embeddings: Any, labels: Any, margin: float = 5.0, metric: str = "euclidean", *, soft_margin: bool = False
) -> Terms:
    """``[max d_ap - min d_an + margin]+`` of every anchor that has both."""
    batch = Batch(embeddings, labels, metric)
    value, slopes, count = np.zeros(len(batch.x)), np.zeros_like(batch.pairs), 0
    for a, d in enumerate(batch.pairs):
        if batch.positive[a].any() and batch.negative[a].any():
            far = int(np.argmax(np.where(batch.positive[a], d, -np.inf)))
            near = int(np.argmin(np.where(batch.negative[a], d, np.inf)))
            value[a], slope = _over_margin(d[far] - d[near] + (0.0 if soft_margin else margin), soft_margin)
            slopes[a, far], slopes[a, near], count = slope, -slope, count + 1
    return batch.terms(value, slopes, count)


@reference("mean")
def batch_semihard_triplet_loss(
    embeddings: Any, labels: Any, margin: float = 5.0, metric: str = "euclidean", *, soft_margin: bool = False
) -> Terms:
    """``[d_ap - d_an + margin]+`` of every positive and the nearest negative beyond it, or the farthest of all."""
    batch = Batch(embeddings, labels, metric)
    value, slopes, count = np.zeros(len(batch.x)), np.zeros_like(batch.pairs), 0
    for a, d in enumerate(batch.pairs):
        if not batch.negative[a].any():
            continue
        for p in np.flatnonzero(batch.positive[a]):
            beyond = batch.negative[a] & (d > d[p])
            at = int(
                np.argmin(np.where(beyond, d, np.inf))
                if beyond.any()
                else np.argmax(np.where(batch.negative[a], d, -np.inf))
            )
            each, slope = _over_margin(d[p] - d[at] + (0.0 if soft_margin else margin), soft_margin)
            value[a], count = value[a] + each, count + 1
            slopes[a, p] += slope
            slopes[a, at] -= slope
    return batch.terms(value, slopes, count)


@reference("mean")
def contrastive_loss(
    embeddings: Any,
    labels: Any,
    pos_margin: float = 0.0,
    neg_margin: float = 1.0,
    metric: str = "euclidean",
    *,
    normalize: bool = True,
) -> Terms:
    """``[d - pos_margin]+`` of pairs of one label, ``[neg_margin - d]+`` of others; means of those above 0, added."""
    batch = Batch(embeddings, labels, metric, normalize)
    parts = []
    for sign, margin, mask in ((1.0, pos_margin, batch.positive), (-1.0, neg_margin, batch.negative)):
        over = np.where(mask, sign * (batch.pairs - margin), 0.0)
        part = batch.terms(np.maximum(over, 0).sum(axis=1), np.asarray(sign * (over > 0)), float((over > 0).sum()))
        parts.append(part)
    pos, neg = parts
    return Terms(pos.value + neg.value, (pos.grads[0] + neg.grads[0],), parts=(pos, neg))


@reference("mean")
def circle_loss(embeddings: Any, labels: Any, m: float = 0.4, gamma: float = 80.0) -> Terms:
    """``log(1 + sum e^u sum e^v)`` of positives and negatives; the weights in u and v have no slope."""
    batch = Batch(embeddings, labels, None)
    s, has = batch.pairs, batch.positive.any(axis=1, keepdims=True) & batch.negative.any(axis=1, keepdims=True)
    up, un = -gamma * np.maximum(1 + m - s, 0), gamma * np.maximum(s + m, 0)
    u = np.where(batch.positive, up * (s - 1 + m), -np.inf)
    v = np.where(batch.negative, un * (s - m), -np.inf)
    lse_u, lse_v = _lse(u), _lse(v)
    x = lse_u + lse_v
    slopes = _sigmoid(x) * (np.exp(u - lse_u) * up + np.exp(v - lse_v) * un)
    return batch.terms(np.where(has, _softplus(x), 0)[:, 0], np.where(has, slopes, 0), float(has.sum()))


def _lse(x: Array) -> Array:
    return np.asarray(np.logaddexp.reduce(x, axis=1, keepdims=True, initial=-np.inf))


@reference("mean")
def nt_xent_loss(embeddings: Any, labels: Any, temperature: float = 0.07) -> Terms:
    """``log(1 + e^(lse of negatives - s_ap))`` of every pair of one label."""
    batch = Batch(embeddings, labels, None, temperature=temperature)
    lse = _lse(np.where(batch.negative, batch.pairs, -np.inf))
    over = np.where(batch.positive, lse - batch.pairs, -np.inf)
    pull = _sigmoid(over)
    slopes = np.where(batch.negative, np.exp(batch.pairs - lse) * pull.sum(axis=1, keepdims=True), 0.0) - pull
    return batch.terms(_softplus(over).sum(axis=1), slopes, float(batch.positive.sum()))


@reference("mean")
def supcon_loss(embeddings: Any, labels: Any, temperature: float = 0.1) -> Terms:
    """The mean over an anchor's positives of ``lse of all others - s_ap``."""
    batch = Batch(embeddings, labels, None, temperature=temperature)
    lse = _lse(np.where(batch.positive | batch.negative, batch.pairs, -np.inf))
    count = batch.positive.sum(axis=1, keepdims=True)
    share = quotient(batch.positive * 1.0, count)
    p = np.where(batch.positive | batch.negative, np.exp(batch.pairs - lse), 0.0)
    value = (share * np.where(batch.positive, lse - batch.pairs, 0.0)).sum(axis=1)
    return batch.terms(value, np.where(count > 0, p - share, 0.0), float((count > 0).sum()))
