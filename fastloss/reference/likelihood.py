"""Negative log-likelihoods by their definitions, up to what depends on the target alone; and the divergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from .terms import Array, Terms, as_float64, as_input, operands, product, reference


def _stirling(t: Array) -> Array:
    """Stirling's approximation of ``log t!`` for t > 1, else 0 (torch)."""
    return np.where(t <= 1, 0.0, t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t))


@reference("mean")
def poisson_nll_loss(input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Terms:
    """``e^x - t x``, gradient ``e^x - t``, Hessian ``e^x``; or of the mean ``x - t log(x + eps)`` (torch)."""
    x, t = operands(input, target)
    if log_input:
        mean = np.exp(x)
        value = np.where(x == np.inf, mean + 0 * t, mean - product(t, x))
        grad, hess = mean - t, mean
    else:
        value = x - product(t, np.log(x + eps))
        grad, hess = 1 - product(t, 1 / (x + eps)), product(t, 1 / (x + eps) ** 2)
    return Terms(value + (_stirling(t) if full else 0), (as_input(grad, input),), as_input(hess, input))


@reference("mean")
def gamma_nll_loss(input: Any, target: Any, log_input: bool = True) -> Terms:
    """``x + t e^-x``, gradient ``1 - t e^-x``, Hessian ``t e^-x``; or of the mean ``log x + t / x`` (sklearn)."""
    x, t = operands(input, target)
    if log_input:
        ratio = product(t, np.exp(-x))
        value, grad, hess = np.where(ratio == np.inf, ratio, x + ratio), 1 - ratio, ratio
    else:
        value, grad, hess = np.log(x) + t / x, (x - t) / x**2, (2 * t - x) / x**3
    return Terms(value, (as_input(grad, input),), as_input(hess, input))


@reference("mean")
def tweedie_nll_loss(input: Any, target: Any, power: float = 1.5, log_input: bool = True) -> Terms:
    """``m^(2-p) / (2 - p) - t m^(1-p) / (1 - p)`` with ``m = e^x``, or the mean itself for x (sklearn).

    Its limits are the losses of Poisson's distribution for p = 1 and of the gamma distribution for p = 2; for p = 0
    and the mean itself a constant makes it half the squared error.
    """
    if power == 1:
        return poisson_nll_loss.terms(input, target, log_input, eps=0.0)
    if power == 2:
        return gamma_nll_loss.terms(input, target, log_input)
    x, t = operands(input, target)
    first, second = 2 - power, 1 - power
    if log_input:
        a, b = np.exp(first * x), product(t, np.exp(second * x))
        grad, hess = a - b, first * a - second * b
    elif power == 0:
        return Terms(0.5 * (x - t) ** 2, (as_input(x - t, input),), as_input(1 + 0 * x, input))
    else:
        a, b = x**first, product(t, x**second)
        grad, hess = x**second * ((x - t) / x), x**-power * (second + power * t / x)
    return Terms(a / first - b / second, (as_input(grad, input),), as_input(hess, input))


@reference("mean")
def gaussian_nll_loss(input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6) -> Terms:
    """``(log v + (x - t)^2 / v) / 2`` with ``v = max(var, eps)``, by which it is differentiated for var (torch).

    Gradients ``(x - t) / v`` and ``(1 - (x - t)^2 / v) / (2 v)``.
    """
    wide = as_float64(var)
    if wide.ndim and wide.shape == np.shape(input)[:-1]:
        wide = wide[..., None]
    if (wide < 0).any():
        raise ValueError("var must not be negative")
    x, t, v = operands(input, target, np.maximum(wide, eps))
    d = x - t
    value = 0.5 * (np.log(v) + d**2 / v) + (0.5 * np.log(2 * np.pi) if full else 0.0)
    by_var = as_input(0.5 * (1 - d**2 / v) / v, wide)
    return Terms(value, (as_input(d / v, input), by_var.reshape(np.shape(var))))


@reference("mean")
def kl_div(input: Any, target: Any, log_target: bool = False) -> Terms:
    """``t (log t - x)``, gradient ``-t``; or of the target's logarithm ``e^t (t - x)`` (torch). 0 log 0 is 0."""
    x, t = operands(input, target)
    p, log_p = (np.exp(t), t) if log_target else (t, np.log(t))
    value = np.where((p == 0) & ~np.isnan(x), 0.0, p * (log_p - x))
    return Terms(value, (as_input(np.where(np.isnan(x), x, -p), input),), None, batch=_first(value))


def _first(value: Array) -> float:
    """What "batchmean" divides by."""
    return float(value.shape[0]) if value.ndim else 1.0
