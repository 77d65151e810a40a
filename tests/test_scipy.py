"""fastloss.scipy in scipy.optimize: right gradients, and minima that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize

import fastloss as fl
from fastloss.loss import LOSSES
from fastloss.scipy import linear_objective, objective

TARGETS = {
    "mse_loss": lambda rng, n: rng.normal(size=n),
    "log_cosh_loss": lambda rng, n: rng.normal(size=n),
    "binary_cross_entropy_with_logits": lambda rng, n: rng.integers(0, 2, n),
    "poisson_nll_loss": lambda rng, n: rng.poisson(1, n),
    "soft_margin_loss": lambda rng, n: rng.choice([-1, 1], n),
    "cross_entropy": lambda rng, n: np.append(rng.integers(0, 3, n - 1), 2),
    "focal_loss": lambda rng, n: np.append(rng.integers(0, 3, n - 1), 2),
}


def gradient_error(function, w):
    return check_grad(lambda w: function(w)[0], lambda w: function(w)[1], w, epsilon=1e-6)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fit_intercept=st.booleans(), alpha=st.sampled_from([0.0, 0.3]))
def test_gradients(name, seed, fit_intercept, alpha):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 3))
    f = linear_objective(getattr(fl, name), x, TARGETS[name](rng, 20), fit_intercept=fit_intercept, alpha=alpha)
    w = rng.normal(0, 0.5, f.initial.shape)
    value, grad = f(w)
    assert type(value) is float
    assert grad.dtype == np.float64
    outputs = 3 if LOSSES[name].family == "rowwise" else 1
    assert grad.shape == f.initial.shape == ((3 + fit_intercept) * outputs,)
    assert gradient_error(f, w) < 1e-5


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("targets", [(), (2,)])
def test_ridge(sparse, targets):
    """Half the squared error has its minimum where the normal equations say."""
    rng = np.random.default_rng(0)
    x, y, alpha = rng.normal(size=(200, 4)), rng.normal(size=(200, *targets)) + 3, 0.1
    given = scipy.sparse.csr_array(x) if sparse else x
    f = linear_objective(fl.mse_loss, given, y, alpha=alpha)
    w = minimize(f, f.initial, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-10}).x
    centred, outputs = x - x.mean(0), targets[0] if targets else 1
    want = np.linalg.solve(2 * centred.T @ centred + alpha * 200 * outputs * np.eye(4), 2 * centred.T @ (y - y.mean(0)))
    np.testing.assert_allclose(f.coef(w), want, atol=1e-7)
    np.testing.assert_allclose(f.intercept(w)[0], y.mean(0) - x.mean(0) @ want, atol=1e-7)


def test_float32():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    y = x @ [1.0, -2.0, 0.5] + 1
    f = linear_objective(fl.mse_loss, x.astype(np.float32), y)
    value, grad = f(f.initial)
    assert grad.dtype == np.float64
    assert value == pytest.approx(linear_objective(fl.mse_loss, x, y)(f.initial)[0], rel=1e-6)
    w = minimize(f, f.initial, jac=True, method="L-BFGS-B").x
    np.testing.assert_allclose(w, [1, -2, 0.5, 1], atol=1e-3)


def test_any_model():
    """A matrix factorisation, whose pullback returns a matrix."""
    rng = np.random.default_rng(0)
    target = np.outer(rng.normal(size=6), rng.normal(size=5))

    def product(w):
        a, b = w[:6], w[6:]
        return np.outer(a, b), lambda g: np.concatenate([g @ b, a @ g])[None]

    f = objective(fl.mse_loss, product, target, reduction="sum")
    start = rng.normal(size=11)
    assert gradient_error(f, start) < 1e-4
    assert minimize(f, start, jac=True).fun < 1e-8


def test_refused():
    x, y = np.ones((4, 2)), np.ones(4)
    with pytest.raises(TypeError, match="triplet_margin_loss: an objective needs"):
        objective(fl.triplet_margin_loss, lambda w: (w, lambda g: g), y)
    for arguments, options, error, message in [
        ((x[0], y), {}, ValueError, r"X must have shape \(n, features\), has \(2,\)"),
        ((x.astype(int), y), {}, TypeError, "X must be float32 or float64, is int64"),
        ((x, y[:3]), {}, ValueError, r"X has 4 rows, y has shape \(3,\)"),
        ((x, y), {"alpha": -1}, ValueError, "alpha"),
    ]:
        with pytest.raises(error, match=message):
            linear_objective(fl.mse_loss, *arguments, **options)
