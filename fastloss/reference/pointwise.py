"""Pointwise losses by their definitions: one number per element, operands broadcast as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Array, Terms, as_float64, product, reference


@reference("mean")
def mse_loss(input: Any, target: Any, weight: Any = None) -> Terms:
    """Squared error: ``w (x - t)^2``, gradient ``2 w (x - t)``, Hessian ``2 w``.

    The mean divides by the sum of the weights, as in ``torch.nn.functional.mse_loss``.
    """
    x, t, w = _operands(input, target, weight)
    difference = x - t
    return Terms(
        w * difference**2,
        (_as_input(2 * w * difference, input),),
        _as_input(2 * w, input),
        float(w.sum()),
    )


@reference("mean")
def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None, pos_weight: Any = None) -> Terms:
    """Binary cross entropy of the sigmoid ``s`` of a logit, with ``v`` the weight of the positives (torch).

    ``l = w [(1 - t) softplus(x) + v t softplus(-x)]``, gradient ``w [(1 - t) s(x) - v t s(-x)]``,
    Hessian ``w [(1 - t) + v t] s(x) s(-x)``; a term of 0 times infinity is 0. The mean divides by the number
    of elements, as in ``torch.nn.functional.binary_cross_entropy_with_logits``.
    """
    x, t, w, v = _operands(input, target, weight, pos_weight)
    small = np.exp(-np.abs(x))
    up = np.where(x >= 0, 1.0, small) / (1 + small)
    down = np.where(x >= 0, small, 1.0) / (1 + small)
    loss = product(1 - t, np.logaddexp(0, x)) + product(v * t, np.logaddexp(0, -x))
    gradient = (1 - t) * up - v * t * down
    return Terms(
        product(w, loss),
        (_as_input(w * gradient, input),),
        _as_input(w * ((1 - t) + v * t) * up * down, input),
    )


def _operands(*arrays: Any) -> list[Array]:
    """Float64 copies, broadcast against each other; an operand left out is 1."""
    return list(np.broadcast_arrays(*(as_float64(1.0 if array is None else array) for array in arrays)))


def _as_input(derivative: Array, input: Any) -> Array:
    """Sum a derivative over the axes along which ``input`` was broadcast."""
    shape = np.shape(input)
    leading = derivative.ndim - len(shape)
    summed = derivative.sum(axis=tuple(range(leading)))
    axes = tuple(axis for axis, length in enumerate(shape) if length == 1 and summed.shape[axis] != 1)
    return np.asarray(summed.sum(axis=axes, keepdims=True), dtype=np.float64)
