"""linear_cross_entropy beside torch: its own function of that name, and cross_entropy of the product, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import peer

import fastloss as fl
from fastloss import run_linear

torch = peer("torch")
F = torch.nn.functional

import fastloss.torch  # noqa: E402


def composed(hidden, weight, target, bias, class_weight, **options):
    return F.cross_entropy(F.linear(hidden, weight, bias), target, class_weight, **options)


def own(hidden, weight, target, bias, class_weight, **options):
    return F.linear_cross_entropy(hidden, weight, target, linear_bias=bias, weight=class_weight, **options)


@pytest.mark.parametrize("function", [composed, *[own] * hasattr(F, "linear_cross_entropy")])  # torch 2.13 has it
@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (40, 3), (33, 1030)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_value_and_gradients(function, rows, classes, reduction):
    rng = np.random.default_rng(rows)
    hidden, weight, bias = (rng.normal(size=shape) for shape in ((rows, 7), (classes, 7), (classes,)))
    target = rng.integers(classes, size=rows)
    target[::3] = -100 if rows > 1 else 0
    for smoothing, weighted, biased in itertools.product([0.0, 0.1], [False, True], [False, True]):
        class_weight = rng.random(classes) if weighted else None
        options = {"reduction": reduction, "label_smoothing": smoothing}
        leaves = [torch.tensor(each, requires_grad=True) for each in (hidden, weight, *([bias] if biased else []))]
        theirs = function(
            leaves[0],
            leaves[1],
            torch.tensor(target),
            leaves[2] if biased else None,
            torch.tensor(class_weight) if weighted else None,
            **options,
        )
        theirs.sum().backward()
        value, grads = fl.linear_cross_entropy.value_and_grad(
            hidden, weight, target, bias if biased else None, class_weight, **options
        )
        np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
        for got, leaf in zip(grads, leaves, strict=True):
            np.testing.assert_allclose(got, leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_tensors_are_taken_as_they_are(name):
    hidden, weight = (torch.randn(shape).to(getattr(torch, name)) for shape in ((20, 7), (1100, 7)))
    target = torch.randint(0, 1100, (20,))
    out = (torch.empty_like(hidden), torch.empty_like(weight))
    value, _ = fl.linear_cross_entropy.value_and_grad(hidden, weight, target, out=out)
    leaves = [each.double().requires_grad_() for each in (hidden, weight)]
    expected = composed(*leaves, target, None, None)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    for got, leaf in zip(out, leaves, strict=True):
        torch.testing.assert_close(got.double(), leaf.grad, rtol=1e-5 if name == "float32" else 4e-3, atol=1e-6)


class TestAsTorchHasIt:
    """fastloss.torch's, whose products are torch's."""

    def run(self, name, rows, classes, bias, **options):
        """The loss and its gradients by fastloss, and in float64 by torch."""
        rng = np.random.default_rng(rows)
        shapes = [(rows, 24), (classes, 24), *[(classes,)] * bias]
        given = [torch.tensor(rng.normal(size=shape) / 2).to(getattr(torch, name)) for shape in shapes]
        target = torch.tensor(rng.integers(classes, size=rows))
        answers = []
        for function, dtype in ((fastloss.torch.linear_cross_entropy, given[0].dtype), (own, torch.float64)):
            leaves = [each.to(dtype, copy=True).requires_grad_() for each in given]
            more = {"linear_bias" if function is not own else "bias": leaves[2] if bias else None}
            if function is own:
                more["class_weight"] = None
            value = function(*leaves[:2], target, **more, **options)
            value.backward()
            answers.append((value.detach(), *(leaf.grad for leaf in leaves)))
        return answers

    @pytest.mark.parametrize("memory", ["plenty", "several tiles", "pieces of rows"])
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("multiplied", [False, True])
    @pytest.mark.parametrize(("name", "tolerance"), [("float32", 1e-5), ("float64", 1e-12), ("bfloat16", 2e-2)])
    def test_tiles_and_dtypes(self, name, tolerance, multiplied, bias, memory, monkeypatch):
        """With and without bfloat16's own products, which round logits."""
        monkeypatch.setattr(fastloss.torch.products, "multiplies_bfloat16", lambda: multiplied)
        if memory != "plenty":
            monkeypatch.setattr(run_linear, "BUFFER", 300_000 if memory == "several tiles" else 40_000)
            monkeypatch.setattr(run_linear, "SHORT", 8)
        found, expected = self.run(name, 90, 700, bias, label_smoothing=0.1)
        for got, want in zip(found, expected, strict=True):
            assert str(got.dtype) == f"torch.{name}"
            scale = float(want.abs().max())
            torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance * scale)

    def test_whoever_multiplies(self):
        """bfloat16 is multiplied as such where the processor has instructions for it."""
        x, y = np.ones((2, 3), np.float32), torch.ones(4, 3, dtype=torch.bfloat16)
        for hidden, weight, expected in [(x, x, 4), (torch.tensor(x).bfloat16(), y, 2), (x, y, 4)]:
            declared = fl.linear_cross_entropy.__wrapped__(hidden, weight, [0, 1])
            fastloss.torch.products.use_torch(declared)
            wide = expected == 4 or not fastloss.torch.products.multiplies_bfloat16()
            assert declared.products.dtype.itemsize == (4 if wide else 2)

    def test_options_say_how_and_not_what(self):
        options = torch.nn.LinearCrossEntropyOptions()
        with_options, _ = self.run("float32", 20, 50, True, options=options)
        without, _ = self.run("float32", 20, 50, True)
        assert all(torch.equal(one, other) for one, other in zip(with_options, without, strict=True))
