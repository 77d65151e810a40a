"""What boosting is given, from arrays as its libraries hand them out: beside the NumPy definitions."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.boosting import Metric, Objective
from fastloss.loss import LOSSES

SIGNS = ("soft_margin_loss", "exponential_loss", "squared_hinge_loss", "hinge_loss")
BITS = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "sigmoid_focal_loss")
WITH_HESSIAN = [name for name, loss in LOSSES.items() if hasattr(loss, "grad_hess")]


def drawn(name, rng, n, classes, dtype):
    """Labels as float32, predictions, and the target that the loss wants."""
    x = rng.normal(0, 2, (n, classes) if LOSSES[name].family == "rowwise" else n).astype(dtype)
    if LOSSES[name].family == "rowwise":
        t = rng.integers(0, classes, n)
        return t.astype(np.float32), x, t
    bits = rng.integers(0, 2, n)
    if name in SIGNS:
        return bits.astype(np.float32), x, 2 * bits - 1
    if name == "binary_cross_entropy":
        x = rng.uniform(0.01, 0.99, n).astype(dtype)
    t = bits if name in BITS else rng.uniform(0.1, 4, n).astype(np.float32)
    return t.astype(np.float32), np.abs(x) if name == "msle_loss" else x, t


@pytest.mark.parametrize("name", WITH_HESSIAN)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 40),
    weighted=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    floor=st.sampled_from([0.0, 1e-16, 0.3]),
    scale=st.sampled_from([None, 0.5, 2.0]),
)
def test_derivatives(name, seed, n, weighted, dtype, floor, scale):
    rng = np.random.default_rng(seed)
    labels, x, target = drawn(name, rng, n, 3, dtype)
    if x.ndim == 2 and rng.integers(2):
        x = np.asfortranarray(x)
    weight = rng.integers(0, 3, n).astype(np.float32) if weighted else None
    made = Objective(LOSSES[name], floor=floor, hess_scale=scale)
    grad, hess = made(labels, x, weight)
    want_grad, want_hess = LOSSES[name].reference.grad_hess(x, target, **made.options)
    factor = np.ones(n) if weight is None else weight
    factor = factor.reshape(-1, *[1] * (x.ndim - 1))
    want_hess = np.maximum(want_hess * (scale or 1.0), floor)
    assert grad.dtype == hess.dtype == np.float32
    assert grad.shape == hess.shape == x.shape
    assert grad.flags.f_contiguous == hess.flags.f_contiguous == x.flags.f_contiguous
    np.testing.assert_allclose(grad, want_grad * factor, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(hess, want_hess * factor, rtol=2e-5, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(["cross_entropy", "focal_loss", "mse_loss", "sigmoid_focal_loss", *SIGNS]),
    n=st.integers(1, 40),
    weighted=st.booleans(),
)
def test_mean(seed, name, n, weighted):
    rng = np.random.default_rng(seed)
    labels, x, target = drawn(name, rng, n, 3, np.float32)
    weight = rng.uniform(0.1, 2, n).astype(np.float32) if weighted else None
    got = Metric(LOSSES[name]).mean(labels, x, weight)
    want = np.average(LOSSES[name].reference(x, target, reduction="none"), weights=weight)
    assert got == pytest.approx(want, rel=1e-6)


def test_several_outputs():
    rng = np.random.default_rng(0)
    x, t, w = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), rng.uniform(size=50)
    grad, hess = Objective(fl.huber_loss, floor=0.0)(t.ravel(), x, w)
    want = fl.huber_loss.grad_hess(x, t)
    np.testing.assert_allclose(grad, want[0] * w[:, None], rtol=1e-6)
    np.testing.assert_allclose(hess, want[1] * w[:, None], rtol=1e-6)
    mean = Metric(fl.huber_loss).mean(t, x, w)
    assert mean == pytest.approx(np.average(fl.huber_loss(x, t, reduction="none").mean(1), weights=w))


def test_mean_of_no_weight_is_nan():
    assert np.isnan(Metric(fl.mse_loss).mean(np.ones(3), np.ones(3), np.zeros(3)))


def test_what_is_kept_is_not_written_to():
    made = Objective(fl.mse_loss, floor=0.0)
    y = np.zeros(5, np.float32)
    kept = [made(y, np.full(5, i, np.float32))[0] for i in range(4)]
    part = made(y, np.full(5, 4, np.float32))[1][2:]
    made(y, np.full(5, 9, np.float32), np.full(5, 7, np.float32))
    assert [each[0] for each in kept] == [0, 2, 4, 6]
    assert part.tolist() == [2, 2, 2]


def test_what_is_not_kept_serves_again():
    made = Objective(fl.mse_loss, floor=0.0)
    x = np.zeros(1000, np.float32)
    addresses = {made(x, x)[0].__array_interface__["data"][0] for _ in range(3)}
    assert len(addresses) == 1


def test_threads_share_one():
    made = Objective(fl.mse_loss, floor=0.0)
    y = np.zeros(20_000, np.float32)

    def right(i):
        grad, _ = made(y, np.full(y.shape, i, np.float32))
        return bool((grad == 2 * i).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(300)))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies(copied):
    made = Objective(fl.sigmoid_focal_loss, floor=0.1, hess_scale=3.0, alpha=0.3)
    x, y = np.linspace(-2, 2, 9), np.arange(9) % 2
    want = made(y, x)
    twin = copied(made)
    assert "_spare" not in vars(twin)
    for got, each in zip(twin(y, x), want, strict=True):
        np.testing.assert_array_equal(got, each)
    assert repr(twin) == repr(made) == "fastloss.boosting.Objective(sigmoid_focal_loss, alpha=0.3)"
    assert twin.__name__ == "sigmoid_focal_loss"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((fl.hinge_loss,), {"floor": 0.0}, "loss must be one of binary_cross_entropy, .*; got hinge_loss"),
        ((fl.triplet_margin_loss,), {"floor": 0.0}, "got triplet_margin_loss"),
        ((len,), {"floor": 0.0}, "got len"),
        ((fl.mse_loss,), {"floor": 0.0, "delta": 1}, "mse_loss: delta is no option"),
        ((fl.mse_loss,), {"floor": 0.0, "reduction": "sum"}, "mse_loss: reduction is no option"),
    ],
)
def test_refused_losses(arguments, options, message):
    with pytest.raises(TypeError, match=message):
        Objective(*arguments, **options)


def test_refused_numbers():
    with pytest.raises(ValueError, match="floor"):
        Objective(fl.mse_loss, floor=-1.0)
    with pytest.raises(ValueError, match="hess_scale"):
        Objective(fl.mse_loss, floor=0.0, hess_scale=-1.0)


def test_refused_rows():
    rows, classes = Objective(fl.cross_entropy, floor=0.0), np.zeros(9, np.float32)
    with pytest.raises(ValueError, match="is num_class set"):
        rows(classes, np.zeros(9))
    for wrong, error, message in [
        (0.5, ValueError, "whole numbers, but label 7 is 0.5"),
        (np.nan, ValueError, "label 7 is nan"),
        (3, IndexError, r"target\[7\] is 3, out of range for 3 classes"),
    ]:
        classes[7] = wrong
        with pytest.raises(error, match=message):
            rows(classes, np.zeros((9, 3)))
    with pytest.raises(ValueError, match=r"labels of shape \(4,\) do not fit predictions of shape \(9, 3\)"):
        rows(classes[:4], np.zeros((9, 3)))
    with pytest.raises(ValueError, match=r"weights must have shape \(9,\), have \(4,\)"):
        rows(classes, np.zeros((9, 3)), np.ones(4))
    with pytest.raises(ValueError, match=r"shape \(9, 3\) want as many labels, they have \(9,\)"):
        Objective(fl.mse_loss, floor=0.0)(classes, np.zeros((9, 3)))
    probabilities = np.full(9, 0.5)
    probabilities[6] = 2
    with pytest.raises(ValueError, match=r"at \[6\] input is 2"):
        Metric(fl.binary_cross_entropy).mean(np.zeros(9), probabilities, None)
