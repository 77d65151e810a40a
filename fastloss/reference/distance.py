"""Losses of cosines and distances by their definitions: rows of arrays that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .terms import Array, Terms, as_float64, quotient, reference, sum_to


@reference("none")
def cosine_similarity(x1: Any, x2: Any, axis: int = -1, eps: float = 1e-8, *, grad_output: Any = None) -> Terms:
    """Cosine ``<x, y> / (m n)`` with ``m = max(|x|, eps)``, ``n = max(|y|, eps)`` (torch).

    Gradient ``y / (m n) - cos x / (m |x|)``, the second term 0 where ``x`` is; likewise by ``y``.
    """
    x, y, g = _rows(x1, x2, axis, grad_output)
    a, b = _norm(x), _norm(y)
    m, n = np.maximum(a, eps), np.maximum(b, eps)
    cosine = quotient(_sum(x * y), m * n)
    by_x = quotient(y, m * n) - cosine * quotient(x, m * a)
    by_y = quotient(x, m * n) - cosine * quotient(y, n * b)
    return Terms(cosine[..., 0], (_back(g * by_x, x1, axis), _back(g * by_y, x2, axis)))


@reference("mean")
def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Terms:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1, else 0 (torch).

    With ``A = |x|^2 + e``, ``B = |y|^2 + e`` for a small ``e``, ``D = sqrt(A B)`` and ``P = <x, y>``: ``cos = P / D``,
    gradient ``y / D - cos x / A``. ``1 - cos`` is ``(D^2 - P^2) / (D (D + P))``, and the difference
    ``|y|^2 |x - P / |y|^2 y|^2 + e (A + B - e)``.
    """
    x, y, t = np.broadcast_arrays(as_float64(input1), as_float64(input2), as_float64(target)[..., None])
    t, e = t[..., :1], float(np.float32(1e-12))
    a, b, dot = _sum(x * x) + e, _sum(y * y) + e, _sum(x * y)
    size = np.sqrt(a * b)
    cosine = dot / size
    apart = (b - e) * _sum((x - quotient(dot, b - e) * y) ** 2) + e * (a + b - e)
    unlike = np.where(dot > 0, apart / (size * (size + dot)), 1 - cosine)
    over = cosine - margin
    value = np.where(t == 1, unlike, np.where(t == -1, np.maximum(0, over), 0 * cosine))
    slope = np.where(t == 1, -1.0, (t == -1) * (over >= 0)) + 0 * cosine
    by_x, by_y = slope * (y / size - cosine * x / a), slope * (x / size - cosine * y / b)
    return Terms(value[..., 0], (_back(by_x, input1, -1), _back(by_y, input2, -1)))


@reference("none")
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False, *, grad_output: Any = None
) -> Terms:
    """The p-norm of ``x - y + eps``; its gradient is 0 where the norm is (torch)."""
    x, y, g = _rows(x1, x2, -1, grad_output)
    norm, slope = _p_norm(x - y + eps, p)
    value = norm if keepdim and np.ndim(x1) + np.ndim(x2) else norm[..., 0]
    return Terms(value, (_back(g * slope, x1, -1), _back(-g * slope, x2, -1)))


@reference("mean")
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
) -> Terms:
    """``max(0, margin + |a - p| - |a - n|)`` (torch).

    With a swap ``|p - n|`` takes the place of ``|a - n|`` where it is smaller. Of two equal distances each gets half
    the gradient.
    """
    given = (anchor, positive, negative)
    a, b, c = (np.atleast_1d(each) for each in np.broadcast_arrays(*map(as_float64, given)))
    pairs = [_p_norm(x - y + eps, p) for x, y in ((a, b), (a, c), (b, c))]
    value, slopes = _triplet([norm for norm, _ in pairs], margin, swap)
    ab, ac, bc = (slope * by for slope, (_, by) in zip(slopes, pairs, strict=True))
    grads = (ab + ac, bc - ab, -ac - bc)
    return Terms(value[..., 0], tuple(_back(grad, each, -1) for grad, each in zip(grads, given, strict=True)))


@reference("mean")
def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[..., Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
) -> Terms:
    """The same of any distance, in float64; the gradient where the distance carries its own (torch)."""
    function: Any = distance_function or pairwise_distance
    function = getattr(function, "reference", function)
    x = [as_float64(each) for each in (anchor, positive, negative)]
    distances = [as_float64(function(x[i], x[j])) for i, j in ((0, 1), (0, 2), (1, 2))]
    value, slopes = _triplet(distances, margin, swap)
    if not hasattr(function, "value_and_grad"):
        return Terms(value)
    grads = [np.zeros_like(each) for each in x]
    for (i, j), slope, distance in zip(((0, 1), (0, 2), (1, 2)), slopes, distances, strict=True):
        _, (by_i, by_j) = function.value_and_grad(x[i], x[j], grad_output=sum_to(slope, np.shape(distance)))
        grads[i] += by_i
        grads[j] += by_j
    return Terms(value, tuple(grads))


@reference("none")
def cdist(x1: Any, x2: Any, p: float = 2.0, *, grad_output: Any = None) -> Terms:
    """The norm of the difference of every row of one matrix and every row of another (torch)."""
    x, y = as_float64(x1), as_float64(x2)
    norm, slope = _p_norm(x[..., :, None, :] - y[..., None, :, :], p)
    slope = slope * (1.0 if grad_output is None else as_float64(grad_output)[..., None])
    return Terms(norm[..., 0], (sum_to(slope.sum(axis=-2), x.shape), sum_to(-slope.sum(axis=-3), y.shape)))


@reference("none")
def pdist(input: Any, p: float = 2.0, *, grad_output: Any = None) -> Terms:
    """The norm of the difference of every row and every later one (torch)."""
    x = as_float64(input)
    i, j = np.triu_indices(len(x), 1)
    norm, slope = _p_norm(x[i] - x[j], p)
    slope = slope * (1.0 if grad_output is None else as_float64(grad_output)[:, None])
    grad = np.zeros_like(x)
    np.add.at(grad, i, slope)
    np.add.at(grad, j, -slope)
    return Terms(norm[:, 0], (grad,))


def _triplet(distances: list[Array], margin: float, swap: bool) -> tuple[Array, tuple[Array, Array, Array]]:
    """The loss of three distances, and its slopes by them."""
    ab, ac, bc = distances
    nearer = np.where(bc < ac, 1.0, 0.5 * (bc == ac)) * swap
    gap = margin + ab - (np.minimum(ac, bc) if swap else ac)
    slope = np.where(np.isnan(gap), gap, gap >= 0)
    return np.maximum(0, gap), (slope, -slope * (1 - nearer), -slope * nearer)


def _p_norm(x: Array, p: float) -> tuple[Array, Array]:
    """The norm of each row and its slopes ``sign(x) (|x| / norm)^(p - 1)``, for infinite p shared by the largest."""
    size = np.abs(x)
    if p == 0:
        return _sum(np.where(np.isnan(x), x, x != 0)), 0 * x
    m = np.asarray(size.max(-1, keepdims=True) if p > 0 else size.min(-1, keepdims=True))
    if np.isinf(p):
        shares = size == m
        return m, np.where(m == 0, 0.0, np.sign(x) * shares / _sum(shares))
    norm = np.where(m == 0, 0.0, m * _sum((size / m) ** p) ** (1 / p))
    return norm, np.where((norm == 0) | (x == 0), 0 * norm, np.sign(x) * (size / norm) ** (p - 1))


def _rows(x1: Any, x2: Any, axis: int, grad_output: Any = None) -> tuple[Array, Array, Array]:
    """Both arrays broadcast with the rows last, and what comes from upstream for each."""
    x, y = (np.moveaxis(np.atleast_1d(each), axis, -1) for each in np.broadcast_arrays(*map(as_float64, (x1, x2))))
    g = np.ones(x.shape[:-1]) if grad_output is None else as_float64(grad_output).reshape(x.shape[:-1])
    return x, y, g[..., None]


def _back(derivative: Array, input: Any, axis: int) -> Array:
    """The rows where they were, and summed over the axes along which ``input`` was broadcast."""
    return sum_to(np.moveaxis(derivative, -1, axis), np.shape(input))


def _sum(rows: Array) -> Array:
    return np.asarray(rows.sum(axis=-1, keepdims=True))


def _norm(rows: Array) -> Array:
    return np.sqrt(_sum(rows * rows))
