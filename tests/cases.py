"""Inputs for every loss: what its operands look like and which parameters it is tried with.

A new loss adds one entry to CASES. Every test that says something about all losses draws from here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case, Shape, float64, fractions, signs
from cases_ctc import ctc_terms, input_lengths, one_after_another, padded, target_lengths
from cases_embedding import EMBEDDING
from cases_pointwise import POINTWISE, bce_terms
from helpers import NARROW

from fastloss.loss import LOSSES
from fastloss.reference import REFERENCES

# Around lanes (16, 32), sums that are put by (16), the longest short rows of four, three and fewer operands (63, 85 and
# NARROW), blocks (1024); then around tiles (65536).
ROWS = [(rows, classes) for classes in (1, 2, 3, 4, 5, 10, 17, 31, 32, 33, 63, 64, NARROW) for rows in (1, 33)]
ROWS += [(rows, classes) for classes in (3, 10, NARROW) for rows in (0, 2, 31, 32, 100)]
ROWS += [(9, classes) for classes in (85, 86, NARROW - 1, NARROW + 1, 200, 1000, 1023, 1024, 1025, 2049, 3000)]
SEQUENCES = [(1, 1, 2), (2, 3, 5), (7, 4, 3), (12, 0, 4), (30, 9, 12), (24, 2, 64), (26, 3, 1030), (60, 2, 33)]
EMBEDDINGS = [(0, 3), (1, 3), (2, 2), (3, 33), (31, 4), (33, 7), (64, 40), (70, 130)]
LINEAR = [(1, 1), (33, 3), (0, 5), (2, NARROW), (9, NARROW + 1), (100, 10), (5, 1023), (9, 1025), (3, 2049), (70, 300)]
SIZES = [(n,) for n in (0, 1, 31, 32, 33, 1023, 1024, 1025, 16383, 16384, 16385, 65535, 65536, 65537)]


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


def per_row(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(size=shape[:-1])


def per_row_kept(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(size=(*shape[:-1], 1))


def _logsumexp_terms(input: Any, keepdims: bool = False, **_: Any) -> tuple[Any, Any]:
    largest = float64(input).max(-1, keepdims=keepdims)
    lse = REFERENCES["logsumexp"](input, keepdims=keepdims)
    return np.abs(largest) + (lse - largest), 0.0


def _softmax_terms(input: Any, grad_output: Any = None, **_: Any) -> tuple[Any, Any]:
    p = REFERENCES["softmax"](input)
    g = np.abs(np.ones(p.shape) if grad_output is None else float64(grad_output))
    return 0.0, p * (g + (g * p).sum(-1, keepdims=True))


def _log_softmax_terms(input: Any, grad_output: Any = None, **_: Any) -> tuple[Any, Any]:
    p = REFERENCES["softmax"](input)
    g = np.abs(np.ones(p.shape) if grad_output is None else float64(grad_output))
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
    x, index, slope, cap, capping = float64(input), target.dtype.kind in "biu", 1.0, 0.0, 1.0
    if softcap is not None:
        # A capped logit is rounded before it enters the exponential, and so is x / cap.
        slope, cap, capping = np.cosh(x / softcap) ** -2.0, softcap, 1 + softcap + 2 * np.abs(x) / softcap
        x = softcap * np.tanh(x / softcap)
    elif index and not label_smoothing and not z_loss:
        return 0.0, 0.0
    t = np.equal(target[..., None], np.arange(x.shape[-1])) if index else float64(target)
    w = np.ones(x.shape[-1]) if weight is None else float64(weight)
    a = w * ((1 - label_smoothing) * t + label_smoothing / x.shape[-1])
    lse, _ = _logsumexp_terms(x)
    grad = REFERENCES["softmax"](x) * (a.sum(-1) + 2 * z_loss * lse)[..., None] + a
    # A square has twice the relative error of its root.
    return 2 * z_loss * lse**2 + cap * a.sum(-1), grad * slope * capping


def _entropy_terms(input: Any, from_logits: bool = True, base: float | None = None, **_: Any) -> tuple[Any, Any]:
    unit = 1.0 if base is None else np.log(base)
    if not from_logits:
        with np.errstate(divide="ignore"):
            return 0.0, (1 + np.abs(np.log(float64(input)))) / unit
    p, log_p = REFERENCES["softmax"](input), REFERENCES["log_softmax"](input)
    return 0.0, p * (np.abs(log_p) + REFERENCES["entropy"](input)[..., None]) / unit


def _perplexity_terms(**arguments: Any) -> tuple[Any, Any]:
    # An error of its logarithm is a relative error of the perplexity, and of its gradient.
    value, grad = REFERENCES["perplexity"].value_and_grad(**arguments)
    error = 1 + np.nan_to_num(np.log(value))
    return value * error, np.abs(grad) * error


def rows(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.normal(0, rng.choice([0.01, 1, 30], (*shape[:-1], 1)), shape)


def anchors(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rows(np.random.default_rng(99), shape)


def alike(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Rows beside those of `anchors`: some on them, some near, some longer, some elsewhere."""
    x = anchors(rng, shape)
    near = rng.choice([0, 1e-4, 0.5, 10], (*shape[:-1], 1)) * np.abs(x).max(-1, keepdims=True)
    return x * rng.choice([1, 1, 2.5], near.shape) + near * rng.normal(size=shape)


def plus_or_minus(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    return rng.choice([-1, 1], shape[:-1])


def label_lists(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    """Up to four labels to a row, now and then one twice, and labels that are behind the end."""
    found = rng.integers(0, shape[-1], shape)
    ends = rng.integers(0, 5, (*shape[:-1], 1))
    return np.where(np.arange(shape[-1]) == ends, -1, found)


def _of_doubles(input: Any, value: Any, *grads: Any) -> tuple[Any, Any]:
    """Terms that are formed in double: what float32 sees of their errors."""
    seen = 1.0 if np.asarray(input).dtype == np.float64 else 2.0**-29
    return value * seen, tuple(grad * seen for grad in grads)


def _cosine_terms(x1: Any, x2: Any, eps: float = 1e-8, grad_output: Any = None, **_: Any) -> tuple[Any, Any]:
    x, y = np.abs(float64(x1)), np.abs(float64(x2))
    m, n = (np.maximum(np.sqrt((each**2).sum(-1, keepdims=True)), eps) for each in (x, y))
    g = 1.0 if grad_output is None else np.abs(grad_output)[..., None]
    return _of_doubles(x1, (x * y / m / n).sum(-1), g * (y / n + x / m) / m, g * (x / m + y / n) / n)


def _cosine_embedding_terms(input1: Any, input2: Any, margin: float = 0.0, **_: Any) -> tuple[Any, Any]:
    value, (by_x, by_y) = _cosine_terms(float64(input1), float64(input2))
    return _of_doubles(input1, value + margin, by_x, by_y)


def _triplet_terms(anchor: Any, positive: Any, negative: Any, margin: float = 1.0, **more: Any) -> tuple[Any, Any]:
    more = {key: item for key, item in more.items() if key in ("p", "eps")}
    values, grads = [], []
    for x, y in ((anchor, positive), (anchor, negative), (positive, negative)):
        value, (by_x, _) = REFERENCES["pairwise_distance"].value_and_grad(x, y, **more)
        values.append(value)
        grads.append(np.abs(by_x))
    return _of_doubles(
        anchor, margin + values[0] + values[1], grads[0] + grads[1], grads[0] + grads[2], grads[1] + grads[2]
    )


def _distance_terms(anchor: Any, positive: Any, negative: Any, **more: Any) -> tuple[Any, Any]:
    """Distances that a function returns are float32 already."""
    function = more.pop("distance_function", None)
    if function is None:
        return _triplet_terms(anchor, positive, negative, **more)
    a, p, n = map(float64, (anchor, positive, negative))
    if function is LOSSES["pairwise_distance"]:
        return _triplet_terms(a, p, n, **more)
    (first, (a1, by_p)), (second, (a2, by_n)) = _cosine_terms(a, p), _cosine_terms(a, n)
    return 0.2 + first + second, (a1 + a2, by_p, by_n)


def _soft_margin_terms(input: Any, target: Any, weight: Any = 1.0, **_: Any) -> tuple[Any, Any]:
    return 0.0, bce_terms(input, target, weight)[1] / input.shape[-1]


def _tversky_terms(
    input: Any,
    target: Any,
    alpha: float = 0.5,
    beta: float = 0.5,
    smooth: float = 1.0,
    from_logits: bool = True,
    **_: Any,
) -> tuple[Any, Any]:
    x, t = float64(input), float64(target)
    p, slope = x, 1.0
    if from_logits:
        p, slope = np.exp(-np.logaddexp(0, -x)), np.exp(-np.logaddexp(0, -x) - np.logaddexp(0, x))
    kept = (p * t).sum(-1, keepdims=True) + smooth
    missed = (alpha * p * (1 - t) + beta * (1 - p) * t).sum(-1, keepdims=True)
    by_p = (alpha * (1 - t) + beta * t) * kept + missed * t
    return 0.0, by_p / (kept + missed) ** 2 * slope


def _dice_terms(smooth: float = 1.0, **arguments: Any) -> tuple[Any, Any]:
    return _tversky_terms(**arguments, smooth=smooth / 2)


# Of a linear layer: the shape is that of the logits, which have no rounding error.
def hidden_states(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.integers(-2, 3, (*shape[:-1], 4)).astype(np.float64)


def layer_weights(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.integers(-6, 7, (shape[-1], 4)) / 4


def layer_bias(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.integers(-6, 7, shape[-1]) / 2


def _linear_terms(
    hidden: Any, weight: Any, target: Any, bias: Any, class_weight: Any = None, **more: Any
) -> tuple[Any, Any]:
    h, w = float64(hidden), float64(weight)
    x = h @ w.T + float64(bias)
    value, g = _cross_entropy_terms(x, target, class_weight, **more)
    if not np.ndim(g):
        g = REFERENCES["softmax"](x) + np.equal(target[..., None], np.arange(len(w)))
        g *= 1 if class_weight is None else float64(class_weight)[target][..., None]
    g = np.where((target >= 0)[..., None], g, 0).reshape(-1, len(w))
    # Sums of products, each of them rounded.
    by_hidden, by_weight = (g @ np.abs(w)).reshape(h.shape), g.T @ np.abs(h).reshape(-1, h.shape[-1])
    return value, (2 * by_hidden, 2 * by_weight, 2 * g.sum(0))


def nearby(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    """Logits that differ little from all others made by this, but for one number for each row."""
    return logits(np.random.default_rng(11), shape) + rng.normal(0, 1e-3, shape) + rng.normal(0, 5, (*shape[:-1], 1))


def _focal_terms(input: Any, target: Any, gamma: float = 2.0, **more: Any) -> tuple[Any, Any]:
    # A power has so many times the relative error of its base.
    found = REFERENCES["focal_loss"].value_and_grad(input, target, gamma, **more, reduction="none")
    return tuple((1 + gamma) * np.abs(each) for each in found)


def _probabilities(input: Any, target: Any, temperature: float = 1.0) -> tuple[Any, Any]:
    p, q = (REFERENCES["softmax"](float64(each) / temperature) for each in (input, target))
    return p, q


def _sum_of_products(value: Any) -> Any:
    # Each term is a product of several numbers: 8 ulp; and of a log-sum-exp's rounding its square is left.
    return 4 / 3 * value + 1e-14


def _rounded_logits(input: Any, target: Any, temperature: float = 1.0) -> Any:
    # Without multiply-add a logit over the temperature is rounded (test_divergence.py looks at where there is one).
    if temperature == 1:
        return 0.0
    return np.maximum(*(np.abs(float64(each)).max(-1) for each in (input, target))) / temperature


def _kl_terms(**arguments: Any) -> tuple[Any, Any]:
    value, size = REFERENCES["kl_div_with_logits"](**arguments, reduction="none"), _rounded_logits(**arguments)
    p, q = _probabilities(**arguments)
    return _sum_of_products(value) + size, (p + q) * (1 + np.asarray(size)[..., None]) / arguments.get(
        "temperature", 1.0
    )


def _js_terms(**arguments: Any) -> tuple[Any, Any]:
    value, size = REFERENCES["js_div_with_logits"](**arguments, reduction="none"), _rounded_logits(**arguments)
    p, q = _probabilities(**arguments)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_p = 2 * np.log(2) + np.abs(np.log(p) - np.log((p + q) / 2))
    by_p = np.where(p == 0, 0, by_p) * (1 + np.asarray(size)[..., None])
    return _sum_of_products(value) + size, p * by_p / (2 * arguments.get("temperature", 1.0))


ROW = {"input": logits}
PAIR = {"x1": anchors, "x2": alike}
TRIPLET = {"anchor": anchors, "positive": alike, "negative": alike}
OVERLAP = {"input": logits, "target": signs}
LABELLED = {"input": logits, "target": labels}

CASES: dict[str, Case] = {
    **POINTWISE,
    **EMBEDDING,
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
    "focal_loss": Case(
        LABELLED,
        (
            {},
            {"target": some_ignored, "weight": class_weights, "gamma": 1.0},
            {"gamma": 0.5},
            {"gamma": 0.0, "weight": class_weights},
            {"target": some_ignored, "gamma": 5.0},
        ),
        _focal_terms,
    ),
    "kl_div_with_logits": Case(
        {"input": logits, "target": logits},
        (
            {},
            {"temperature": 3.0},
            {"temperature": 0.1},
            {"input": nearby, "target": nearby},
            {"input": nearby, "target": nearby, "temperature": 1.7},
        ),
        _kl_terms,
    ),
    "js_div_with_logits": Case(
        {"input": logits, "target": logits},
        ({}, {"temperature": 2.5}, {"input": nearby, "target": nearby}),
        _js_terms,
    ),
    "cosine_similarity": Case(PAIR, ({}, {"eps": 0.05, "grad_output": per_row}), _cosine_terms),
    "cosine_embedding_loss": Case(
        {"input1": anchors, "input2": alike, "target": plus_or_minus},
        ({}, {"margin": 0.3}, {"target": labels}),
        _cosine_embedding_terms,
        axes=2,
    ),
    "pairwise_distance": Case(
        PAIR,
        (
            {},
            {"eps": 0.0, "grad_output": per_row},
            {"p": 1, "keepdim": True, "grad_output": per_row_kept},
            {"p": 3.5},
            {"p": 0.9},
            {"p": np.inf, "eps": 0.0},
            {"p": -2.0, "eps": 0.0},
            {"p": 0, "eps": 0.0},
        ),
    ),
    "triplet_margin_loss": Case(
        TRIPLET,
        (
            {},
            {"swap": True, "margin": 20.0},
            {"p": 1, "swap": True},
            {"p": 3, "swap": True, "margin": 5},
            {"p": np.inf, "eps": 0.0},
        ),
        _triplet_terms,
    ),
    "triplet_margin_with_distance_loss": Case(
        TRIPLET,
        (
            {},
            {"distance_function": LOSSES["pairwise_distance"], "swap": True},
            {"distance_function": LOSSES["cosine_similarity"], "margin": 0.2},
        ),
        _distance_terms,
    ),
    "multi_margin_loss": Case(
        {"input": logits, "target": labels}, ({}, {"p": 2, "margin": 0.5, "weight": class_weights}), axes=2
    ),
    "multilabel_margin_loss": Case({"input": logits, "target": label_lists}, axes=2),
    "multilabel_soft_margin_loss": Case(
        {"input": logits, "target": signs}, ({}, {"target": fractions, "weight": class_weights}), _soft_margin_terms
    ),
    "dice_loss": Case(
        OVERLAP, ({}, {"input": fractions, "target": fractions, "from_logits": False, "smooth": 0.0}), _dice_terms
    ),
    "tversky_loss": Case(
        OVERLAP,
        ({}, {"alpha": 0.3, "beta": 0.7}, {"input": fractions, "from_logits": False}, {"target": fractions}),
        _tversky_terms,
    ),
    "ctc_loss": Case(
        {
            "log_probs": log_probabilities,
            "targets": padded,
            "input_lengths": input_lengths,
            "target_lengths": target_lengths,
        },
        (
            {},
            {"blank": 1, "zero_infinity": True},
            {"log_probs": mild_logits, "targets": one_after_another},
        ),
        ctc_terms,
    ),
    "linear_cross_entropy": Case(
        {"hidden": hidden_states, "weight": layer_weights, "target": labels, "bias": layer_bias},
        (
            {},
            {"target": some_ignored, "class_weight": class_weights, "z_loss": 1e-3},
            {"target": some_ignored, "label_smoothing": 0.1},
            {"class_weight": class_weights, "label_smoothing": 0.1},
            {"softcap": 5.0},
        ),
        _linear_terms,
    ),
    "score": Case(LABELLED, ({}, {"target": some_ignored}), _logsumexp_terms),
}

ALL = [(name, variant) for name, case in CASES.items() for variant in range(len(case.variants))]


def strided(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same arguments with the classes of the input apart, where such rows have a path of their own."""
    name, x = next(iter(arguments.items()))
    if x.ndim == 2 and len(x) > 1 and x.shape[1] > 64:
        yield {**arguments, name: np.asfortranarray(x)}


def shapes(family: str) -> list[Shape]:
    return {"pointwise": SIZES, "rowwise": ROWS, "sequence": SEQUENCES, "linear": LINEAR, "embedding": EMBEDDINGS}[
        family
    ]


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
