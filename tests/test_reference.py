"""The references themselves: against finite differences of their own values, and numbers known by heart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import ALL, CASES
from helpers import DIFFERENTIABLE

from fastloss import reference
from fastloss.loss import LOSSES

STEP = 1e-3


def central(function, x, order):
    """First or second derivative of ``function`` at every element of ``x``, four points each."""
    derivative = np.empty_like(x)
    for place in np.ndindex(x.shape):

        def at(steps, place=place):
            moved = x.copy()
            moved[place] += steps * STEP
            return function(moved)

        if order == 1:
            derivative[place] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP)
        else:
            derivative[place] = (16 * (at(1) + at(-1)) - (at(2) + at(-2)) - 30 * at(0)) / (12 * STEP**2)
    return derivative


def drawn(name, variant):
    case = CASES[name]
    rng = np.random.default_rng(3)
    shape = (13,) if LOSSES[name].family == "pointwise" else (3, 4)
    arguments = case.draw(case.variants[variant], rng, shape, "float64")
    # where there is no 0, every reference is differentiable
    for key in LOSSES[name].predictions:
        own = arguments[key].shape
        arguments[key] = rng.uniform(0.1, 0.9, own) if "from_logits" in arguments else rng.normal(size=own)
    if LOSSES[name].family == "pointwise":  # nor any two numbers equal
        for offset, key in enumerate((*LOSSES[name].predictions, "target")):
            arguments[key] = rng.integers(25, 36, shape) / 50 + offset / 200
    return arguments


ORDINARY = [case for case in ALL if case[0] in DIFFERENTIABLE and LOSSES[case[0]].family != "sequence"]


@pytest.mark.parametrize(("name", "variant"), ORDINARY)
def test_gradient(name, variant):
    arguments = drawn(name, variant)
    definition = reference.get(name)
    grads = definition.terms(**arguments).grads
    upstream = arguments.pop("grad_output", 1.0)
    for key, grad in zip(LOSSES[name].predictions, grads, strict=True):

        def total(moved, key=key):
            return np.sum(definition.terms(**{**arguments, key: moved}).value * upstream)

        np.testing.assert_allclose(grad, central(total, arguments[key], 1), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("variant", range(len(CASES["ctc_loss"].variants)))
@pytest.mark.parametrize("shape", [(7, 3, 4), (5, 6)])
def test_gradient_of_ctc_is_by_the_logits(variant, shape):
    case, rng = CASES["ctc_loss"], np.random.default_rng(3)
    arguments = case.draw(case.variants[variant], rng, shape, "float64")
    arguments.pop("log_probs")
    log_softmax, definition = reference.get("log_softmax"), reference.get("ctc_loss")
    x = rng.normal(size=shape)

    def total(moved):
        return definition(log_softmax(moved), **arguments, reduction="sum")

    _, grad = definition.value_and_grad(log_softmax(x), **arguments, reduction="sum")
    np.testing.assert_allclose(grad, central(total, x, 1), rtol=1e-8, atol=1e-9)


# Where the caller says what the Hessian is, it is none.
CURVED = [
    (name, variant)
    for name, variant in ALL
    if hasattr(LOSSES[name], "grad_hess") and "hess" not in CASES[name].variants[variant]
]


@pytest.mark.parametrize(("name", "variant"), CURVED)
def test_hessian(name, variant):
    arguments = drawn(name, variant)
    x, definition = arguments.pop("input"), reference.get(name)

    def total(moved):
        return np.sum(definition.terms(moved, **arguments).value)

    np.testing.assert_allclose(definition.terms(x, **arguments).hess, central(total, x, 2), rtol=1e-5, atol=1e-5)


def test_known_numbers():
    ce = reference.get("cross_entropy")
    assert ce([[0.0] * 10], [3]) == pytest.approx(math.log(10), rel=1e-15)
    assert ce([17.6, 0.0], np.int64(0)) == pytest.approx(2.272045966962891e-08, rel=1e-14)
    assert reference.get("perplexity")([[0.0] * 10], [3]) == pytest.approx(10, rel=1e-14)
    assert reference.get("entropy")([0.0, 0.0, -np.inf], base=2) == pytest.approx(1, rel=1e-15)
    assert reference.get("binary_cross_entropy_with_logits")(0.0, 1.0) == pytest.approx(math.log(2), rel=1e-15)
    assert reference.get("mse_loss")([1.0, 2.0], [1.0, 4.0], [1.0, 3.0]) == 3.0


def test_every_reduction():
    mse = reference.get("mse_loss")
    x, t = np.array([1.0, 2.0]), np.array([1.0, 4.0])
    assert mse(x, t, reduction="sum") == 4.0
    np.testing.assert_array_equal(mse(x, t, reduction="none"), [0, 4])
    np.testing.assert_array_equal(mse.value_and_grad(x, t)[1], [0, -2])
    np.testing.assert_array_equal(mse.value_and_grad(x, t, reduction="none")[1], [0, -4])
    with pytest.raises(ValueError, match="reduction"):
        mse(x, t, reduction="median")
    with pytest.raises(AttributeError, match="Hessian"):
        reference.get("entropy").grad_hess(x)
