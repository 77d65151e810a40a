"""Losses that match rows with candidates by their definitions: the whole matrix of similarities, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Array, Terms, as_float64, from_unit, reference, unit


def _pick(s: Array, axis: int = 1) -> tuple[Array, Array]:
    """Cross entropy of each row (or column) of similarities with its own number for a label, and its slopes.

    Both by what the others have beside it: where that is little, nothing cancels.
    """
    own = np.eye(*s.shape) == 1
    count = min(s.shape)
    kept = s if axis == 1 else s[:, :count]
    above = kept - np.expand_dims(s.diagonal(), axis)
    value = np.logaddexp.reduce(above, axis=axis, keepdims=True)
    others = np.where(own[:, : kept.shape[1]], 0.0, np.exp(above - value))
    slopes = np.zeros_like(s)
    slopes[:, : kept.shape[1]] = others
    slopes[own] = -others.sum(axis=axis)
    return value.reshape(-1), slopes


def _candidates(s: Array, symmetric: bool) -> tuple[Array, Array]:
    """The loss of every row, and its slopes."""
    value, slopes = _pick(s)
    if not symmetric:
        return value, slopes
    by_column, more = _pick(s, 0)
    return (value + by_column) / 2, (slopes + more) / 2


@reference("mean")
def info_nce_loss(
    query: Any,
    positive: Any,
    negatives: Any = None,
    temperature: float = 0.05,
    similarity: str = "cosine",
    *,
    in_batch: bool = True,
    symmetric: bool = False,
) -> Terms:
    """``log sum_c e^(s(q, c) / T) - s(q, p) / T``."""
    cosine, x, p = similarity == "cosine", as_float64(query), as_float64(positive)
    hard = as_float64(negatives) if negatives is not None else np.zeros((len(x), 0, x.shape[1]))
    u, c = x, np.concatenate([p[:, None], hard], axis=1)
    if cosine:
        (u, norm), (c, norms) = unit(u), unit(c)
    if in_batch:
        flat = np.concatenate([c[:, 0], c[:, 1:].reshape(-1, x.shape[1])])
        value, slopes = _candidates(u @ flat.T / temperature, symmetric)
        by_u, by_flat = slopes @ flat / temperature, slopes.T @ u / temperature
        by_c = np.concatenate([by_flat[: len(x), None], by_flat[len(x) :].reshape(hard.shape)], axis=1)
    else:
        s = np.einsum("nkd,nd->nk", c, u) / temperature
        above = s - s[:, :1]
        value = np.logaddexp.reduce(above, axis=1)
        slopes = np.exp(above - value[:, None])
        slopes[:, 0] = -slopes[:, 1:].sum(axis=1)
        by_u, by_c = np.einsum("nk,nkd->nd", slopes, c) / temperature, slopes[:, :, None] * u[:, None] / temperature
    if cosine:
        by_u, by_c = from_unit(by_u, u, norm), from_unit(by_c, c, norms)
    grads = by_u, by_c[:, 0], by_c[:, 1:]
    return Terms(value, grads[: 2 if negatives is None else 3])


@reference("mean")
def clip_loss(image: Any, text: Any, scale: Any) -> Terms:
    """``(lse of row i + lse of column i) / 2 - l_ii``, ``l = scale image text'``."""
    x, y, a = as_float64(image), as_float64(text), float(as_float64(scale))
    value, slopes = _candidates(a * (x @ y.T), True)
    return Terms(value, (a * slopes @ y, a * slopes.T @ x, np.asarray((slopes * (x @ y.T)).sum())))


@reference("mean")
def siglip_loss(image: Any, text: Any, scale: Any, bias: Any) -> Terms:
    """``sum_j log(1 + e^(-z_ij l_ij))``, z being 1 on the diagonal, else -1; ``l = scale image text' + bias``."""
    x, y, a, b = as_float64(image), as_float64(text), float(as_float64(scale)), float(as_float64(bias))
    z = 2 * np.eye(len(x)) - 1
    along = -z * (a * (x @ y.T) + b)
    slopes = -z * np.exp(-np.logaddexp(0, -along))
    grads = a * slopes @ y, a * slopes.T @ x, np.asarray((slopes * (x @ y.T)).sum()), np.asarray(slopes.sum())
    return Terms(np.logaddexp(0, along).sum(axis=1), grads)
