"""The cases of the pointwise losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case, Shape, float64, fractions, numbers, positives, signs


def bounded_numbers(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Whose exponentials are float32 numbers."""
    return np.clip(numbers(rng, shape), -80, 80)


def mild_numbers(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(size=shape)


def exponents(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Whose exponentials are float16 numbers."""
    return np.clip(numbers(rng, shape), -9, 9)


def small_exponents(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return np.clip(numbers(rng, shape), -2.5, 2.5)


def away_from_zero(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.choice([-1, 1], shape) * rng.uniform(0.1, 5, shape)


def above_minus_one(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    x = rng.choice([0.1, 1, 20], shape) * rng.uniform(-0.9, 1, shape) * (rng.random(shape) < 0.9)
    return np.maximum(x, -0.9)


def counts(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.poisson(3, shape).astype(np.float64)


def amounts(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Positive, and some 0."""
    return rng.gamma(0.7, 2, shape) * (rng.random(shape) < 0.8)


def probabilities(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.uniform(0.01, 0.99, shape)


def shares(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Probabilities, and some 0."""
    return rng.random(shape) * (rng.random(shape) < 0.8)


def logarithms(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Of probabilities."""
    return -np.abs(bounded_numbers(rng, shape))


def plus_or_minus(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], shape)


def between_the_signs(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.choice([-1, 1], shape) * rng.uniform(0.1, 1, shape)


def bce_terms(input: Any, target: Any, weight: Any = 1.0, pos_weight: Any = 1.0, **_: Any) -> tuple[Any, Any]:
    x, t, w, v = (float64(each) for each in (input, target, weight, pos_weight))
    down = np.exp(-np.logaddexp(0, x))
    return 0.0, w * ((1 - t) * (1 - down) + v * t * down)


def _msle_terms(input: Any, target: Any, **_: Any) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    return 0.0, 0.0, 2 * (1 + np.abs(np.log1p(x) - np.log1p(t))) / (1 + x) ** 2


def _stirling_terms(t: Any) -> Any:
    return np.where(t > 1, t * np.abs(np.log(np.maximum(t, 1))) + t, 0.0)


def _poisson_terms(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8
) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    mean = np.exp(x) if log_input else x
    value = mean + t * np.abs(x if log_input else np.log(x + eps))
    return value + full * _stirling_terms(t), (mean + t if log_input else 1 + t / (x + eps)), 0.0


def _gamma_terms(input: Any, target: Any, log_input: bool = True) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    if log_input:
        return np.abs(x) + t * np.exp(-x), 1 + t * np.exp(-x), 0.0
    return np.abs(np.log(x)) + t / x, 0.0, 0.0


def _tweedie_terms(input: Any, target: Any, power: float = 1.5, log_input: bool = True) -> tuple[Any, ...]:
    if power == 1:
        return _poisson_terms(input, target, log_input, eps=0.0)
    if power == 2:
        return _gamma_terms(input, target, log_input)
    x, t = float64(input), float64(target)
    if power == 0 and not log_input:
        return 0.0, 0.0, 0.0
    mean, first, second = np.exp(x) if log_input else x, 2 - power, 1 - power
    a, b = mean**first, t * mean**second
    hess = abs(first) * a + abs(second) * b if log_input else mean**-power * (abs(second) + abs(power) * t / mean)
    return a / abs(first) + b / abs(second), (a + b if log_input else 0.0), hess


def _gaussian_terms(input: Any, target: Any, var: Any, **_: Any) -> tuple[Any, ...]:
    x, t, v = float64(input), float64(target), float64(var)
    ratio = (x - t) ** 2 / v
    return 0.5 * (np.abs(np.log(v)) + ratio + 2), (0.0, 0.5 * (1 + ratio) / v)


def _kl_terms(input: Any, target: Any, log_target: bool = False) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    with np.errstate(divide="ignore"):
        p, log_p = (np.exp(t), t) if log_target else (t, np.where(t == 0, 0.0, np.log(t)))
    return p * (np.abs(log_p) + np.abs(x)), 0.0


def _focal_terms(input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    down = np.exp(-np.logaddexp(0, x))
    up = np.exp(-np.logaddexp(0, -x))
    a = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    q = (1 - t) * up + t * down
    with np.errstate(all="ignore"):
        r = np.abs(1 - 2 * t) * np.where(q == 0, 1.0, up * down / q)
    cross = (1 - t) * np.logaddexp(0, x) + t * np.logaddexp(0, -x)
    slope = (1 - t) * up + t * down
    hess = gamma * r * cross * (abs(gamma - 1) * r + up + down) + 2 * gamma * r * slope + up * down
    # A power's relative error is that many times its base's, which is a sum where the target is a probability.
    soft, power = (1 + gamma) * ((t != 0) & (t != 1) | (gamma > 2)), a * q**gamma
    return soft * power * cross, soft * power * (gamma * r * cross + slope), np.maximum(1, soft) * power * hess


def _hinge_terms(input: Any, target: Any) -> tuple[Any, ...]:
    x, t = float64(input), float64(target)
    size = np.where(np.abs(t) == 1, 0.0, 1 + np.abs(t * x))
    return size, 0.0


def _squared_hinge_terms(input: Any, target: Any) -> tuple[Any, ...]:
    size, _ = _hinge_terms(input, target)
    t = float64(target)
    return size * 2 * np.maximum(0, 1 - t * float64(input)), 2 * np.abs(t) * size, 0.0


def _ranking_terms(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> tuple[Any, ...]:
    return abs(margin) + np.abs(float64(target) * (float64(input1) - float64(input2))), 0.0


DIFFERENCE = {"input": numbers, "target": numbers}
SIGNED = {"input": numbers, "target": plus_or_minus}

POINTWISE: dict[str, Case] = {
    "l1_loss": Case(DIFFERENCE, ({}, {"weight": positives}, {"weight": positives, "hess": 1.0})),
    "mse_loss": Case(DIFFERENCE, ({}, {"weight": positives})),
    "rmse_loss": Case(DIFFERENCE, ({}, {"weight": positives}, {"axis": -1}, {"axis": 0, "weight": positives})),
    "mape_loss": Case({"input": numbers, "target": away_from_zero}),
    "msle_loss": Case({"input": above_minus_one, "target": above_minus_one}, magnitudes=_msle_terms),
    "smooth_l1_loss": Case(DIFFERENCE, ({}, {"beta": 0.3}, {"beta": 0.0}, {"beta": 7.0})),
    "huber_loss": Case(DIFFERENCE, ({}, {"delta": 0.3}, {"delta": 7.0, "weight": positives})),
    "log_cosh_loss": Case(DIFFERENCE),
    "quantile_loss": Case(DIFFERENCE, ({}, {"q": 0.1}, {"q": 0.999999, "hess": 1.0})),
    "poisson_nll_loss": Case(
        {"input": exponents, "target": counts},
        (
            {},
            {"full": True},
            {"input": positives, "log_input": False},
            {"input": positives, "log_input": False, "full": True, "eps": 0.1},
        ),
        _poisson_terms,
    ),
    "gamma_nll_loss": Case(
        {"input": exponents, "target": positives}, ({}, {"input": positives, "log_input": False}), _gamma_terms
    ),
    "tweedie_nll_loss": Case(
        {"input": small_exponents, "target": amounts},
        (
            {},
            {"input": positives, "log_input": False},
            *({"power": power} for power in (-1.0, 0.0, 1.0, 1.1, 1.9, 2.0, 3.0)),
            *({"power": power, "input": positives, "log_input": False} for power in (-1.0, 1.0, 1.1, 1.9, 2.0, 3.0)),
            {"power": 0.0, "input": numbers, "log_input": False},
        ),
        _tweedie_terms,
    ),
    "gaussian_nll_loss": Case(
        {"input": mild_numbers, "var": positives, "target": mild_numbers},
        ({}, {"full": True, "eps": 0.3}),
        _gaussian_terms,
    ),
    "kl_div": Case(
        {"input": logarithms, "target": shares}, ({}, {"target": logarithms, "log_target": True}), _kl_terms
    ),
    "binary_cross_entropy": Case(
        {"input": probabilities, "target": signs}, ({}, {"target": fractions}, {"weight": positives})
    ),
    "binary_cross_entropy_with_logits": Case(
        {"input": numbers, "target": signs},
        ({}, {"weight": positives, "pos_weight": positives}, {"target": fractions, "pos_weight": positives}),
        bce_terms,
    ),
    "sigmoid_focal_loss": Case(
        {"input": bounded_numbers, "target": signs},
        (
            {},
            {"target": fractions},
            {"alpha": None, "gamma": 0.0},
            {"alpha": 0.7, "gamma": 0.5},
            {"alpha": None, "gamma": 3.5},
            {"target": fractions, "gamma": 1.5},
        ),
        _focal_terms,
    ),
    "soft_margin_loss": Case(SIGNED, ({}, {"target": between_the_signs})),
    "exponential_loss": Case({**SIGNED, "input": exponents}, ({}, {"target": between_the_signs})),
    "hinge_loss": Case(SIGNED, ({}, {"target": between_the_signs}), _hinge_terms),
    "squared_hinge_loss": Case(SIGNED, ({}, {"target": between_the_signs}), _squared_hinge_terms),
    "hinge_embedding_loss": Case(SIGNED, ({}, {"margin": 0.3}, {"target": between_the_signs})),
    "margin_ranking_loss": Case(
        {"input1": numbers, "input2": numbers, "target": plus_or_minus},
        ({}, {"margin": 0.3}, {"target": between_the_signs, "margin": 1.0}),
        _ranking_terms,
    ),
}
