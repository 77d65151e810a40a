"""Cosines and overlaps of rows as optax has them: values, and gradients by jax."""

from __future__ import annotations

import numpy as np
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

jax = peer("jax")
optax = peer("optax")

SHAPES = st.sampled_from([(1, 1), (5, 3), (33, 10), (7, 64), (7, 65), (3, 1100)])
SEEDS = st.integers(0, 2**32 - 1)


def compare(loss, function, x, y, by, **options):
    """In float64: optax's own rounding is not what is looked at."""
    switches = jax if hasattr(jax, "enable_x64") else jax.experimental
    with switches.enable_x64(True):
        expected, pull = jax.vjp(function, x, y)
        grads = pull(jax.numpy.ones_like(expected))[:by]
    value, got = loss.value_and_grad(x, y, **options)
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)
    for ours, theirs in zip(got if by > 1 else (got,), grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_cosine_similarity(shape, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, *shape))
    compare(fl.cosine_similarity, optax.losses.cosine_similarity, x, y, 2)


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    seed=SEEDS,
    alpha=st.sampled_from([0.5, 0.3, 1.0]),
    beta=st.sampled_from([0.5, 0.7]),
    smooth=st.sampled_from([1.0, 1e-3]),
    soft=st.booleans(),
)
def test_tversky_and_dice(shape, seed, alpha, beta, smooth, soft):
    """A row is an image of one channel; what optax adds to the overlap, Dice's usual form adds to twice of it."""
    rng = np.random.default_rng(seed)
    x, t = rng.normal(0, 3, shape), rng.random(shape)
    t = t if soft else np.round(t)

    def function(x, t):
        return optax.losses.dice_loss(x[..., None], t[..., None], smooth=smooth, alpha=alpha, beta=beta)

    compare(fl.tversky_loss, function, x, t, 1, alpha=alpha, beta=beta, smooth=smooth, reduction="none")
    if alpha == beta == 0.5:
        compare(fl.dice_loss, function, x, t, 1, smooth=2 * smooth, reduction="none")


def test_axes_of_images():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(4, 6, 7, 3)), rng.integers(0, 3, (4, 6, 7))
    with (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64(True):
        one_hot = np.eye(3)[t]
        expected = optax.losses.dice_loss(x[..., :1], one_hot[..., :1], reduction="none")
    ours = fl.tversky_loss(x[..., 0], t == 0, axis=(1, 2), reduction="none")
    np.testing.assert_allclose(ours, np.asarray(expected)[:, 0], rtol=1e-11)
