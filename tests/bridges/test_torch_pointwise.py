"""Every pointwise loss that torch has: its numbers and gradients on generated arguments, and what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastloss.loss import LOSSES

torch = peer("torch")
F = torch.nn.functional

Sampler = Callable[[np.random.Generator, tuple[int, ...]], Any]


def number(rng, shape):
    return np.round(rng.normal(0, rng.choice([0.5, 5]), shape), rng.integers(0, 4))


def exponent(rng, shape):
    return np.clip(number(rng, shape), -15, 15)


def positive(rng, shape):
    return rng.uniform(0.05, 3, shape)


def probability(rng, shape):
    return np.clip(rng.uniform(-0.2, 1.2, shape), 0, 1)


def inner_probability(rng, shape):
    return rng.uniform(0.001, 0.999, shape)


def any_sign(rng, shape):
    return rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0], shape)


def logarithm(rng, shape):
    return -np.abs(number(rng, shape))


def count(rng, shape):
    return rng.poisson(2, shape).astype(float)


@dataclass(frozen=True)
class Called:
    """How to call a loss: samplers of its operands, predictions first, and values of its parameters."""

    operands: dict[str, Sampler]
    options: dict[str, list[Any]] = field(default_factory=dict)
    predictions: int = 1
    broadcasts: bool = True
    weights: tuple[str, ...] = ()
    batchmean: bool = False


PAIR = {"input": number, "target": number}
CALLS = {
    "l1_loss": [Called(PAIR, weights=("weight",))],
    "mse_loss": [Called(PAIR, weights=("weight",))],
    "smooth_l1_loss": [Called(PAIR, {"beta": [0.0, 0.5, 1.0, 3.0]})],
    "huber_loss": [Called(PAIR, {"delta": [0.5, 1.0, 3.0]}, weights=("weight",))],
    "poisson_nll_loss": [
        Called({"input": exponent, "target": count}, {"log_input": [True], "full": [True, False]}),
        Called(
            {"input": positive, "target": count},
            {"log_input": [False], "full": [True, False], "eps": [1e-8, 0.1]},
        ),
    ],
    "kl_div": [
        Called({"input": logarithm, "target": probability}, {"log_target": [False]}, batchmean=True),
        Called({"input": logarithm, "target": logarithm}, {"log_target": [True]}, batchmean=True),
    ],
    "binary_cross_entropy": [
        Called({"input": inner_probability, "target": probability}, broadcasts=False, weights=("weight",))
    ],
    "binary_cross_entropy_with_logits": [
        Called({"input": number, "target": probability}, broadcasts=False, weights=("weight", "pos_weight"))
    ],
    "soft_margin_loss": [Called({"input": exponent, "target": any_sign}, broadcasts=False)],
    "hinge_embedding_loss": [Called({"input": number, "target": any_sign}, {"margin": [0.0, 0.5, 1.0, -1.0]})],
    "margin_ranking_loss": [
        Called({"input1": number, "input2": number, "target": any_sign}, {"margin": [0.0, 0.5, 2.0]}, predictions=2)
    ],
}
EVERY = [(name, number) for name, calls in CALLS.items() for number in range(len(calls))]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4) | st.sampled_from([(3000,), (7, 65)])


def narrowed(data, shape):
    """A shape that broadcasts to this one, of as many axes."""
    return tuple(1 if data.draw(st.booleans()) else n for n in shape)


def torch_of(function, arrays, predictions, options):
    """Torch's value and the gradients of the sum of it."""
    leaves = [torch.tensor(each) for each in arrays.values()]
    for leaf in leaves[:predictions]:
        leaf.requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(**dict(zip(arrays, leaves, strict=True)), **options)
    value.sum().backward()
    return value.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves[:predictions])


def check(name, arrays, predictions, options, dtype):
    value, grads = LOSSES[name].value_and_grad(**arrays, **options)
    ours = (value, *grads) if predictions > 1 else (value, grads)
    tolerance = {"float32": 2e-5, "float64": 1e-11}[dtype]
    theirs = torch_of(getattr(F, name), arrays, predictions, options)
    for got, want in zip(ours, theirs, strict=True):
        assert np.shape(got) == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max(initial=0)))
    assert np.array_equal(LOSSES[name](**arrays, **options), value, equal_nan=True)


@pytest.mark.parametrize(("name", "way"), EVERY)
@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64"]), data=st.data())
def test_numbers_and_gradients(name, way, shape, seed, dtype, data):
    called, rng = CALLS[name][way], np.random.default_rng(seed)
    reductions = ["none", "mean", "sum", *(["batchmean"] if called.batchmean and shape else [])]
    options = {key: data.draw(st.sampled_from(values)) for key, values in called.options.items()}
    options["reduction"] = data.draw(st.sampled_from(reductions))
    arrays = {}
    for key, sampler in called.operands.items():
        whole = not called.broadcasts or key == "input" or data.draw(st.booleans())
        arrays[key] = np.asarray(sampler(rng, shape if whole else narrowed(data, shape)), dtype)
    for key in called.weights:
        if data.draw(st.booleans()):
            arrays[key] = np.asarray(positive(rng, shape if key == "weight" else shape[-1:]), dtype)
    check(name, arrays, called.predictions, options, dtype)


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64"]), data=st.data())
def test_gaussian_nll_loss(shape, seed, dtype, data):
    rng = np.random.default_rng(seed)
    shapes = [shape, shape[:-1]]
    shapes += [(*shape[:axis], 1, *shape[axis + 1 :]) for axis in range(len(shape))]
    var = np.asarray(rng.choice([0.0, 0.1, 1.0, 2.0], data.draw(st.sampled_from(shapes))), dtype)
    if data.draw(st.booleans()) and len(shape) == 0:
        var = np.asarray(0.5, dtype)
    arrays = {
        "input": np.asarray(number(rng, shape), dtype),
        "target": np.asarray(number(rng, shape), dtype),
        "var": var,
    }
    options = {
        "full": data.draw(st.booleans()),
        "eps": data.draw(st.sampled_from([1e-6, 0.5])),
        "reduction": data.draw(st.sampled_from(["none", "mean", "sum"])),
    }
    value, (by_input, by_var) = LOSSES["gaussian_nll_loss"].value_and_grad(**arrays, **options)
    order = {"input": arrays["input"], "var": var, "target": arrays["target"]}
    theirs = torch_of(F.gaussian_nll_loss, order, 2, options)
    tolerance = {"float32": 3e-5, "float64": 1e-11}[dtype]
    for got, want in zip((value, by_input, by_var), theirs, strict=True):
        assert np.shape(got) == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max(initial=0)))


def test_gaussian_nll_loss_of_one_variance():
    x, t = np.array([[1.0, 2.0, 4.0]]), np.zeros((1, 3))
    theirs = F.gaussian_nll_loss(torch.tensor(x), torch.tensor(t), 0.5).item()
    assert LOSSES["gaussian_nll_loss"](x, t, 0.5) == pytest.approx(theirs, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certain_probabilities(dtype):
    x, t = np.array([0.0, 0, 0, 1, 1, 1, 1e-20], dtype), np.array([0.0, 0.3, 1, 0, 0.3, 1, 1], dtype)
    value, grad = LOSSES["binary_cross_entropy"].value_and_grad(x, t, reduction="none")
    arrays = {"input": x, "target": t}
    theirs = torch_of(F.binary_cross_entropy, arrays, 1, {"reduction": "none"})
    np.testing.assert_allclose(value, theirs[0], rtol=1e-6)
    np.testing.assert_allclose(grad, theirs[1], rtol=1e-6)  # torch's 1e-12 is a float32 number


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
@pytest.mark.parametrize("target_dtype", ["bool", "uint8", "int8", "int32", "int64"])
def test_integer_targets(shape, target_dtype):
    rng = np.random.default_rng(0)
    x, t = rng.uniform(0.1, 0.9, shape), np.asarray(rng.integers(0, 2, shape)).astype(target_dtype)
    for name in ("l1_loss", "mse_loss", "smooth_l1_loss", "poisson_nll_loss", "binary_cross_entropy", "kl_div"):
        theirs = getattr(F, name)(torch.tensor(x), torch.tensor(t.astype(float)), reduction="sum").item()
        assert LOSSES[name](x, t, reduction="sum") == pytest.approx(theirs, rel=1e-13)


X, Y = np.zeros((2, 3)), np.ones((2, 3))
REFUSED = {
    "reduction": ("l1_loss", {"input": X, "target": Y}, {"reduction": "median"}),
    "batchmean where there is none": ("mse_loss", {"input": X, "target": Y}, {"reduction": "batchmean"}),
    "shapes": ("mse_loss", {"input": X, "target": np.zeros((2, 4))}, {}),
    "smaller target": ("binary_cross_entropy", {"input": X, "target": np.zeros(4)}, {}),
    "weight": ("l1_loss", {"input": X, "target": Y, "weight": np.zeros((2, 4))}, {}),
    "negative beta": ("smooth_l1_loss", {"input": X, "target": Y}, {"beta": -1.0}),
    "delta of 0": ("huber_loss", {"input": X, "target": Y}, {"delta": 0.0}),
    "negative delta": ("huber_loss", {"input": X, "target": Y}, {"delta": -1.0}),
    "negative probability": ("binary_cross_entropy", {"input": X - 0.1, "target": Y}, {}),
    "probability above 1": ("binary_cross_entropy", {"input": Y + 0.1, "target": Y}, {}),
    "negative variance": ("gaussian_nll_loss", {"input": X, "target": Y, "var": -Y}, {}),
    "variances of other rows": ("gaussian_nll_loss", {"input": X, "target": Y, "var": np.ones(3)}, {}),
    "variances of one element": ("gaussian_nll_loss", {"input": X, "target": Y, "var": np.ones((1, 1))}, {}),
    "deeper variances": ("gaussian_nll_loss", {"input": X, "target": Y, "var": np.ones((1, 2, 3))}, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    name, arrays, options = REFUSED[case]
    tensors = {key: torch.tensor(each) for key, each in arrays.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, RuntimeError)):
            getattr(F, name)(**tensors, **options)
    with pytest.raises(ValueError, match=name):
        LOSSES[name](**arrays, **options)


class TestPolicyAgainstTorch:
    """Where torch's own behaviour is a defect, fastloss does what the policy says."""

    def test_soft_margin_of_a_large_margin(self):
        assert F.soft_margin_loss(torch.tensor([-1000.0]), torch.tensor([1.0])).item() == np.inf
        assert LOSSES["soft_margin_loss"](np.float32([-1000]), [1]) == 1000

    def test_kl_div_of_nothing_that_is_impossible(self):
        x, t = np.array([-np.inf, 0.0]), np.array([0.0, 1.0])
        assert torch.isnan(F.kl_div(torch.tensor(x), torch.tensor(t), reduction="sum"))
        assert LOSSES["kl_div"](x, t, reduction="sum") == 0
