"""Losses of two outcomes, 0 and 1, by their definitions: of probabilities and of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Array, Terms, as_input, operands, product, reference


@reference("mean")
def binary_cross_entropy(input: Any, target: Any, weight: Any = None) -> Terms:
    """``-w [t log x + (1 - t) log(1 - x)]`` with logarithms no less than -100 (torch).

    Gradient ``w (x - t) / (x (1 - x))``, Hessian ``w [t / x^2 + (1 - t) / (1 - x)^2]``, with no denominator's
    factors less than 1e-12.
    """
    x, t, w = operands(input, target, weight)
    if (np.minimum(x, 1 - x) < 0).any() or (np.minimum(t, 1 - t) < 0).any():
        raise ValueError("input and target must be in [0, 1]")
    value = -t * np.maximum(np.log(x), -100) - (1 - t) * np.maximum(np.log1p(-x), -100)
    grad = (x - t) / np.maximum(x * (1 - x), 1e-12)
    hess = t / np.maximum(x, 1e-12) ** 2 + (1 - t) / np.maximum(1 - x, 1e-12) ** 2
    return Terms(w * value, (as_input(w * grad, input),), as_input(w * hess, input))


@reference("mean")
def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, pos_weight: Any = None) -> Terms:
    """Binary cross entropy of the sigmoid ``s`` of a logit, with ``v`` the weight of the positives (torch).

    ``l = w [(1 - t) softplus(x) + v t softplus(-x)]``, gradient ``w [(1 - t) s(x) - v t s(-x)]``,
    Hessian ``w [(1 - t) + v t] s(x) s(-x)``; a term of 0 times infinity is 0. The mean divides by the number
    of elements, as in ``torch.nn.functional.binary_cross_entropy_with_logits``.
    """
    x, t, w, v = operands(input, target, weight, pos_weight)
    up, down = _sigmoids(x)
    loss = product(1 - t, np.logaddexp(0, x)) + product(v * t, np.logaddexp(0, -x))
    gradient = (1 - t) * up - v * t * down
    return Terms(
        product(w, loss),
        (as_input(w * gradient, input),),
        as_input(w * ((1 - t) + v * t) * up * down, input),
    )


@reference("mean")
def sigmoid_focal_loss(input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0) -> Terms:
    """``a q^g c`` with c the cross entropy of a logit and ``q = (1 - t) s(x) + t s(-x)`` (optax, torchvision).

    ``q' = q r`` with ``r = (1 - 2 t) s(x) s(-x) / q`` and ``q'' = q r (s(-x) - s(x))``; hence the gradient
    ``a q^g (g r c + c')`` and the Hessian ``a q^g [g r c ((g - 1) r + s(-x) - s(x)) + 2 g r c' + c'']``.
    The power is taken by its logarithm: q underflows long before a small power of it does.
    """
    x, t = operands(input, target)
    a = 1.0 if alpha is None or alpha == -1 else alpha * t + (1 - alpha) * (1 - t)
    up, down = _sigmoids(x)
    log_q = np.logaddexp(np.log(1 - t) - np.logaddexp(0, -x), np.log(t) - np.logaddexp(0, x))
    power = np.exp(product(gamma, log_q))
    r = (1 - 2 * t) * np.where(t == 1, up, np.where(t == 0, down, up * down / ((1 - t) * up + t * down)))
    cross = product(1 - t, np.logaddexp(0, x)) + product(t, np.logaddexp(0, -x))
    slope, curve = (1 - t) * up - t * down, up * down
    rise = product(gamma * r, cross)
    hess = rise * ((gamma - 1) * r + down - up) + 2 * gamma * r * slope + curve
    grad = a * power * (rise + slope)
    return Terms(product(a * power, cross), (as_input(grad, input),), as_input(a * power * hess, input))


def _sigmoids(x: Array) -> tuple[Array, Array]:
    """``s(x)`` and ``s(-x)``, neither of which cancels."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small), np.where(x >= 0, small, 1.0) / (1 + small)
