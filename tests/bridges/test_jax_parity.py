"""The same numbers and gradients as JAX and optax."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

jax = peer("jax")
optax = peer("optax")

SEEDS = st.integers(0, 2**32 - 1)
SHAPES = st.sampled_from([(3,), (5, 3), (33, 10), (2, 3, 40), (3, 1100)])


def close(actual, expected):
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=2e-5, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_softmax_family(shape, seed):
    x = np.random.default_rng(seed).normal(0, 5, shape).astype(np.float32)
    close(fl.logsumexp(x), jax.nn.logsumexp(x, axis=-1))
    close(fl.softmax(x), jax.nn.softmax(x))
    close(fl.log_softmax(x), jax.nn.log_softmax(x))
    close(fl.logsumexp.value_and_grad(x)[1], jax.grad(lambda each: jax.nn.logsumexp(each, axis=-1).sum())(x))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_cross_entropy(shape, seed):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(0, 5, shape).astype(np.float32), np.asarray(rng.integers(0, shape[-1], shape[:-1]))
    p = rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(np.float32)
    value, grad = fl.cross_entropy.value_and_grad(x, t, reduction="none")
    function = optax.softmax_cross_entropy_with_integer_labels
    close(value, function(x, t))
    close(grad, jax.grad(lambda each: function(each, t).sum())(x))
    value, grad = fl.cross_entropy.value_and_grad(x, p, reduction="none")
    close(value, optax.softmax_cross_entropy(x, p))
    close(grad, jax.grad(lambda each: optax.softmax_cross_entropy(each, p).sum())(x))


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=SEEDS)
def test_pointwise(shape, seed):
    rng = np.random.default_rng(seed)
    x, t = rng.normal(0, 5, shape).astype(np.float32), rng.random(shape).astype(np.float32)
    value, grad = fl.binary_cross_entropy_with_logits.value_and_grad(x, t, reduction="none")
    close(value, optax.sigmoid_binary_cross_entropy(x, t))
    close(grad, jax.grad(lambda each: optax.sigmoid_binary_cross_entropy(each, t).sum())(x))
    value, grad = fl.mse_loss.value_and_grad(x, t, reduction="none")
    close(value, optax.squared_error(x, t))
    close(grad, jax.grad(lambda each: optax.squared_error(each, t).sum())(x))


def test_z_loss_is_that_of_large_models():
    x = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    t = np.arange(9)
    plain = optax.softmax_cross_entropy_with_integer_labels(x, t)
    close(
        fl.cross_entropy(x, t, z_loss=1e-2, reduction="none"),
        plain + 1e-2 * jax.nn.logsumexp(x, axis=-1) ** 2,
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_jax_arrays_are_taken(dtype):
    x = jax.numpy.asarray(np.random.default_rng(0).normal(size=(9, 40)), dtype)
    t = jax.numpy.arange(9)
    assert fl.cross_entropy(x, t) == pytest.approx(fl.cross_entropy(np.asarray(x), np.arange(9)), rel=1e-6)
