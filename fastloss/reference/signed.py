"""Losses of a margin with a sign by their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Terms, as_input, operands, reference


@reference("mean")
def soft_margin_loss(input: Any, target: Any) -> Terms:
    """``log(1 + e^-z)`` with ``z = t x``, gradient ``-t s(-z)``, Hessian ``t^2 s(z) s(-z)`` (torch)."""
    x, t = operands(input, target)
    z = t * x
    small = np.exp(-np.abs(z))
    up, down = np.where(z >= 0, 1.0, small) / (1 + small), np.where(z >= 0, small, 1.0) / (1 + small)
    return Terms(np.logaddexp(0, -z), (as_input(-t * down, input),), as_input(t**2 * up * down, input))


@reference("mean")
def exponential_loss(input: Any, target: Any) -> Terms:
    """``e^(-t x)``, gradient ``-t e^(-t x)``, Hessian ``t^2 e^(-t x)``."""
    x, t = operands(input, target)
    value = np.exp(-t * x)
    return Terms(value, (as_input(-t * value, input),), as_input(t**2 * value, input))


@reference("mean")
def hinge_loss(input: Any, target: Any) -> Terms:
    """``max(0, 1 - t x)``, gradient ``-t`` where that is not 0 (optax)."""
    x, t = operands(input, target)
    short_by = np.maximum(0, 1 - t * x)
    return Terms(short_by, (as_input(np.where(short_by == 0, 0.0, -t) + 0 * short_by, input),))


@reference("mean")
def squared_hinge_loss(input: Any, target: Any) -> Terms:
    """``max(0, 1 - t x)^2``, gradient ``-2 t max(0, 1 - t x)``, Hessian ``2 t^2`` where that is not 0."""
    x, t = operands(input, target)
    short_by = np.maximum(0, 1 - t * x)
    hess = np.where(short_by == 0, 0, 2 * t**2)
    return Terms(short_by**2, (as_input(-2 * t * short_by, input),), as_input(hess, input))


@reference("mean")
def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0) -> Terms:
    """``x`` where t is not -1, plus ``max(0, margin - x)`` where t is not 1 (torch).

    The sum of both, where t is neither, is ``max(x, margin)``.
    """
    x, t = operands(input, target)
    short_by = np.maximum(0, margin - x)
    value = np.where(t == 1, x, np.where(t == -1, short_by, np.maximum(x, margin)))
    grad = np.where(t == -1, 0.0, 1.0) - np.where((t == 1) | (margin < x), 0.0, 1.0)
    nan = np.isnan(x) | np.isnan(t)
    return Terms(np.where(nan, np.nan, value), (as_input(np.where(nan, np.nan, grad), input),))


@reference("mean")
def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> Terms:
    """``max(0, margin - t (x1 - x2))``, gradients ``-t`` and ``t`` where that is not negative (torch)."""
    x1, x2, t = operands(input1, input2, target)
    short_by = margin - t * (x1 - x2)
    grad = np.where(short_by < 0, 0.0, t) + 0 * short_by
    return Terms(np.maximum(0, short_by), (as_input(-grad, input1), as_input(grad, input2)))
