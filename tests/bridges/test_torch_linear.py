"""linear_cross_entropy beside torch: its own function of that name, and cross_entropy of the product, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import peer

import fastloss as fl

torch = peer("torch")
F = torch.nn.functional


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
