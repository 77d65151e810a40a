"""fastloss.torch beside torch.nn.functional: values, gradients, dtypes, what is refused, and what is left to torch."""

from __future__ import annotations

import doctest
import inspect
import math
import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

torch = peer("torch")
T = torch.nn.functional
own = {name: getattr(T, name) for name in dir(T)}

import fastloss.torch as F  # noqa: E402
from fastloss.torch import autograd, functional, table  # noqa: E402

Sampler = Callable[[np.random.Generator, tuple[int, ...]], Any]
DTYPES = {"float32": 2e-5, "float64": 1e-10, "bfloat16": 2e-2, "float16": 3e-3}
POINTS = [(), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4), (3, 65)]
ROWS = [(5,), (1, 1), (6, 5), (4, 33)]  # the mean of none is what was in memory, in torch
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
    names = list(bridge.tensors)
    return arrays, options, [names[i] for i in bridge.predictions]


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


@pytest.mark.parametrize(("name", "way"), EVERY)
def test_values_and_gradients(name, way, monkeypatch):
    seen = spied(monkeypatch)

    @settings(max_examples=30, deadline=None, database=None)
    @given(data=st.data(), dtype=st.sampled_from(list(DTYPES)))
    def check(data, dtype):
        arrays, options, predictions = drawn(data, name, way)
        tensors = {key: tensor(each, dtype) for key, each in arrays.items()}
        differentiated = [key for key in predictions if data.draw(st.booleans())] if table.TABLE[name].grad else []
        wide = {key: each.double() if each.is_floating_point() else each for key, each in tensors.items()}
        value = run(own[name], wide, [], options)[0]
        upstream = torch.tensor(np.random.default_rng(0).normal(1, 1, tuple(value.shape)))
        expected = run(own[name], wide, differentiated, options, upstream)
        seen.clear()
        found = run(getattr(F, name), tensors, differentiated, options, upstream)
        by_torch = name == "gaussian_nll_loss" and options["reduction"] == "none" and way == 1
        assert seen == ([] if by_torch else [table.TABLE[name].loss])
        assert found[0].dtype == getattr(torch, dtype)
        assert found[0].requires_grad == bool(differentiated)
        close(found[0], expected[0], DTYPES[dtype])
        for got, want in zip(found[1], expected[1], strict=True):
            assert got.dtype == getattr(torch, dtype)
            close(got, want, DTYPES[dtype] * (2 if dtype in ("float16", "bfloat16") else 1))

    check()


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("form", ["padded", "concatenated", "tuples", "one"])
def test_ctc_loss(form, reduction, monkeypatch):
    seen = spied(monkeypatch)
    rng = np.random.default_rng(0)
    steps, targets = torch.tensor([9, 12, 7]), torch.tensor(rng.integers(1, 6, (3, 4)))
    lengths = torch.tensor([4, 2, 3])
    log_probs = torch.tensor(rng.normal(0, 1, (12, 3, 6))).log_softmax(-1)
    arguments = {
        "padded": (targets, steps, lengths),
        "concatenated": (torch.cat([row[:n] for row, n in zip(targets, lengths, strict=True)]), steps, lengths),
        "tuples": (targets, tuple(steps.tolist()), tuple(lengths.tolist())),
        "one": (targets[0], steps[0], lengths[0]),
    }[form]
    if form == "one":
        log_probs = log_probs[:, 0]
    made = []
    for function in (own["ctc_loss"], F.ctc_loss):
        x = log_probs.clone().requires_grad_()
        value = function(x, *arguments, reduction=reduction)
        value.backward(torch.arange(1.0, 1 + value.numel()).to(x).reshape(value.shape))
        made.append((value, x.grad))
    close(made[1][0], made[0][0], 1e-10)
    close(made[1][1], made[0][1], 1e-10)
    assert seen == ["ctc_loss"]


def test_every_function_is_tested():
    assert {*CALLS, "ctc_loss"} == set(table.TABLE)


def test_examples():
    assert doctest.testmod(F).failed == 0
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"^```py\n(.*?torch.*?)^```", readme, re.MULTILINE | re.DOTALL)):
        found = doctest.DocTestParser().get_doctest(block, {}, f"README {number}", None, 0)
        assert doctest.DocTestRunner().run(found).failed == 0


@pytest.mark.parametrize("name", table.TABLE)
def test_is_torchs_in_name_and_signature(name):
    function = getattr(F, name)
    assert function.__name__ == name
    assert pickle.loads(pickle.dumps(function)) is function
    if table.TABLE[name].defaults is None:
        assert inspect.signature(function) == inspect.signature(own[name])
    assert name in F.__all__
    assert function is not own[name]


def test_other_names_are_torchs():
    assert F.relu is T.relu
    assert "relu" in dir(F)
    with pytest.raises(AttributeError, match="no_such_loss"):
        _ = F.no_such_loss


class TestLeftToTorch:
    """What fastloss does not compute gives torch's own answer."""

    @pytest.fixture(autouse=True)
    def nothing_is_computed(self, monkeypatch):
        def refuse(*_):
            raise AssertionError("computed by fastloss")

        monkeypatch.setattr(functional, "compute", refuse)
        monkeypatch.setattr(autograd, "compute", refuse)

    X, Y = torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(0, 1, 12).reshape(3, 4)

    @pytest.mark.parametrize("legacy", [{"size_average": False}, {"reduce": False}, {"size_average": True}])
    def test_legacy_arguments(self, legacy):
        assert torch.equal(
            quiet(F.mse_loss, self.X, self.Y, **legacy), quiet(own["mse_loss"], self.X, self.Y, **legacy)
        )

    def test_broadcasting_warns(self):
        with pytest.warns(UserWarning, match="different to the input size"):
            assert torch.equal(F.mse_loss(self.X, self.Y[0]), quiet(own["mse_loss"], self.X, self.Y[0]))

    def test_promotion(self):
        assert F.mse_loss(self.X, self.Y.double()).dtype == torch.float64

    def test_gradient_of_the_target(self):
        x, y = self.X.clone().requires_grad_(), self.Y.clone().requires_grad_()
        F.mse_loss(x, y).backward()
        assert torch.equal(x.grad, -y.grad)

    def test_gradient_of_a_weight(self):
        w = self.Y.clone().requires_grad_()
        F.mse_loss(self.X, self.Y, weight=w).backward()
        assert w.grad is not None

    def test_complex(self):
        z = self.X * (1 + 1j)
        assert torch.equal(F.l1_loss(z, z * 2), own["l1_loss"](z, z * 2))

    def test_meta(self):
        assert F.mse_loss(self.X.to("meta"), self.Y.to("meta"), reduction="none").device.type == "meta"

    def test_fake(self):
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode() as mode:
            assert F.mse_loss(mode.from_tensor(self.X), mode.from_tensor(self.Y)).shape == ()

    def test_subclass(self):
        class Named(torch.Tensor):
            pass

        assert isinstance(F.mse_loss(self.X.as_subclass(Named), self.Y), Named)

    def test_function_mode(self):
        from torch.overrides import TorchFunctionMode

        class Mode(TorchFunctionMode):
            seen: list = []  # noqa: RUF012

            def __torch_function__(self, function, types, args=(), kwargs=None):
                self.seen.append(function)
                return function(*args, **(kwargs or {}))

        with Mode():
            F.mse_loss(self.X, self.Y)
        assert any("mse_loss" in str(each) for each in Mode.seen)

    def test_vmap(self):
        target = torch.tensor([[0, 1, 2], [3, 0, 1]])
        x = torch.stack([self.X, self.Y])
        assert torch.equal(torch.vmap(F.cross_entropy)(x, target), torch.vmap(own["cross_entropy"])(x, target))

    def test_functorch_gradient_and_hessian(self):
        for transform in (torch.func.grad, torch.func.hessian, torch.func.jacfwd):
            theirs = transform(lambda x: own["mse_loss"](x, self.Y))(self.X)
            assert torch.equal(transform(lambda x: F.mse_loss(x, self.Y))(self.X), theirs)

    def test_forward_mode(self):
        with torch.autograd.forward_ad.dual_level():
            x = torch.autograd.forward_ad.make_dual(self.X, torch.ones_like(self.X))
            _, tangent = torch.autograd.forward_ad.unpack_dual(F.mse_loss(x, self.Y))
        assert tangent.item() == pytest.approx(2 * (self.X - self.Y).mean().item(), rel=1e-6)

    def test_jit_trace(self):
        traced = torch.jit.trace(lambda x, y: F.mse_loss(x, y), (self.X, self.Y), check_trace=False)
        assert torch.equal(traced(2 * self.X, self.Y), own["mse_loss"](2 * self.X, self.Y))

    def test_distance_function(self):
        def distance(a, b):
            return (a - b).abs().sum(-1)

        arguments = self.X, self.Y, self.X * 2
        theirs = own["triplet_margin_with_distance_loss"](*arguments, distance_function=distance)
        assert torch.equal(F.triplet_margin_with_distance_loss(*arguments, distance_function=distance), theirs)

    def test_label_dtypes(self):
        with pytest.raises(RuntimeError):
            F.cross_entropy(self.X, torch.tensor([0, 1, 2], dtype=torch.int32))


I2 = torch.tensor([0, 1])
X2, Y2 = torch.zeros(2, 3), torch.ones(2, 3)
REFUSED = {
    "no arguments": ("mse_loss", (), {}),
    "one argument": ("mse_loss", (X2,), {}),
    "unknown argument": ("mse_loss", (X2, Y2), {"gamma": 1}),
    "argument twice": ("mse_loss", (X2, Y2), {"input": X2}),
    "too many": ("mse_loss", (X2,) * 9, {}),
    "a list": ("mse_loss", ([1.0], [2.0]), {}),
    "reduction": ("mse_loss", (X2, Y2), {"reduction": "median"}),
    "reduction None": ("cross_entropy", (X2, I2), {"reduction": None}),
    "batchmean where there is none": ("l1_loss", (X2, Y2), {"reduction": "batchmean"}),
    "shapes": ("l1_loss", (X2, torch.zeros(2, 4)), {}),
    "smaller weight": ("mse_loss", (X2, Y2), {"weight": torch.ones(3)}),
    "negative beta": ("smooth_l1_loss", (X2, Y2), {"beta": -1.0}),
    "delta of 0": ("huber_loss", (X2, Y2), {"delta": 0.0}),
    "label out of range": ("cross_entropy", (X2, I2 + 2), {}),
    "negative label": ("nll_loss", (X2, I2 - 1), {}),
    "label dtype": ("nll_loss", (X2, I2.to(torch.int16)), {}),
    "labels of other rows": ("cross_entropy", (X2, torch.tensor([0, 1, 1])), {}),
    "smoothing above 1": ("cross_entropy", (X2, I2), {"label_smoothing": 1.5}),
    "ignored probabilities": ("cross_entropy", (X2, Y2), {"ignore_index": 1}),
    "weight of other classes": ("cross_entropy", (X2, I2), {"weight": torch.ones(4)}),
    "weight dtype": ("cross_entropy", (X2, I2), {"weight": torch.ones(3, dtype=torch.float64)}),
    "probability above 1": ("binary_cross_entropy", (Y2 + 0.1, Y2), {}),
    "target dtype": ("binary_cross_entropy", (Y2, Y2.double()), {}),
    "target shape": ("binary_cross_entropy_with_logits", (X2, Y2[0]), {}),
    "negative variance": ("gaussian_nll_loss", (X2, Y2, -Y2), {}),
    "variances of other rows": ("gaussian_nll_loss", (X2, Y2, torch.ones(3)), {}),
    "eps of 0": ("gaussian_nll_loss", (X2, Y2, Y2), {"eps": -1.0, "reduction": "median"}),
    "p of 3": ("multi_margin_loss", (X2, I2), {"p": 3}),
    "label of no class": ("multi_margin_loss", (X2, I2 + 5), {}),
    "margin of 0": ("triplet_margin_loss", (X2, Y2, X2), {"margin": 0.0}),
    "rows of other length": ("triplet_margin_loss", (X2, Y2, torch.ones(2, 4)), {}),
    "dim": ("cosine_similarity", (X2, Y2), {"dim": 3}),
    "three axes": ("cosine_embedding_loss", (X2[None], Y2[None], I2), {}),
    "blank": ("ctc_loss", (torch.zeros(4, 2, 3), torch.ones(2, 2).long(), (4, 4), (2, 2)), {"blank": 7}),
    "a vector": ("pdist", (torch.zeros(3),), {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    name, args, kwargs = REFUSED[case]
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        quiet(own[name], *args, **kwargs)
    with pytest.raises(theirs.type) as ours:
        quiet(getattr(F, name), *args, **kwargs)
    assert str(ours.value).partition(" <")[0] == str(theirs.value).partition(" <")[0]


CHANGES = {
    "double": lambda x: x.double(),
    "half": lambda x: x.bfloat16(),
    "long": lambda x: x.long(),
    "int": lambda x: x.int(),
    "bool": lambda x: x.bool(),
    "byte": lambda x: x.byte(),
    "complex": lambda x: x.to(torch.complex64),
    "first row": lambda x: x[:1],
    "a row": lambda x: x[0],
    "one axis more": lambda x: x[None],
    "columns": lambda x: x[..., :1],
    "transposed": lambda x: x.mT if x.ndim > 1 else x,
    "negative": lambda x: -3 * x,
    "a number": lambda x: x.flatten()[0].item(),
    "a list": lambda x: x.tolist(),
    "None": lambda x: None,
    "sparse": lambda x: x.to_sparse(),
    "differentiated": lambda x: x.clone().requires_grad_(),
}


VALUES = [0, 1, -1, 2, 0.5, -0.5, 1e-30, 7.0, math.inf, -math.inf, math.nan, True, False, None, "mean", "", [1.0]]
VALUES += [np.float64(0.5), np.int64(1), torch.tensor(0.5), torch.tensor(1)]


def parts(value):
    """Real numbers, dense."""
    value = value.detach().to_dense() if value.is_sparse else value.detach()
    return torch.view_as_real(value) if value.is_complex() else value


def outcome(function, arguments):
    """The value, or the error's type."""
    try:
        return quiet(function, **arguments)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(("name", "way"), EVERY)
def test_changed_arguments(name, way):
    """Whatever is changed about a good call, the answer is torch's."""

    @settings(max_examples=40, deadline=None, database=None)
    @given(data=st.data())
    def check(data):
        arrays, options, _ = drawn(data, name, way, [(4, 5), (1, 3)])
        arguments = {key: tensor(each, "float32") for key, each in arrays.items()}
        changed = data.draw(st.sampled_from([*arguments, *options]))
        try:
            if changed in options:
                options[changed] = data.draw(st.sampled_from(VALUES))
            else:
                arguments[changed] = CHANGES[data.draw(st.sampled_from(list(CHANGES)))](arguments[changed])
        except (RuntimeError, IndexError):
            return  # not of this tensor
        theirs, ours = (outcome(function, {**arguments, **options}) for function in (own[name], getattr(F, name)))
        if isinstance(theirs, type):
            assert ours is theirs or (theirs is NotImplementedError and ours.dtype == torch.bfloat16)
            return
        assert (ours.dtype, ours.layout, ours.requires_grad) == (theirs.dtype, theirs.layout, theirs.requires_grad)
        half = ours.dtype in (torch.bfloat16, torch.float16)
        close(parts(ours), parts(theirs), 2e-2 if half else 2e-5)

    check()


@pytest.mark.parametrize(("name", "way"), [each for each in EVERY if table.TABLE[each[0]].grad])
def test_operator(name, way):
    """Each loss as an operator, as torch.library wants operators to be."""

    @settings(max_examples=1, deadline=None, database=None)
    @given(data=st.data())
    def check(data):
        arrays, options, predictions = drawn(data, name, way, [(4, 5)])
        tensors = leaves({key: tensor(each, "float32") for key, each in arrays.items()}, predictions)
        bridge = table.TABLE[name]
        if way == 1 and name == "gaussian_nll_loss":
            options["reduction"] = "mean"  # the other is torch's
        parameters = {**functional.Arguments(name, bridge).defaults, **options}
        args = [tensors.get(key) for key in bridge.tensors] + [parameters[key] for key in bridge.options]
        operator = getattr(torch.ops.fastloss, name).default
        torch.library.opcheck(operator, (*args, parameters.get("reduction", "none"), True))

    check()


class TestAutograd:
    def labelled(self, *shape):
        rng = np.random.default_rng(3)
        return torch.tensor(rng.normal(0, 1, shape), requires_grad=True), torch.tensor(labels(rng, shape))

    @pytest.mark.parametrize(
        "name", [each for each in CALLS if each not in ("multi_margin_loss", "multilabel_margin_loss", "pdist")]
    )
    @pytest.mark.parametrize("reduction", ["none", "mean"])
    def test_second_derivatives(self, name, reduction):
        """A gradient that is to be differentiated is torch's own."""
        called, rng = CALLS[name][0], np.random.default_rng(5)
        arrays = {key: tensor(sampler(rng, (3, 2)), "float64") for key, sampler in called.tensors.items()}
        bridge = table.TABLE[name]
        predictions = [list(bridge.tensors)[i] for i in bridge.predictions]
        fixed = {key: each for key, each in arrays.items() if key not in predictions}
        options = {"reduction": reduction} if bridge.reductions else {}

        def function(*values):
            return quiet(getattr(F, name), **dict(zip(predictions, values, strict=True)), **fixed, **options)

        given = [arrays[key].requires_grad_() for key in predictions]
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)

    def test_a_penalty_on_the_gradient(self):
        x, target = self.labelled(4, 5)
        found = []
        for function in (F.cross_entropy, own["cross_entropy"]):
            w = torch.ones(5, dtype=torch.float64, requires_grad=True)
            [grad] = torch.autograd.grad(function(x * w, target), [x], create_graph=True)
            found.append(torch.autograd.grad(grad.square().sum(), [w])[0])
        close(found[0], found[1], 1e-12)

    def test_twice_through_a_retained_graph(self):
        x, target = self.labelled(4, 5)
        w = x.detach().flatten().requires_grad_()
        loss = F.cross_entropy(w.view(4, 5), target)
        loss.backward(retain_graph=True)
        once = w.grad.clone()
        loss.backward(retain_graph=True)
        loss.backward()
        close(w.grad, 3 * once, 1e-14)
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()

    @pytest.mark.parametrize("factor", [1, 0.5])
    @pytest.mark.parametrize("reduction", ["mean", "none"])
    def test_the_gradient_is_handed_over(self, factor, reduction):
        """What was made with the value is what arrives: no copy, also when it is scaled."""
        x, target = self.labelled(4, 5)
        value = F.cross_entropy(x, target, reduction=reduction)
        made = value.grad_fn.grads[0].data_ptr()
        value.backward(torch.full_like(value, factor))
        assert x.grad.data_ptr() == made
        close(
            x.grad,
            factor * torch.autograd.grad(own["cross_entropy"](x, target, reduction=reduction).sum(), [x])[0],
            1e-12,
        )

    def test_is_freed_by_the_backward_pass(self):
        import weakref

        x, target = self.labelled(4, 5)
        logits = x * 2
        seen = weakref.ref(logits)
        loss = F.cross_entropy(logits, target)
        del logits
        loss.backward()
        assert seen() is None
        assert loss.grad_fn is not None

    def test_logits_may_be_overwritten_before_the_backward_pass(self):
        x, target = self.labelled(4, 5)
        expected = torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0]
        logits = x * 2
        loss = F.cross_entropy(logits, target)
        with torch.no_grad():
            logits.zero_()
        close(torch.autograd.grad(loss, [x])[0], expected, 1e-12)

    def test_many_upstream_gradients_at_once(self):
        x, target = self.labelled(4, 5)
        for reduction in ("none", "mean"):
            found = []
            for function in (F.cross_entropy, own["cross_entropy"]):
                value = function(x, target, reduction=reduction)
                many = torch.arange(1.0, 1 + 3 * value.numel()).to(x).reshape(3, *value.shape)
                found.append(torch.autograd.grad(value, [x], many, is_grads_batched=True)[0])
            close(found[0], found[1], 1e-12)

    def test_parts_of_a_program(self):
        """Non-contiguous, expanded and channels-last logits, in sums with other terms, scaled."""
        x, target = self.labelled(2, 3, 4, 5)
        for change in (
            lambda x: x.to(memory_format=torch.channels_last),
            lambda x: x.flip(0)[:, :, ::2],
            lambda x: x[:1].expand(2, -1, -1, -1),
        ):
            found = []
            for function in (F.cross_entropy, own["cross_entropy"]):
                logits = change(x)
                labelled = target[:, : logits.shape[2]]
                loss = 0.25 * function(logits, labelled) + function(logits, labelled, reduction="sum") + logits.sum()
                found.append(torch.autograd.grad(loss, [x])[0])
            close(found[0], found[1], 1e-12)

    def test_a_scaled_float16_mean_keeps_its_small_gradients(self):
        x = torch.zeros(60000, 2, dtype=torch.float16, requires_grad=True)
        (F.cross_entropy(x, torch.zeros(60000, dtype=torch.int64)) * 60000).backward()
        assert x.grad[0].tolist() == [-0.5, 0.5]

    def test_no_grad_and_inference_mode(self):
        x, target = self.labelled(4, 5)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert not F.cross_entropy(x, target).requires_grad

    @pytest.mark.parametrize("name", [name for name in CALLS if name != "pdist"])
    def test_autocast(self, name):
        called, rng = CALLS[name][0], np.random.default_rng(7)
        tensors = {key: tensor(sampler(rng, (4, 5)), "bfloat16") for key, sampler in called.tensors.items()}
        predictions = [list(tensors)[i] for i in table.TABLE[name].predictions]
        with torch.autocast("cpu", torch.bfloat16):
            expected, found = (run(function, tensors, predictions, {}) for function in (own[name], getattr(F, name)))
        assert found[0].dtype == expected[0].dtype
        close(found[0], expected[0], 1e-6)
        for got, want in zip(found[1], expected[1], strict=True):
            assert got.dtype == torch.bfloat16
            close(got, want, 1e-2)

    def test_autocast_is_computed_here(self, monkeypatch):
        seen = spied(monkeypatch)
        with torch.autocast("cpu", torch.bfloat16):
            F.cross_entropy(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]))
            F.mse_loss(torch.zeros(3, dtype=torch.bfloat16), torch.ones(3))
            F.mse_loss(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
        assert seen == ["cross_entropy", "mse_loss"]

    def test_checkpoint(self):
        x, target = self.labelled(4, 5)
        for reentrant in (False, True):
            loss = torch.utils.checkpoint.checkpoint(
                lambda x: F.cross_entropy(x * 2, target), x, use_reentrant=reentrant
            )
            [grad] = torch.autograd.grad(loss, [x]) if not reentrant else (loss.backward(), x.grad)[1:]
            close(grad, torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0], 1e-12)

    def test_threads_and_hooks(self):
        x, target = self.labelled(4, 5)
        seen = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each: each.numpy(force=True), torch.from_numpy):
            loss = F.cross_entropy(x * 2, target)
        x.register_hook(seen.append)
        with torch.autograd.detect_anomaly(check_nan=True):
            loss.backward()
        close(x.grad, torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0], 1e-12)
        assert len(seen) >= 1

    def test_parameters(self):
        x = torch.nn.Parameter(torch.zeros(3))
        F.mse_loss(x, torch.ones(3)).backward()
        assert torch.equal(x.grad, torch.full((3,), -2 / 3))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["cross_entropy", "mse_loss", "triplet_margin_loss"])
def test_compiles_as_one_graph(name, dtype):
    torch._dynamo.reset()
    called, rng = CALLS[name][0], np.random.default_rng(1)
    tensors = {key: tensor(sampler(rng, (6, 5)), dtype) for key, sampler in called.tensors.items()}
    predictions = [list(tensors)[i] for i in table.TABLE[name].predictions]

    def step(**given):
        return getattr(F, name)(**{key: 2 * each if key in predictions else each for key, each in given.items()}) * 3

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected, found = (run(function, tensors, predictions, {}) for function in (step, compiled))
    close(found[0], expected[0], 1e-6)
    for got, want in zip(found[1], expected[1], strict=True):
        close(got, want, DTYPES[dtype])
    with torch.no_grad():
        close(compiled(**tensors), expected[0], 1e-6)


def test_compiles_for_any_shape():
    torch._dynamo.reset()
    compiled = torch.compile(F.cross_entropy, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 4, 7):
        x, target = torch.randn(n, n + 2, requires_grad=True), torch.arange(n)
        expected = torch.autograd.grad(own["cross_entropy"](x, target), [x])[0]
        close(torch.autograd.grad(compiled(x, target), [x])[0], expected, 1e-6)


def test_compiles_beside_an_error():
    torch._dynamo.reset()
    compiled = torch.compile(F.cross_entropy, backend="aot_eager")
    with pytest.raises(IndexError):
        compiled(torch.zeros(2, 3), torch.tensor([0, 7]))


def test_compiles_within_transforms():
    torch._dynamo.reset()
    x, target = torch.randn(2, 3, 4), torch.tensor([[0, 1, 3], [2, 2, 0]])
    for function in (
        lambda x, y: torch.vmap(F.cross_entropy)(x, y),
        lambda x, y: torch.func.grad(lambda x: F.cross_entropy(x, y[0]))(x[0]),
        lambda x, y: torch.func.jvp(lambda x: F.cross_entropy(x, y[0]), (x[0],), (x[1],))[1],
    ):
        close(torch.compile(function, backend="aot_eager")(x, target), function(x, target), 1e-6)


def test_exports():
    class Model(torch.nn.Module):
        def forward(self, x, target):
            return F.cross_entropy(x, target)

    arguments = torch.zeros(2, 3), torch.tensor([0, 1])
    for strict in (False, True):
        exported = torch.export.export(Model(), arguments, strict=strict).module()
        assert "fastloss" not in str(exported.graph)
        close(exported(*arguments), own["cross_entropy"](*arguments), 1e-6)


def test_compiles_where_it_is_torchs():
    torch._dynamo.reset()
    x, y = torch.ones(3, 4), torch.zeros(4)
    compiled = torch.compile(lambda x, y: F.kl_div(x, y, reduction="sum"), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, y), own["kl_div"](x, y, reduction="sum"))


class TestPolicy:
    """Where torch loses all digits, or gives NaN, these functions do as fastloss does."""

    def test_a_confident_row(self):
        x, target = torch.tensor([[17.6, 0.0]], requires_grad=True), torch.tensor([0])
        assert own["cross_entropy"](x, target).item() == 0
        value = F.cross_entropy(x, target)
        value.backward()
        assert value.item() == pytest.approx(2.272045e-08, rel=1e-6)
        assert x.grad[0, 0].item() == pytest.approx(-2.272045e-08, rel=1e-6)

    def test_a_large_mean_of_float16(self):
        x, target = torch.zeros(70000, 2, dtype=torch.float16), torch.zeros(70000, dtype=torch.int64)
        assert F.cross_entropy(x, target).item() == pytest.approx(math.log(2), rel=1e-3)


class TestPatch:
    def test_swaps_and_restores(self):
        before = {name: getattr(T, name) for name in table.TABLE}
        with F.patch(), F.patch():
            assert all(getattr(T, name) is getattr(F, name) for name in table.TABLE)
        assert all(getattr(T, name) is each for name, each in before.items())

    def test_restores_after_an_error(self):
        before = T.mse_loss
        with pytest.raises(KeyError), F.patch():
            raise KeyError
        assert T.mse_loss is before

    def test_as_a_decorator(self):
        @F.patch()
        def inside():
            return T.mse_loss

        assert inside() is F.mse_loss
        assert T.mse_loss is not F.mse_loss

    def test_torchs_modules_use_it(self, monkeypatch):
        seen = spied(monkeypatch)
        with F.patch():
            torch.nn.CrossEntropyLoss()(torch.zeros(2, 3), torch.tensor([0, 1]))
            quiet(T.mse_loss, torch.ones(2, 3), torch.ones(3))  # torch's own, which is not this again
        assert seen == ["cross_entropy"]
