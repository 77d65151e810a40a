"""The same values, gradients and Hessians as scikit-learn's losses of boosting, and the numbers of its metrics."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

peer("sklearn")
theirs = peer("sklearn._loss.loss")
metrics = peer("sklearn.metrics")

SEEDS = st.integers(0, 2**32 - 1)
POWERS = [-1.0, 0.0, 1.0, 1.2, 1.5, 1.9, 2.0, 2.5, 3.0]


def numbers(rng):
    return rng.normal(0, 2, 200)


def positives(rng):
    return rng.uniform(0.1, 5, 200)


def bits(rng):
    return rng.integers(0, 2, 200).astype(float)


def same(loss, sklearn, x, t, other_x):
    """Gradient, Hessian, and the value but for what depends on the target alone."""
    for got, want in zip(loss.grad_hess(x, t), sklearn.gradient_hessian(t, x), strict=True):
        np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), rtol=1e-10, atol=1e-10)
    ours = loss(x, t, reduction="none") - loss(other_x, t, reduction="none")
    value, other = (sklearn.loss(t, each, None) for each in (x, other_x))
    np.testing.assert_allclose(ours, value - other, rtol=1e-10, atol=1e-10 * (np.abs(value) + np.abs(other)).max())


class Given:
    """A loss with its parameters."""

    def __init__(self, loss, **options):
        self.loss, self.options = loss, options

    def __call__(self, x, t, **options):
        return self.loss(x, t, **self.options, **options)

    def grad_hess(self, x, t):
        return self.loss.grad_hess(x, t, **self.options)


class TwoSigns:
    """exponential_loss of both signs, as boosting has it of a label 0 or 1."""

    def __call__(self, x, t, reduction):
        return fl.exponential_loss(x, 2 * t - 1, reduction=reduction)

    def grad_hess(self, x, t):
        return fl.exponential_loss.grad_hess(x, 2 * t - 1)


LOSSES = {
    "binomial": (fl.binary_cross_entropy_with_logits, "HalfBinomialLoss", {}, numbers, bits),
    "exponential": (TwoSigns(), "ExponentialLoss", {}, numbers, bits),
    "poisson": (fl.poisson_nll_loss, "HalfPoissonLoss", {}, numbers, positives),
    "gamma": (fl.gamma_nll_loss, "HalfGammaLoss", {}, numbers, positives),
    "absolute": (Given(fl.l1_loss, hess=1.0), "AbsoluteError", {}, numbers, numbers),
    "pinball": (Given(fl.quantile_loss, q=0.3, hess=1.0), "PinballLoss", {"quantile": 0.3}, numbers, numbers),
    "huber": (Given(fl.huber_loss, delta=0.7), "HuberLoss", {"delta": 0.7}, numbers, numbers),
    **{
        f"tweedie {power}": (
            Given(fl.tweedie_nll_loss, power=power), "HalfTweedieLoss", {"power": power}, numbers, positives
        )
        for power in POWERS
    },
    **{
        f"tweedie of mean {power}": (
            Given(fl.tweedie_nll_loss, power=power, log_input=False),
            "HalfTweedieLossIdentity",
            {"power": power},
            positives,
            positives,
        )
        for power in POWERS
    },
}  # fmt: skip


@pytest.mark.parametrize("case", LOSSES)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_boosting(case, seed):
    loss, name, options, predictions, targets = LOSSES[case]
    rng = np.random.default_rng(seed)
    x, t = predictions(rng), targets(rng)
    same(loss, getattr(theirs, name)(**options), x, t, np.ascontiguousarray(x[::-1]))


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, q=st.floats(0, 1), power=st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0]))
def test_metrics(seed, q, power):
    rng = np.random.default_rng(seed)
    x, t = positives(rng), positives(rng)
    pairs = [
        (fl.l1_loss(x, t), metrics.mean_absolute_error(t, x)),
        (fl.mse_loss(x, t), metrics.mean_squared_error(t, x)),
        (fl.rmse_loss(x, t), metrics.root_mean_squared_error(t, x)),
        (fl.mape_loss(x, t), metrics.mean_absolute_percentage_error(t, x)),
        (fl.msle_loss(x, t), metrics.mean_squared_log_error(t, x)),
        (fl.quantile_loss(x, t, q), metrics.mean_pinball_loss(t, x, alpha=q)),
        (fl.hinge_loss(x - 2, np.where(t > 1, 1, -1)), metrics.hinge_loss(t > 1, x - 2)),
        (fl.binary_cross_entropy(x / 6, t > 1), metrics.log_loss(t > 1, x / 6)),
    ]
    for got, want in pairs:
        assert got == pytest.approx(want, rel=1e-12)
    least = fl.tweedie_nll_loss(t, t, power, log_input=False)
    deviance = 2 * (fl.tweedie_nll_loss(x, t, power, log_input=False) - least)
    assert deviance == pytest.approx(metrics.mean_tweedie_deviance(t, x, power=power), rel=1e-9)
