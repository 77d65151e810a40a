"""Losses of cosines and distances by their definitions: rows along ``axis`` of arrays that broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Array, Terms, as_float64, reference


@reference("none")
def cosine_similarity(x1: Any, x2: Any, axis: int = -1, eps: float = 1e-8, *, grad_output: Any = None) -> Terms:
    """Cosine ``<x, y> / (m n)`` with ``m = max(|x|, eps)``, ``n = max(|y|, eps)`` (torch).

    Gradient ``y / (m n) - cos x / (m |x|)``, the second term 0 where ``x`` is; likewise by ``y``.
    """
    x, y, g = _rows(x1, x2, axis, grad_output)
    a, b = _norm(x), _norm(y)
    m, n = np.maximum(a, eps), np.maximum(b, eps)
    cosine = _quotient(_sum(x * y), m * n)
    by_x = _quotient(y, m * n) - cosine * _quotient(x, m * a)
    by_y = _quotient(x, m * n) - cosine * _quotient(y, n * b)
    return Terms(cosine[..., 0], (_back(g * by_x, x1, axis), _back(g * by_y, x2, axis)))


def _rows(x1: Any, x2: Any, axis: int, grad_output: Any = None) -> tuple[Array, Array, Array]:
    """Both arrays broadcast with the rows last, and what comes from upstream for each."""
    x, y = (np.moveaxis(np.atleast_1d(each), axis, -1) for each in np.broadcast_arrays(*map(as_float64, (x1, x2))))
    g = np.ones(x.shape[:-1]) if grad_output is None else as_float64(grad_output).reshape(x.shape[:-1])
    return x, y, g[..., None]


def _back(derivative: Array, input: Any, axis: int) -> Array:
    """The rows where they were, and summed over the axes along which ``input`` was broadcast."""
    derivative, shape = np.moveaxis(derivative, -1, axis), np.shape(input)
    summed = derivative.sum(axis=tuple(range(derivative.ndim - len(shape))))
    axes = tuple(a for a, length in enumerate(shape) if length == 1 and summed.shape[a] != 1)
    return np.asarray(summed.sum(axis=axes, keepdims=True)).reshape(shape)


def _sum(rows: Array) -> Array:
    return np.asarray(rows.sum(axis=-1, keepdims=True))


def _norm(rows: Array) -> Array:
    return np.sqrt(_sum(rows * rows))


def _quotient(a: Array, b: Array) -> Array:
    """``a / b`` where nothing over nothing, and anything over it, is nothing."""
    return np.where(b == 0, 0.0, a / b)
