"""How every function of fastloss.torch is called beside torch's own: operands, options, and runs of both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from helpers import peer
from hypothesis import strategies as st

torch = peer("torch")
T = torch.nn.functional
own = {name: getattr(T, name) for name in dir(T)}

from fastloss.torch import autograd, functional, table  # noqa: E402

Sampler = Callable[[np.random.Generator, tuple[int, ...]], Any]
DTYPES = {"float32": 2e-5, "float64": 1e-10, "bfloat16": 2e-2, "float16": 3e-3}
POINTS = [(), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4), (3, 65)]
ROWS = [(5,), (1, 1), (6, 5), (4, 33)]  # the mean or sum of no rows is what was in memory, in torch
CLASSES = [(5,), (6, 5), (1, 1), (0, 4), (2, 5, 3), (2, 3, 2, 4), (40, 70)]


def number(rng, shape):
    return rng.normal(0, 2, shape)


def probability(rng, shape):
    return rng.uniform(0.05, 0.95, shape)


def positive(rng, shape):
    return rng.uniform(0.2, 3, shape)


def logarithm(rng, shape):
    return np.log(rng.uniform(0.05, 1, shape))


def sign(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


def whole_sign(rng, shape):
    return rng.choice([-1, 1], shape)


def labels(rng, shape):
    """A class index for each row along axis 1."""
    return rng.integers(0, shape[min(1, len(shape) - 1)], shape[:1] + shape[2:] if len(shape) > 1 else ())


def label_lists(rng, shape):
    """Lists of labels that -1 may end."""
    return rng.integers(-1, shape[-1], shape)


def of_rows(sampler):
    return lambda rng, shape: sampler(rng, shape[:-1])


def of_classes(sampler):
    return lambda rng, shape: sampler(rng, (shape[min(1, len(shape) - 1)],))


def of_last(sampler):
    return lambda rng, shape: sampler(rng, shape[-1:])


@dataclass(frozen=True)
class Called:
    """A way to call a function: samplers of its tensors, of those that may be left out, and values of its options."""

    tensors: dict[str, Sampler]
    options: dict[str, list[Any]] = field(default_factory=dict)
    shapes: list[tuple[int, ...]] = field(default_factory=lambda: POINTS)
    more: dict[str, Sampler] = field(default_factory=dict)


PAIR = {"input": number, "target": number}
WEIGHT = {"weight": positive}
TRIPLET = dict.fromkeys(("anchor", "positive", "negative"), number)
CALLS = {
    "l1_loss": [Called(PAIR, more=WEIGHT)],
    "mse_loss": [Called(PAIR, more=WEIGHT)],
    "smooth_l1_loss": [Called(PAIR, {"beta": [0.0, 0.5, 1, 3.0]})],
    "huber_loss": [Called(PAIR, {"delta": [0.5, 1, 3.0]}, more=WEIGHT)],
    "cross_entropy": [
        Called(
            {"input": number, "target": labels},
            {"ignore_index": [-100, 0, 2], "label_smoothing": [0.0, 0.1, 1.0]},
            CLASSES,
            {"weight": of_classes(positive)},
        ),
        Called(
            {"input": number, "target": probability},
            {"label_smoothing": [0.0, 0.1]},
            CLASSES,
            {"weight": of_classes(positive)},
        ),
    ],
    "nll_loss": [
        Called(
            {"input": logarithm, "target": labels},
            {"ignore_index": [-100, 1]},
            CLASSES,
            {"weight": of_classes(positive)},
        )
    ],
    "kl_div": [
        Called({"input": logarithm, "target": probability}),
        Called({"input": logarithm, "target": logarithm}, {"log_target": [True]}),
    ],
    "binary_cross_entropy": [
        Called({"input": probability, "target": probability}, more=WEIGHT),
        Called({"input": probability, "target": probability}, shapes=POINTS[1:], more={"weight": of_last(positive)}),
    ],
    "binary_cross_entropy_with_logits": [
        Called(
            {"input": number, "target": probability},
            shapes=POINTS[1:],
            more={"weight": positive, "pos_weight": of_last(positive)},
        )
    ],
    "poisson_nll_loss": [
        Called({"input": number, "target": positive}, {"full": [False, True]}),
        Called({"input": positive, "target": positive}, {"log_input": [False], "eps": [1e-8, 0.1]}),
    ],
    "gaussian_nll_loss": [
        Called({**PAIR, "var": positive}, {"full": [False, True], "eps": [1e-6, 0.5]}),
        Called({**PAIR, "var": of_rows(positive)}, {"full": [False, True]}, POINTS[1:]),
    ],
    "soft_margin_loss": [Called({"input": number, "target": sign})],
    "hinge_embedding_loss": [
        Called({"input": number, "target": each}, {"margin": [0.5, 1.0]}) for each in (sign, whole_sign)
    ],
    "margin_ranking_loss": [
        Called({"input1": number, "input2": number, "target": each}, {"margin": [0.0, 0.5]})
        for each in (sign, whole_sign)
    ],
    "multi_margin_loss": [
        Called(
            {"input": number, "target": labels},
            {"p": [1, 2], "margin": [1.0, 0.5]},
            ROWS,
            {"weight": of_last(positive)},
        )
    ],
    "multilabel_margin_loss": [Called({"input": number, "target": label_lists}, {}, ROWS)],
    "multilabel_soft_margin_loss": [
        Called({"input": number, "target": probability}, {}, ROWS, {"weight": of_last(positive)}),
        Called({"input": number, "target": probability}, {}, [(2, 3, 4)], WEIGHT),
    ],
    "cosine_similarity": [
        Called({"x1": number, "x2": number}, {"dim": [0, 1, -1], "eps": [1e-8, 0.1]}, [(2, 3), (4, 5, 6)])
    ],
    "cosine_embedding_loss": [
        Called({"input1": number, "input2": number, "target": of_rows(each)}, {"margin": [0.0, 0.3]}, ROWS)
        for each in (sign, whole_sign)
    ],
    "pairwise_distance": [
        Called(
            {"x1": number, "x2": number},
            {"p": [2.0, 1, 3.0], "eps": [1e-6, 0.1], "keepdim": [False, True]},
            [(5,), (6, 5), (2, 3, 4)],
        )
    ],
    "triplet_margin_loss": [
        Called(TRIPLET, {"margin": [1.0, 5], "p": [2, 1.0], "swap": [False, True]}, [(5,), (6, 5), (2, 3, 4)])
    ],
    "triplet_margin_with_distance_loss": [
        Called(TRIPLET, {"margin": [1.0, 5.0], "swap": [False, True]}, [(5,), (6, 5), (2, 3, 4)])
    ],
    "linear_cross_entropy": [
        Called(
            {
                "input": lambda rng, shape: number(rng, shape[:-1]),
                "linear_weight": lambda rng, shape: number(rng, shape[:-3:-1]) / 4,
                "target": lambda rng, shape: rng.integers(0, shape[-1], shape[:-2]),
            },
            {"ignore_index": [None, 1], "label_smoothing": [0.0, 0.1]},
            [(4, 3), (7, 5, 6), (0, 2, 3), (40, 16, 130)],
            {"linear_bias": of_last(number), "weight": of_last(positive)},
        )
    ],
    "pdist": [Called({"input": number}, {"p": [2.0, 1.0]}, [(6, 5), (1, 3), (2, 1)])],
}
EVERY = [(name, way) for name, calls in CALLS.items() for way in range(len(calls))]


def tensor(array, dtype):
    made = torch.tensor(np.asarray(array))
    return made.to(getattr(torch, dtype)) if made.is_floating_point() else made


def quiet(function, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def leaves(tensors, differentiated):
    return {key: each.clone().requires_grad_(key in differentiated) for key, each in tensors.items()}


def run(function, tensors, differentiated, options, upstream=None):
    """The value and the gradients."""
    given = leaves(tensors, differentiated)
    value = quiet(function, **given, **options)
    if differentiated and value.requires_grad:
        value.backward(torch.ones_like(value) if upstream is None else upstream.to(value.dtype))
    return value, [given[key].grad for key in differentiated]


def close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    expected = expected.double().detach()
    scale = max(1.0, float(expected.abs().nan_to_num(0, 0, 0).max())) if expected.numel() else 1.0
    torch.testing.assert_close(
        actual.double().detach(), expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )


def drawn(data, name, way, shapes=None):
    """Tensors in float64, options and the predictions of a call."""
    called, rng = CALLS[name][way], np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    shape = data.draw(st.sampled_from(shapes or called.shapes))
    arrays = {key: sampler(rng, shape) for key, sampler in called.tensors.items()}
    arrays |= {key: sampler(rng, shape) for key, sampler in called.more.items() if data.draw(st.booleans())}
    options = {key: data.draw(st.sampled_from(values)) for key, values in called.options.items()}
    bridge = table.TABLE[name]
    if bridge.reductions:
        allowed = bridge.reductions if shape else [each for each in bridge.reductions if each != "batchmean"]
        options["reduction"] = data.draw(st.sampled_from(allowed))
    return arrays, options, predictions_of(name, arrays)


def predictions_of(name, given):
    """Those of the tensors that a function is differentiated by."""
    names = list(table.TABLE[name].tensors)
    return [names[i] for i in table.TABLE[name].predictions if names[i] in given]


def spied(monkeypatch):
    """What fastloss has computed: a list that grows."""
    seen = []
    whole = autograd.compute

    def compute(bridge, *args):
        seen.append(bridge.loss)
        return whole(bridge, *args)

    monkeypatch.setattr(autograd, "compute", compute)
    monkeypatch.setattr(functional, "compute", compute)
    return seen
