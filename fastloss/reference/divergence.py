"""Divergences of two rows of logits by their definitions, along ``axis``.

With ``u = log q - log p`` no step takes two nearly equal numbers from each other, so that rows which nearly agree keep
what divides them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .rowwise import _back, _rows, _Softmax, _softmax, _sum
from .terms import Array, Terms, product, reference


@reference("mean")
def kl_div_with_logits(input: Any, target: Any, temperature: float = 1.0, *, axis: int = -1) -> Terms:
    """Kullback-Leibler divergence ``sum_k q_k log(q_k / p_k)`` of ``q = softmax(t / T)`` from ``p = softmax(x / T)``.

    Summed as ``q_k u_k + (p_k - q_k) = q_k (e^-u_k - 1 + u_k)``, terms >= 0: those added are 0 together.
    Gradient ``(p - q) / T``.
    """
    x, t, u = _pair(input, target, temperature, axis)
    value = _sum(np.where(t.p == 0, x.p, product(t.p, _excess(u))))
    return Terms(value[..., 0], (_back((x.p - t.p) / temperature, axis),))


@reference("mean")
def js_div_with_logits(input: Any, target: Any, temperature: float = 1.0, *, axis: int = -1) -> Terms:
    """Jensen-Shannon divergence ``1/2 sum_k [p_k log(p_k / m_k) + q_k log(q_k / m_k)]`` with ``m = (p + q) / 2``.

    Summed as ``(p + q) (v tanh v - log cosh v)`` with ``v = u / 2``.
    Gradient ``1/(2T) p_k [log(p_k / m_k) - sum_j p_j log(p_j / m_j)]``.
    """
    x, t, u = _pair(input, target, temperature, axis)
    value = _sum(product(x.p + t.p, _spread(np.abs(u)))) / 2
    by_p = np.where(np.abs(u) < 1, -np.log1p(np.expm1(u) / 2), np.log(2) - np.logaddexp(0, u))
    grad = (product(x.p, by_p) - x.p * _sum(product(x.p, by_p))) / (2 * temperature)
    return Terms(value[..., 0], (_back(grad, axis),))


def _pair(input: Any, target: Any, temperature: float, axis: int) -> tuple[_Softmax, _Softmax, Array]:
    """Both softmaxes, and ``log q - log p``, 0 where a class is masked in both."""
    x, t = _rows(input, axis), _rows(target, axis)
    p, q = _softmax(x / temperature), _softmax(t / temperature)
    masked = (x == -np.inf) & (t == -np.inf)
    return p, q, np.where(masked, 0.0, (t - x) / temperature) - (q.lse - p.lse)


def _excess(u: Array) -> Array:
    """``e^-u - 1 + u``."""
    series = sum((-u) ** n / math.factorial(n) for n in range(2, 19))
    return np.where(np.abs(u) < 0.5, series, np.expm1(-u) + u)


def _spread(u: Array) -> Array:
    """``v tanh v - log cosh v = log 2 - log(1 + e^-u) - u / (1 + e^u)`` with ``v = u / 2``, for ``u >= 0``."""
    v, small = u / 2, np.exp(-u)
    far = np.log(2) - np.log1p(small) - product(u, small) / (1 + small)
    return np.where(u < 1, v * np.tanh(v) - np.log1p(2 * np.sinh(v / 2) ** 2), far)
