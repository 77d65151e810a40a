"""The same signatures, numbers and gradients as torch.nn.functional, but for the defects the policy names."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import assert_same, peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.loss import LOSSES

torch = peer("torch")
F = torch.nn.functional

REDUCTIONS = st.sampled_from(["none", "mean", "sum"])
DTYPES = st.sampled_from(["float32", "float64"])
SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from(
    [(3,), (1, 1), (5, 3), (33, 10), (7, 64), (7, 65), (3, 1100), (2, 3, 4), (2, 40, 3, 5), (2, 70, 3, 5)]
)
OPTIONS = {
    "weighted": st.booleans(),
    "eps": st.sampled_from([0.0, 0.1, 1.0]),
    "ignore": st.sampled_from([-100, 0, 2]),
}


def close(actual, expected, dtype):
    tolerance = {"float32": 2e-5, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def torch_of(function, x, *arrays, **options):
    """Torch's value and gradient of the sum of it."""
    leaf = torch.tensor(x, requires_grad=True)
    value = function(
        leaf, *(torch.tensor(each) if isinstance(each, np.ndarray) else each for each in arrays), **options
    )
    value.sum().backward()
    return value.detach().numpy(), leaf.grad.numpy()


def compare(ours, theirs, dtype):
    for got, want in zip(ours, theirs, strict=True):
        close(got, want, dtype)


@settings(max_examples=150, deadline=None)
@given(shape=SHAPES, dtype=DTYPES, reduction=REDUCTIONS, seed=SEEDS, spread=st.sampled_from([1, 10]), **OPTIONS)
def test_cross_entropy_of_indices(shape, dtype, reduction, seed, spread, weighted, eps, ignore):
    rng = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    classes = shape[axis]
    x = rng.normal(0, spread, shape).astype(dtype)
    t = np.asarray(rng.integers(0, classes, np.delete(shape, axis)))
    t = np.where(rng.random(t.shape) < 0.2, ignore, t)
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if weighted else None
    options = {"ignore_index": ignore, "label_smoothing": eps, "reduction": reduction}
    theirs = torch_of(F.cross_entropy, x, t, weight, **options)
    compare(fl.cross_entropy.value_and_grad(x, t, weight, axis=axis, **options), theirs, dtype)
    options.pop("label_smoothing")
    theirs = torch_of(F.nll_loss, x, t, weight, **options)
    compare(fl.nll_loss.value_and_grad(x, t, weight, axis=axis, **options), theirs, dtype)


@settings(max_examples=100, deadline=None)
@given(
    shape=SHAPES,
    dtype=DTYPES,
    reduction=REDUCTIONS,
    seed=SEEDS,
    weighted=st.booleans(),
    eps=st.sampled_from([0.0, 0.1]),
)
def test_cross_entropy_of_probabilities(shape, dtype, reduction, seed, weighted, eps):
    rng = np.random.default_rng(seed)
    axis = min(1, len(shape) - 1)
    x, t = rng.normal(0, 5, shape).astype(dtype), rng.random(shape)
    t = (t / t.sum(axis, keepdims=True)).astype(dtype)
    weight = rng.uniform(0.1, 2, shape[axis]).astype(dtype) if weighted else None
    options = {"label_smoothing": eps, "reduction": reduction}
    theirs = torch_of(F.cross_entropy, x, t, weight, **options)
    compare(fl.cross_entropy.value_and_grad(x, t, weight, axis=axis, **options), theirs, dtype)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, dtype=DTYPES, seed=SEEDS, data=st.data())
def test_softmax_family(shape, dtype, seed, data):
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = rng.normal(0, 5, shape).astype(dtype)
    for name, function in (
        ("logsumexp", torch.logsumexp),
        ("softmax", F.softmax),
        ("log_softmax", F.log_softmax),
    ):
        leaf = torch.tensor(x, requires_grad=True)
        value = function(leaf, axis)
        upstream = rng.normal(size=tuple(value.shape)).astype(dtype)
        value.backward(torch.tensor(upstream))
        ours = LOSSES[name].value_and_grad(x, axis, grad_output=upstream)
        compare(ours, (value.detach().numpy(), leaf.grad.numpy()), dtype)


@pytest.mark.parametrize("name", [name for name in LOSSES if inspect.isfunction(getattr(F, name, None))])
def test_names_order_and_defaults_are_torchs(name):
    theirs = inspect.signature(getattr(F, name)).parameters
    ours = inspect.signature(LOSSES[name]).parameters
    old = {"size_average", "reduce", "_stacklevel", "dtype", "options"}
    names = {"dim": "axis"}
    if name == "linear_cross_entropy":
        old.add("ignore_index")  # None, which stands for -100
        names = {"input": "hidden", "linear_weight": "weight", "linear_bias": "bias", "weight": "class_weight"}
    expected = {names.get(each, each): parameter for each, parameter in theirs.items() if each not in old}
    assert set(expected) <= set(ours)
    positional = [each.name for each in ours.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == [each for each in expected if each in positional]
    assert {each: ours[each].default for each in expected if each != "axis"} == {
        each: parameter.default for each, parameter in expected.items() if each != "axis"
    }


class TestTensors:
    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
    def test_are_taken_as_they_are(self, dtype):
        x = torch.randn(40, 70).to(getattr(torch, dtype))
        t = torch.randint(0, 70, (40,))
        expected = fl.cross_entropy(x.double().numpy(), t.numpy())
        assert fl.cross_entropy(x, t) == pytest.approx(expected, rel=1e-6)
        for targets in (t.int(), t.short(), t.byte(), t.tolist()):
            assert fl.cross_entropy(x, targets) == fl.cross_entropy(x, t)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
    def test_are_written_as_they_are(self, dtype):
        x = torch.randn(40, 70).to(getattr(torch, dtype))
        t = torch.randint(0, 70, (40,))
        out = torch.empty_like(x)
        value, grad = fl.cross_entropy.value_and_grad(x, t, out=out)
        assert grad is out
        value_in_place, grad = fl.cross_entropy.value_and_grad(x, t, out=x)
        assert grad is x
        assert value == value_in_place
        assert torch.equal(out, x)
        assert out.abs().sum() > 0

    def test_of_other_layouts(self):
        x, t = torch.randn(4, 6, 5, 3), torch.randint(0, 6, (4, 5, 3))
        expected = fl.cross_entropy.value_and_grad(x.numpy(), t.numpy(), axis=1)
        channels_last = x.to(memory_format=torch.channels_last)
        assert_same(fl.cross_entropy.value_and_grad(channels_last, t, axis=1), expected)
        assert_same(
            fl.cross_entropy.value_and_grad(x.permute(0, 2, 3, 1), t),
            fl.cross_entropy.value_and_grad(x.numpy().transpose(0, 2, 3, 1), t.numpy()),
        )
        assert fl.logsumexp(x[0, 0, 0].expand(7, 3)).shape == (7,)

    def test_that_need_a_gradient(self):
        x = torch.zeros(4, 3, requires_grad=True)
        t = torch.zeros(4, dtype=torch.long)
        assert_same(fl.cross_entropy.value_and_grad(x, t), fl.cross_entropy.value_and_grad(x.detach(), t))

    def test_of_other_devices_and_kinds_are_refused(self):
        t = torch.zeros(4, dtype=torch.long)
        for x in (
            torch.zeros(4, 3, device="meta"),
            torch.zeros(4, 3).to_sparse(),
            torch.zeros(4, 3, dtype=torch.complex64),
        ):
            with pytest.raises(TypeError, match="input"):
                fl.cross_entropy(x, t)


class TestPolicyAgainstTorch:
    """Where torch's own behaviour is a defect, fastloss does what the policy says."""

    def test_confident_row(self):
        x = np.array([[17.6, 0]], np.float32)
        assert F.cross_entropy(torch.tensor(x), torch.tensor([0])).item() == 0
        assert fl.cross_entropy(x, [0]) == pytest.approx(2.272e-8, rel=1e-3)

    def test_masked_class_of_weight_zero_under_smoothing(self):
        x, weight = np.array([[1, -np.inf, 2]]), np.array([1.0, 0, 1])
        theirs = F.cross_entropy(torch.tensor(x), torch.tensor([0]), torch.tensor(weight), label_smoothing=0.1)
        assert torch.isnan(theirs)
        assert np.isfinite(fl.cross_entropy(x, [0], weight, label_smoothing=0.1))

    def test_labels_out_of_range(self):
        for label in (3, -1):
            with pytest.raises(IndexError, match=r"target\[0\]"):
                fl.cross_entropy(torch.zeros(1, 3), torch.tensor([label]))
