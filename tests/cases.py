"""Inputs for every loss: what its operands look like and which parameters it is tried with.

A new loss adds one entry to CASES. Every test that says something about all losses draws from here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from helpers import dtype

from fastloss.reference import REFERENCES

Shape = tuple[int, ...]
Sampler = Callable[[np.random.Generator, Shape], Any]
Magnitudes = Callable[..., tuple[Any, ...]]

# Around lanes (16, 32), the widest row taken across rows (64), blocks (1024); then around tiles (65536).
ROWS = [(rows, classes) for classes in (1, 2, 3, 4, 5, 10, 31, 32, 33, 63, 64) for rows in (1, 33)]
ROWS += [(rows, classes) for classes in (3, 10, 64) for rows in (0, 2, 31, 32, 100)]
ROWS += [(9, classes) for classes in (65, 100, 1000, 1023, 1024, 1025, 2049, 3000)]
SIZES = [(n,) for n in (0, 1, 31, 32, 33, 1023, 1024, 1025, 16383, 16384, 16385, 65535, 65536, 65537)]


@dataclass(frozen=True)
class Case:
    """How to try a loss: samplers and constants by argument name; a variant overrides or adds some."""

    operands: Mapping[str, Sampler]
    variants: tuple[Mapping[str, Any], ...] = field(default=({},))
    magnitudes: Magnitudes = lambda **_: (0.0, 0.0)
    """Where a value or a derivative is a difference: the magnitude of its terms (0 where nothing cancels).

    Of the value, the gradient (a tuple where there are several), and the Hessian if that is not the gradient's.
    """
    predictions: tuple[str, ...] = ("input",)
    """The arguments it is differentiated by."""

    def draw(self, variant: Mapping[str, Any], rng: np.random.Generator, shape: Shape, name: str) -> dict[str, Any]:
        """Arguments of one call; floating-point arrays have the dtype called ``name``."""
        drawn = {}
        for key, item in {**self.operands, **variant}.items():
            drawn[key] = item(rng, shape) if callable(item) else item
            if isinstance(drawn[key], np.ndarray) and drawn[key].dtype == np.float64:
                drawn[key] = drawn[key].astype(dtype(name))
        return drawn


def logits(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Rows of eight kinds in turn, beginning with any of them."""
    classes = shape[-1]
    x = rng.normal(0, 3, (int(np.prod(shape[:-1])), classes))
    number = np.arange(len(x))
    kind, place = (number + rng.integers(8)) % 8, number // 8 % classes
    x[kind == 1] *= 50 / 3
    x[kind == 2] = x[kind == 2, :1]  # constant
    x[kind == 3] = np.sort(x[kind == 3])  # the maximum grows at every block
    x[kind == 4] = -np.sort(-x[kind == 4])
    x[kind == 5] = np.round(x[kind == 5] / 2)  # the maximum several times
    for each, low, high in ((6, 15, 60), (7, 1, 1)):  # confident; the maximum at every place in turn
        rows = kind == each
        x[rows, place[rows]] = x[rows].max(-1) + rng.uniform(low, high, rows.sum())
    return x.reshape(shape)


def mild_logits(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(0, 0.5, shape)


def labels(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    return rng.integers(0, shape[-1], shape[:-1])


def some_ignored(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    return np.where(rng.random(shape[:-1]) < 0.3, -100, labels(rng, shape))


def distributions(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    x = rng.random(shape) * (rng.random(shape) < 0.7)
    return x / np.maximum(x.sum(-1, keepdims=True), 1e-3)


def log_probabilities(rng: np.random.Generator, shape: Shape) -> Any:
    return REFERENCES["log_softmax"](logits(rng, shape))


def class_weights(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.uniform(0.1, 2, shape[-1])


def numbers(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    x: npt.NDArray[np.float64] = rng.normal(0, rng.choice([0.01, 1, 5, 50], shape), shape)
    return x


def positives(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.uniform(0.1, 2, shape)


def signs(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.integers(0, 2, shape).astype(np.float64)


def fractions(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.random(shape)


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


def per_row(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(size=shape[:-1])


def per_row_kept(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(size=(*shape[:-1], 1))


def _float64(array: Any) -> npt.NDArray[np.float64]:
    return np.asarray(array).astype(np.float64)


def _logsumexp_terms(input: Any, keepdims: bool = False, **_: Any) -> tuple[Any, Any]:
    largest = _float64(input).max(-1, keepdims=keepdims)
    lse = REFERENCES["logsumexp"](input, keepdims=keepdims)
    return np.abs(largest) + (lse - largest), 0.0


def _softmax_terms(input: Any, grad_output: Any = None, **_: Any) -> tuple[Any, Any]:
    p = REFERENCES["softmax"](input)
    g = np.abs(np.ones(p.shape) if grad_output is None else _float64(grad_output))
    return 0.0, p * (g + (g * p).sum(-1, keepdims=True))


def _log_softmax_terms(input: Any, grad_output: Any = None, **_: Any) -> tuple[Any, Any]:
    p = REFERENCES["softmax"](input)
    g = np.abs(np.ones(p.shape) if grad_output is None else _float64(grad_output))
    return 0.0, g + p * g.sum(-1, keepdims=True)


def _cross_entropy_terms(
    input: Any,
    target: Any,
    weight: Any = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Any, Any]:
    x, index, slope, cap, capping = _float64(input), target.dtype.kind in "biu", 1.0, 0.0, 1.0
    if softcap is not None:
        # A capped logit is rounded before it enters the exponential, and so is x / cap.
        slope, cap, capping = np.cosh(x / softcap) ** -2.0, softcap, 1 + softcap + 2 * np.abs(x) / softcap
        x = softcap * np.tanh(x / softcap)
    elif index and not label_smoothing and not z_loss:
        return 0.0, 0.0
    t = np.equal(target[..., None], np.arange(x.shape[-1])) if index else _float64(target)
    w = np.ones(x.shape[-1]) if weight is None else _float64(weight)
    a = w * ((1 - label_smoothing) * t + label_smoothing / x.shape[-1])
    lse, _ = _logsumexp_terms(x)
    grad = REFERENCES["softmax"](x) * (a.sum(-1) + 2 * z_loss * lse)[..., None] + a
    # A square has twice the relative error of its root.
    return 2 * z_loss * lse**2 + cap * a.sum(-1), grad * slope * capping


def _entropy_terms(input: Any, from_logits: bool = True, base: float | None = None, **_: Any) -> tuple[Any, Any]:
    unit = 1.0 if base is None else np.log(base)
    if not from_logits:
        with np.errstate(divide="ignore"):
            return 0.0, (1 + np.abs(np.log(_float64(input)))) / unit
    p, log_p = REFERENCES["softmax"](input), REFERENCES["log_softmax"](input)
    return 0.0, p * (np.abs(log_p) + REFERENCES["entropy"](input)[..., None]) / unit


def _perplexity_terms(**arguments: Any) -> tuple[Any, Any]:
    # An error of its logarithm is a relative error of the perplexity, and of its gradient.
    value, grad = REFERENCES["perplexity"].value_and_grad(**arguments)
    error = 1 + np.nan_to_num(np.log(value))
    return value * error, np.abs(grad) * error


def _bce_terms(input: Any, target: Any, weight: Any = 1.0, pos_weight: Any = 1.0, **_: Any) -> tuple[Any, Any]:
    x, t, w, v = (_float64(each) for each in (input, target, weight, pos_weight))
    down = np.exp(-np.logaddexp(0, x))
    return 0.0, w * ((1 - t) * (1 - down) + v * t * down)


def _msle_terms(input: Any, target: Any, **_: Any) -> tuple[Any, ...]:
    x, t = _float64(input), _float64(target)
    return 0.0, 0.0, 2 * (1 + np.abs(np.log1p(x) - np.log1p(t))) / (1 + x) ** 2


def _stirling_terms(t: Any) -> Any:
    return np.where(t > 1, t * np.abs(np.log(np.maximum(t, 1))) + t, 0.0)


def _poisson_terms(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8
) -> tuple[Any, ...]:
    x, t = _float64(input), _float64(target)
    mean = np.exp(x) if log_input else x
    value = mean + t * np.abs(x if log_input else np.log(x + eps))
    return value + full * _stirling_terms(t), (mean + t if log_input else 1 + t / (x + eps)), 0.0


def _gamma_terms(input: Any, target: Any, log_input: bool = True) -> tuple[Any, ...]:
    x, t = _float64(input), _float64(target)
    if log_input:
        return np.abs(x) + t * np.exp(-x), 1 + t * np.exp(-x), 0.0
    return np.abs(np.log(x)) + t / x, 0.0, 0.0


def _tweedie_terms(input: Any, target: Any, power: float = 1.5, log_input: bool = True) -> tuple[Any, ...]:
    if power == 1:
        return _poisson_terms(input, target, log_input, eps=0.0)
    if power == 2:
        return _gamma_terms(input, target, log_input)
    x, t = _float64(input), _float64(target)
    if power == 0 and not log_input:
        return 0.0, 0.0, 0.0
    mean, first, second = np.exp(x) if log_input else x, 2 - power, 1 - power
    a, b = mean**first, t * mean**second
    hess = abs(first) * a + abs(second) * b if log_input else mean**-power * (abs(second) + abs(power) * t / mean)
    return a / abs(first) + b / abs(second), (a + b if log_input else 0.0), hess


def _gaussian_terms(input: Any, target: Any, var: Any, **_: Any) -> tuple[Any, ...]:
    x, t, v = _float64(input), _float64(target), _float64(var)
    ratio = (x - t) ** 2 / v
    return 0.5 * (np.abs(np.log(v)) + ratio + 2), (0.0, 0.5 * (1 + ratio) / v)


def _kl_terms(input: Any, target: Any, log_target: bool = False) -> tuple[Any, ...]:
    x, t = _float64(input), _float64(target)
    with np.errstate(divide="ignore"):
        p, log_p = (np.exp(t), t) if log_target else (t, np.where(t == 0, 0.0, np.log(t)))
    return p * (np.abs(log_p) + np.abs(x)), 0.0


def _focal_terms(input: Any, target: Any, alpha: float | None = 0.25, gamma: float = 2.0) -> tuple[Any, ...]:
    x, t = _float64(input), _float64(target)
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
    x, t = _float64(input), _float64(target)
    size = np.where(np.abs(t) == 1, 0.0, 1 + np.abs(t * x))
    return size, 0.0


def _squared_hinge_terms(input: Any, target: Any) -> tuple[Any, ...]:
    size, _ = _hinge_terms(input, target)
    t = _float64(target)
    return size * 2 * np.maximum(0, 1 - t * _float64(input)), 2 * np.abs(t) * size, 0.0


def _ranking_terms(input1: Any, input2: Any, target: Any, margin: float = 0.0) -> tuple[Any, ...]:
    return abs(margin) + np.abs(_float64(target) * (_float64(input1) - _float64(input2))), 0.0


ROW = {"input": logits}
LABELLED = {"input": logits, "target": labels}
DIFFERENCE = {"input": numbers, "target": numbers}
SIGNED = {"input": numbers, "target": plus_or_minus}

CASES: dict[str, Case] = {
    "l1_loss": Case(DIFFERENCE, ({}, {"weight": positives}, {"weight": positives, "hess": 1.0})),
    "mse_loss": Case(DIFFERENCE, ({}, {"weight": positives})),
    "rmse_loss": Case(DIFFERENCE),
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
        {"input": mild_numbers, "target": mild_numbers, "var": positives},
        ({}, {"full": True, "eps": 0.3}),
        _gaussian_terms,
        ("input", "var"),
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
        _bce_terms,
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
        ("input1", "input2"),
    ),
    "logsumexp": Case(
        ROW, ({}, {"grad_output": per_row}, {"keepdims": True, "grad_output": per_row_kept}), _logsumexp_terms
    ),
    "softmax": Case(ROW, ({}, {"grad_output": logits}), _softmax_terms),
    "log_softmax": Case(ROW, ({}, {"grad_output": logits}), _log_softmax_terms),
    "cross_entropy": Case(
        LABELLED,
        (
            {},
            {"target": some_ignored, "weight": class_weights},
            {"target": some_ignored, "label_smoothing": 0.1},
            {"weight": class_weights, "label_smoothing": 0.1, "z_loss": 1e-3},
            {"target": distributions},
            {"target": distributions, "weight": class_weights, "label_smoothing": 0.1},
            {"target": some_ignored, "z_loss": 1e-2},
            {"softcap": 5.0},
            {"target": distributions, "softcap": 30.0, "z_loss": 1e-4},
        ),
        _cross_entropy_terms,
    ),
    "nll_loss": Case(
        {"input": log_probabilities, "target": labels},
        ({}, {"target": some_ignored, "weight": class_weights}),
    ),
    "entropy": Case(ROW, ({}, {"base": 2}, {"input": distributions, "from_logits": False, "base": 10}), _entropy_terms),
    "perplexity": Case(
        {"input": mild_logits, "target": labels}, ({}, {"target": some_ignored, "base": 2}), _perplexity_terms
    ),
    "selective_log_softmax": Case(LABELLED),
    "score": Case(LABELLED, ({}, {"target": some_ignored}), _logsumexp_terms),
}

ALL = [(name, variant) for name, case in CASES.items() for variant in range(len(case.variants))]


def strided(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same arguments with the classes of the input apart, where such rows have a path of their own."""
    x = arguments.get("input", np.zeros(0))
    if x.ndim == 2 and len(x) > 1 and x.shape[1] > 64:
        yield {**arguments, "input": np.asfortranarray(x)}


def shapes(family: str) -> list[Shape]:
    return SIZES if family == "pointwise" else ROWS


@functools.lru_cache(maxsize=4)
def samples(name: str, variant: int, dtype_name: str, family: str) -> list[tuple[dict[str, Any], Any, Any, Any, Any]]:
    """For every shape: the arguments, the reference's terms, the magnitudes of value, gradient and Hessian."""
    case, reference = CASES[name], REFERENCES[name]
    rng = np.random.default_rng(7)
    drawn = []
    for shape in shapes(family):
        arguments = case.draw(case.variants[variant], rng, shape, dtype_name)
        value, grad, *hess = case.magnitudes(**arguments)
        drawn.append((arguments, reference.terms(**arguments), value, grad, hess[0] if hess else grad))
    return drawn
