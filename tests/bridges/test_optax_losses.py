"""The same numbers and gradients as optax's losses of one number per element."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

jax = peer("jax")
optax = peer("optax")


def numbers(rng, shape):
    return rng.normal(0, 3, shape)


def bits(rng, shape):
    return rng.integers(0, 2, shape).astype(float)


def fractions(rng, shape):
    return rng.uniform(0.01, 0.99, shape)


def signs(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


def logarithms(rng, shape):
    return np.log(rng.uniform(0.01, 1, shape))


def focal(**options):
    return lambda x, t: optax.losses.sigmoid_focal_loss(x, t, **options), options


PAIRS = {
    "mse": (fl.mse_loss, optax.losses.squared_error, {}, numbers, numbers),
    "huber": (fl.huber_loss, lambda x, t: optax.losses.huber_loss(x, t, delta=0.7), {"delta": 0.7}, numbers, numbers),
    "log_cosh": (fl.log_cosh_loss, optax.losses.log_cosh, {}, numbers, numbers),
    "hinge": (fl.hinge_loss, optax.losses.hinge_loss, {}, numbers, signs),
    "logits": (fl.binary_cross_entropy_with_logits, optax.sigmoid_binary_cross_entropy, {}, numbers, fractions),
    **{
        f"focal {options} {targets.__name__}": (fl.sigmoid_focal_loss, *focal(**options), numbers, targets)
        for options in ({"alpha": 0.25, "gamma": 2.0}, {"alpha": None, "gamma": 1.5}, {"alpha": 0.6, "gamma": 0.0})
        for targets in (bits, fractions)
    },
}


@pytest.mark.parametrize("case", PAIRS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(), (5,), (3, 40)]))
def test_values_and_gradients(case, seed, shape):
    loss, function, options, predictions, targets = PAIRS[case]
    rng = np.random.default_rng(seed)
    x, t = (np.asarray(each(rng, shape), np.float32) for each in (predictions, targets))
    value, grad = loss.value_and_grad(x, t, **options, reduction="none")
    expected, expected_grad = jax.vmap(jax.value_and_grad(function))(x.ravel(), t.ravel())
    np.testing.assert_allclose(value.ravel(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grad.ravel(), expected_grad, rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_kl_div(seed):
    rng = np.random.default_rng(seed)
    x, t = logarithms(rng, (7, 5)).astype(np.float32), rng.dirichlet(np.ones(5), 7).astype(np.float32)
    value = fl.kl_div(x, np.log(t), log_target=True, reduction="none").sum(-1)
    np.testing.assert_allclose(value, optax.losses.kl_divergence_with_log_targets(x, np.log(t)), rtol=1e-4, atol=1e-5)
    t[0, 0] = 0
    value = fl.kl_div(x, t, reduction="none").sum(-1)
    np.testing.assert_allclose(value, optax.losses.kl_divergence(x, t), rtol=1e-4, atol=1e-5)
