"""Regression losses by their definitions: one number per element of a prediction and a number."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Terms, as_input, operands, product, reference


@reference("mean")
def l1_loss(input: Any, target: Any, weight: Any = None, *, hess: float = 0.0) -> Terms:
    """``w |x - t|``, gradient ``w sign(x - t)``; in the Hessian's place ``hess``.

    The mean divides by the sum of the weights, as in ``torch.nn.functional.l1_loss``.
    """
    x, t, w = operands(input, target, weight)
    return Terms(
        w * np.abs(x - t),
        (as_input(w * np.sign(x - t), input),),
        as_input(w * hess, input),
        float(w.sum()),
    )


@reference("mean")
def mse_loss(input: Any, target: Any, weight: Any = None) -> Terms:
    """Squared error: ``w (x - t)^2``, gradient ``2 w (x - t)``, Hessian ``2 w``.

    The mean divides by the sum of the weights, as in ``torch.nn.functional.mse_loss``.
    """
    x, t, w = operands(input, target, weight)
    difference = x - t
    return Terms(
        w * difference**2,
        (as_input(2 * w * difference, input),),
        as_input(2 * w, input),
        float(w.sum()),
    )


@reference("none")
def rmse_loss(input: Any, target: Any, weight: Any = None, axis: Any = None) -> Terms:
    """Root of the mean squared error ``r``, gradient ``w (x - t) / (r sum w)``, and 0 where r is 0 (sklearn)."""
    x, t, w = operands(input, target, weight)
    total = np.sum(w, axis, keepdims=True)
    root = np.sqrt(np.sum(w * (x - t) ** 2, axis, keepdims=True) / total)
    grad = np.where(root == 0, 0.0, w * (x - t) / (total * np.where(root == 0, 1.0, root)))
    value = np.squeeze(root, axis)
    return Terms(float(value) if axis is None else value, (as_input(grad, input),))


@reference("mean")
def mape_loss(input: Any, target: Any) -> Terms:
    """``|x - t| / |t|``, gradient ``sign(x - t) / |t|``; 0 where x and t are equal."""
    x, t = operands(input, target)
    equal = x == t
    value = np.where(equal, 0.0, np.abs(x - t) / np.abs(t))
    return Terms(value, (as_input(np.where(equal, 0.0, np.sign(x - t) / np.abs(t)), input),))


@reference("mean")
def msle_loss(input: Any, target: Any) -> Terms:
    """``l^2`` with ``l = log(1 + x) - log(1 + t)``, gradient ``2 l / (1 + x)``, Hessian ``2 (1 - l) / (1 + x)^2``.

    The difference of logarithms is that of their quotient, formed so that it does not cancel.
    """
    x, t = operands(input, target)
    least = np.minimum(x, t)
    size = np.where(least < -1, np.nan, np.log1p(np.abs(x - t) / (1 + least)))
    difference = np.copysign(size, x - t)
    grad, hess = 2 * difference / (1 + x), 2 * (1 - difference) / (1 + x) ** 2
    return Terms(difference**2, (as_input(grad, input),), as_input(hess, input))


@reference("mean")
def smooth_l1_loss(input: Any, target: Any, beta: float = 1.0) -> Terms:
    """``d^2 / (2 beta)`` where ``d = |x - t| < beta``, else ``d - beta / 2`` (torch)."""
    x, t = operands(input, target)
    d = x - t
    near, curve = np.abs(d) < beta, 1 / (beta or np.inf)
    value = np.where(near, 0.5 * d**2 * curve, np.abs(d) - 0.5 * beta)
    grad = np.where(near, d * curve, np.sign(d))
    return Terms(value, (as_input(grad, input),), as_input(np.where(near, curve, 0.0), input))


@reference("mean")
def huber_loss(input: Any, target: Any, delta: float = 1.0, weight: Any = None) -> Terms:
    """``w d^2 / 2`` where ``d = |x - t| <= delta``, else ``w delta (d - delta / 2)`` (torch)."""
    x, t, w = operands(input, target, weight)
    d = x - t
    near = np.abs(d) <= delta
    value = np.where(near, 0.5 * d**2, delta * (np.abs(d) - 0.5 * delta))
    grad = np.where(near, d, delta * np.sign(d))
    return Terms(w * value, (as_input(w * grad, input),), as_input(w * near, input))


@reference("mean")
def log_cosh_loss(input: Any, target: Any) -> Terms:
    """``log cosh(x - t)``, gradient ``tanh(x - t)``, Hessian its ``cosh^-2`` (optax).

    ``cosh d - 1 = 2 sinh(d / 2)^2`` for small d; ``log cosh d = |d| - log 2 + log(1 + e^-2|d|)`` for large d.
    """
    x, t = operands(input, target)
    d = x - t
    size, decay = np.abs(d), np.exp(-2 * np.abs(d))
    value = np.where(size < 1, np.log1p(2 * np.sinh(d / 2) ** 2), size - np.log(2) + np.log1p(decay))
    return Terms(value, (as_input(np.tanh(d), input),), as_input(4 * decay / (1 + decay) ** 2, input))


@reference("mean")
def quantile_loss(input: Any, target: Any, q: float = 0.5, *, hess: float = 0.0) -> Terms:
    """``max(q (t - x), (q - 1) (t - x))``, gradient ``1 - q`` above t and ``-q`` below.

    In the Hessian's place stands ``hess``.
    """
    x, t = operands(input, target)
    d = x - t
    slope = np.where(d > 0, 1 - q, np.where(d < 0, -q, d))
    return Terms(product(slope, d), (as_input(slope, input),), as_input(hess + 0 * t, input))
