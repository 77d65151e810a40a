"""The divergences and the focal loss as PyTorch, optax and SciPy say them in several steps, with generated inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

torch = peer("torch")
F = torch.nn.functional

SHAPES = st.sampled_from(
    [(1,), (3,), (1, 1), (0, 4), (5, 3), (33, 10), (7, 64), (7, 65), (3, 1100), (2, 3, 4), (2, 40, 3, 5), (2, 70, 3, 5)]
)
DTYPES = st.sampled_from(["float32", "float64"])
REDUCTIONS = st.sampled_from(["none", "mean", "sum"])
TEMPERATURES = st.sampled_from([1.0, 2.0, 0.5, 3.7])
SEEDS = st.integers(0, 2**32 - 1)


def close(actual, expected, dtype):
    tolerance = {"float32": 2e-5, "float64": 1e-11}[dtype]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def reduced(value, reduction):
    mean = value.sum() / (value.numel() or math.nan)
    return {"none": value, "mean": mean, "sum": value.sum()}[reduction]


def compare(ours, function, x, dtype, reduction):
    """Against a torch function of one value for each row."""
    leaf = torch.tensor(x, requires_grad=True)
    value = reduced(function(leaf), reduction)
    value.sum().backward()
    close(ours[0], value.detach().numpy(), dtype)
    if x.size:
        close(ours[1], leaf.grad.numpy(), dtype)


def drawn(shape, seed, dtype, near):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 4, shape).astype(dtype)
    t = x + rng.normal(0, 0.3, shape) if near else rng.normal(0, 4, shape)
    return x, t


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, dtype=DTYPES, other=DTYPES, reduction=REDUCTIONS, temperature=TEMPERATURES, seed=SEEDS,
    near=st.booleans(), data=st.data(),
)  # fmt: skip
def test_kl_div(shape, dtype, other, reduction, temperature, seed, near, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1).filter(lambda axis: shape[axis]))
    x, t = drawn(shape, seed, dtype, near)
    t = t.astype(other)

    def composed(leaf):
        log_p, log_q = (F.log_softmax(each / temperature, axis) for each in (leaf, torch.tensor(t.astype(dtype))))
        return F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(axis)

    ours = fl.kl_div_with_logits.value_and_grad(x, t, temperature, reduction=reduction, axis=axis)
    compare(ours, composed, x, dtype, reduction)
    assert ours[0] is not None
    np.testing.assert_array_equal(ours[0], fl.kl_div_with_logits(x, t, temperature, reduction=reduction, axis=axis))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), classes=st.sampled_from([2, 30, 70, 1100]), seed=SEEDS)
def test_mean_is_batchmean(rows, classes, seed):
    x, t = drawn((rows, classes), seed, "float64", False)
    q = F.softmax(torch.tensor(t), 1)
    expected = F.kl_div(F.log_softmax(torch.tensor(x), 1), q, reduction="batchmean").item()
    assert fl.kl_div_with_logits(x, t) == pytest.approx(expected, rel=1e-11)


@settings(max_examples=100, deadline=None)
@given(
    shape=SHAPES, dtype=DTYPES, other=DTYPES, reduction=REDUCTIONS, temperature=TEMPERATURES, seed=SEEDS,
    near=st.booleans(), data=st.data(),
)  # fmt: skip
def test_js_div(shape, dtype, other, reduction, temperature, seed, near, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1).filter(lambda axis: shape[axis]))
    x, t = drawn(shape, seed, dtype, near)
    t = t.astype(other)

    def composed(leaf):
        log_p, log_q = (F.log_softmax(each / temperature, axis) for each in (leaf, torch.tensor(t.astype(dtype))))
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        both = [F.kl_div(log_m, each, reduction="none", log_target=True) for each in (log_p, log_q)]
        return (both[0] + both[1]).sum(axis) / 2

    ours = fl.js_div_with_logits.value_and_grad(x, t, temperature, reduction=reduction, axis=axis)
    compare(ours, composed, x, dtype, reduction)


@settings(max_examples=150, deadline=None)
@given(
    shape=SHAPES, dtype=DTYPES, reduction=REDUCTIONS, gamma=st.sampled_from([0, 0.5, 1, 2.0, 3.3]), seed=SEEDS,
    weighted=st.booleans(), ignore=st.sampled_from([-100, 0]), data=st.data(),
)  # fmt: skip
def test_focal_loss(shape, dtype, reduction, gamma, seed, weighted, ignore, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1).filter(lambda axis: shape[axis]))
    rng = np.random.default_rng(seed)
    classes = shape[axis]
    x = rng.normal(0, 2, shape).astype(dtype)
    t = np.asarray(rng.integers(0, classes, np.delete(shape, axis)))
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if weighted else None
    labels = torch.tensor(t)
    w = (torch.ones(classes, dtype=getattr(torch, dtype)) if weight is None else torch.tensor(weight))[labels]
    w = torch.where(labels == ignore, 0, w)
    leaf = torch.tensor(x, requires_grad=True)
    log_p = F.log_softmax(leaf, axis).gather(axis, labels.unsqueeze(axis)).squeeze(axis)
    value = w * (1 - log_p.exp()).clamp(min=1e-30) ** gamma * -log_p
    value = {"none": value, "sum": value.sum(), "mean": value.sum() / w.sum()}[reduction]
    value.sum().backward()
    ours = fl.focal_loss.value_and_grad(x, t, gamma, weight, ignore_index=ignore, reduction=reduction, axis=axis)
    close(ours[0], value.detach().numpy(), dtype)
    if x.size and (reduction != "mean" or w.sum() > 0):
        close(ours[1], leaf.grad.numpy(), dtype)


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([(3,), (5, 3), (33, 10), (2, 3, 40), (3, 1100)]), seed=SEEDS, near=st.booleans())
def test_kl_div_of_optax(shape, seed, near):
    jax, optax = peer("jax"), peer("optax")
    x, t = (each.astype(np.float32) for each in drawn(shape, seed, "float32", near))

    def composed(each):
        return optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(each), jax.nn.log_softmax(t))

    value, grad = fl.kl_div_with_logits.value_and_grad(x, t, reduction="none")
    close(value, composed(x), "float32")
    close(grad, jax.grad(lambda each: composed(each).sum())(x), "float32")


@settings(max_examples=30, deadline=None)
@given(shape=st.sampled_from([(5, 3), (33, 10), (2, 3, 40), (3, 1100)]), seed=SEEDS)
def test_js_div_of_scipy(shape, seed):
    special, distance = peer("scipy.special"), peer("scipy.spatial.distance")
    x, t = drawn(shape, seed, "float64", False)
    expected = distance.jensenshannon(special.softmax(x, -1), special.softmax(t, -1), axis=-1) ** 2
    close(fl.js_div_with_logits(x, t, reduction="none"), expected, "float64")
