"""Divergences of two rows of logits by their definitions, along ``axis``.

With ``u = log q - log p`` no step takes two nearly equal numbers from each other.
"""

from __future__ import annotations

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
    value = _sum(np.where(t.p == 0, x.p, t.p * (np.expm1(-u) + u)))
    return Terms(value[..., 0], (_back((x.p - t.p) / temperature, axis),))


@reference("mean")
def js_div_with_logits(input: Any, target: Any, temperature: float = 1.0, *, axis: int = -1) -> Terms:
    """Jensen-Shannon divergence ``1/2 sum_k [p_k log(p_k / m_k) + q_k log(q_k / m_k)]`` with ``m = (p + q) / 2``.

    Gradient ``1/(2T) p_k [log(p_k / m_k) - sum_j p_j log(p_j / m_j)]``.
    """
    x, t, u = _pair(input, target, temperature, axis)
    spread = product(x.p, _over_middle(u))
    value = _sum(spread + product(t.p, _over_middle(-u))) / 2
    grad = (spread - x.p * _sum(spread)) / (2 * temperature)
    return Terms(value[..., 0], (_back(grad, axis),))


def _pair(input: Any, target: Any, temperature: float, axis: int) -> tuple[_Softmax, _Softmax, Array]:
    """Both softmaxes, and ``log q - log p``, which is 0 where a class is masked in both."""
    x, t = (_softmax(_rows(each, axis) / temperature) for each in (input, target))
    return x, t, np.where((x.nll == np.inf) & (t.nll == np.inf), 0.0, x.nll - t.nll)


def _over_middle(u: Array) -> Array:
    """``log(p / m) = log(2 / (1 + e^u))``."""
    return np.where(np.abs(u) < 1, -np.log1p(np.expm1(u) / 2), np.log(2) - np.logaddexp(0, u))
