"""fastloss.torch beside torch.nn.functional: values, gradients, dtypes, what is refused, and what is left to torch."""

from __future__ import annotations

import doctest
import inspect
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

torch = peer("torch")
T = torch.nn.functional
own = {name: getattr(T, name) for name in dir(T)}

from torch_calls import CALLS, DTYPES, EVERY, close, drawn, quiet, run, spied, tensor  # noqa: E402

import fastloss.torch as F  # noqa: E402
from fastloss.torch import autograd, functional, table  # noqa: E402


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
        bridge, reduction = table.TABLE[name], options.get("reduction", "none")
        by_torch = name == "gaussian_nll_loss" and reduction == "none" and way == 1
        by_torch |= bool(differentiated) and reduction not in bridge.grad
        assert seen == ([] if by_torch else [bridge.loss])
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
    blocks = re.findall(r"^```py\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    sessions = [block for block in blocks if ">>> import torch" in block]
    assert sessions
    for number, block in enumerate(sessions):
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
