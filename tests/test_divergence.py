"""The divergences of two rows of logits, and the focal loss: masks, near rows, confidence, layouts, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import NARROW, assert_same, assert_ulp, everything

import fastloss as fl
from fastloss.loss import LOSSES

INF, NAN = np.inf, np.nan
ROWS, BAD = 40, 7
DIVERGENCES = ["kl_div_with_logits", "js_div_with_logits"]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[2, NARROW, NARROW + 1, 1500])
def classes(request):
    return request.param


@pytest.fixture(params=[1.0, 2.5])
def temperature(request):
    return request.param


@pytest.fixture
def x(dtype, classes):
    return np.random.default_rng(classes).normal(0, 3, (ROWS, classes)).astype(dtype)


@pytest.fixture
def t(dtype, classes):
    return np.random.default_rng(classes + 1).normal(0, 3, (ROWS, classes)).astype(dtype)


def per_row(name, x, t, temperature=1.0):
    """Value and gradient of every row."""
    value, grad = LOSSES[name].value_and_grad(x, t, temperature, reduction="none")
    assert_same(value, LOSSES[name](x, t, temperature, reduction="none"))
    return value, grad


def only_row_differs(broken, clean, row):
    """All rows but one have the bits they have when that one is whole; returns that row of each array."""
    for got, want in zip(broken, clean, strict=True):
        assert_same(np.delete(got, row, axis=0), np.delete(want, row, axis=0))
    return [got[row] for got in broken]


def expected(name, x, t, temperature=1.0):
    return LOSSES[name].reference.value_and_grad(x, t, temperature, reduction="none")


@pytest.mark.parametrize("name", DIVERGENCES)
class TestMask:
    def test_in_both_rows_counts_nothing(self, name, x, t, classes, temperature, isa):
        x, t = (np.concatenate([each, each[:, :1]], 1) for each in (x, t))
        x[:, 1], t[:, 1] = -INF, -INF
        value, grad = per_row(name, x, t, temperature)
        without, grad_without = expected(name, np.delete(x, 1, 1), np.delete(t, 1, 1), temperature)
        assert_ulp(value, without, scale=np.maximum(1.4 * without, 1e-14))
        assert (grad[:, 1] == 0).all()
        assert_ulp(np.delete(grad, 1, 1), grad_without, scale=1.0)

    def test_in_the_input_alone(self, name, x, t, temperature, isa):
        clean = per_row(name, x, t, temperature)
        x[BAD, 1] = -INF
        value, grad = only_row_differs(per_row(name, x, t, temperature), clean, BAD)
        assert value == INF if name == "kl_div_with_logits" else value < np.log(2)
        want, want_grad = expected(name, x[BAD], t[BAD], temperature)
        assert_ulp(value, want, scale=1.4 * np.nan_to_num(want, posinf=0))
        assert_ulp(grad, want_grad, scale=1.0)
        assert np.isfinite(grad).all()

    def test_in_the_target_alone(self, name, x, t, temperature, isa):
        clean = per_row(name, x, t, temperature)
        t[BAD, 1] = -INF
        value, grad = only_row_differs(per_row(name, x, t, temperature), clean, BAD)
        want, want_grad = expected(name, x[BAD], t[BAD], temperature)
        assert np.isfinite(want)
        assert_ulp(value, want, scale=1.4 * want)
        assert_ulp(grad, want_grad, scale=1.0)

    def test_of_all_but_one_class(self, name, dtype, classes, isa):
        x, t = np.full((2, classes), -INF, dtype), np.full((2, classes), -INF, dtype)
        x[:, 0] = t[0, 0] = t[1, -1] = 3
        value, grad = per_row(name, x, t)
        assert_same(value, np.array([0, INF if name == "kl_div_with_logits" else np.log(2)], dtype))
        assert np.isfinite(grad).all()

    @pytest.mark.parametrize("which", [0, 1])
    def test_of_a_whole_row_is_nan_in_its_row_alone(self, name, which, x, t, temperature, isa):
        clean = per_row(name, x, t, temperature)
        (x, t)[which][BAD] = -INF
        value, grad = only_row_differs(per_row(name, x, t, temperature), clean, BAD)
        assert np.isnan(value).all()
        assert np.isnan(grad).all()


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("number", [NAN, INF])
@pytest.mark.parametrize("place", [0, -1])
def test_nan_and_infinity_stay_in_their_row(name, which, number, place, x, t, temperature, isa):
    clean = per_row(name, x, t, temperature)
    (x, t)[which][BAD, place] = number
    value, grad = only_row_differs(per_row(name, x, t, temperature), clean, BAD)
    assert np.isnan(value).all()
    assert np.isnan(grad).all()


@pytest.mark.parametrize("name", DIVERGENCES)
class TestNearRows:
    def test_that_are_the_same_have_no_divergence(self, name, x, temperature, isa):
        value, grad = per_row(name, x, x.copy(), temperature)
        assert (value == 0).all()
        assert_ulp(grad, np.zeros_like(grad), 1, scale=fl.softmax.reference(x / temperature) / temperature)

    @pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-5])
    @pytest.mark.parametrize("offset", [0, 7, -300])
    def test_keep_their_digits(self, name, step, offset, x, temperature, isa):
        rng = np.random.default_rng(0)
        t = (x + step * rng.normal(size=x.shape) + offset).astype(x.dtype)
        value, _ = per_row(name, x, t, temperature)
        want, _ = expected(name, x, t, temperature)
        # what is left of the square of a rounding error, 1e-14 in float32; without multiply-add, of the error itself
        assert_ulp(value, want, 8, scale=1.0 if isa == "base" else 1e-14)

    @pytest.mark.parametrize("gap", [12, 25, 40])
    def test_that_are_confident_keep_their_digits(self, name, gap, x, t, isa):
        x[:, 0] += gap
        t[:, 0] += gap + 1
        value, grad = per_row(name, x, t)
        want, want_grad = expected(name, x, t)
        assert_ulp(value, want, 8, scale=1e-14)
        assert_ulp(grad, want_grad, scale=fl.softmax.reference(x) + fl.softmax.reference(t))

    def test_are_symmetric(self, name, x, t, isa):
        if name == "js_div_with_logits":
            assert_ulp(fl.js_div_with_logits(x, t, reduction="none"), fl.js_div_with_logits(t, x, reduction="none"), 8)


@pytest.mark.parametrize("name", DIVERGENCES)
class TestArrays:
    @pytest.mark.parametrize("wide", [65, 100, NARROW + 1, 200, 1000, 1024, 1025, 3000])
    def test_rows_side_by_side_have_the_same_rows(self, name, wide, dtype, temperature, isa):
        rng = np.random.default_rng(wide)
        x, t = rng.normal(0, 3, (2, 37, wide)).astype(dtype)
        t[::2] = x[::2] + rng.normal(0, 1e-2, x[::2].shape)
        x[3:20, 40:] += 300  # the maximum of a later block, and a unit with a base
        t[5:9, 50] += 400
        x[11, 3] = t[12, 4] = -INF
        last = everything(name, input=x, target=t, temperature=temperature)
        first = everything(name, input=x.T.copy(), target=t.T.copy(), temperature=temperature, axis=0)
        for got, want in zip(first, last, strict=True):
            if isinstance(got, tuple):
                got = (got[0], got[1].T)
                assert_same(got[1], want[1])
            total = (got, want) if not isinstance(got, tuple) else (got[0], want[0])
            np.testing.assert_allclose(*total, rtol=1e-15 if dtype == "float64" else 3e-7)

    @pytest.mark.parametrize("turn", [np.ascontiguousarray, np.asfortranarray])
    def test_target_of_another_layout_and_dtype(self, name, turn, x, t, isa):
        x, t = x.astype(np.float32), np.round(t)
        want = per_row(name, x, t.astype(np.float32))
        for dtype in ("float16", "float64", "int64", "int8"):
            assert_same(per_row(name, x, turn(t.astype(dtype))), want)
        assert_same(per_row(name, np.asfortranarray(x), t), per_row(name, np.asfortranarray(x), turn(t)))

    def test_rows_that_are_not_kept(self, name, isa):
        rng = np.random.default_rng(0)
        x, t = rng.normal(0, 2, (2, 3, 300_000)).astype(np.float32)
        t[1] = x[1] + 0.01
        value, grad = per_row(name, x, t)
        want, want_grad = expected(name, x, t)
        assert_ulp(value, want, scale=1.4 * want + 1e-14)
        p = fl.softmax.reference(x) + fl.softmax.reference(t)
        assert_ulp(grad, want_grad, scale=p)
        part = x[:, :70_000], t[:, :70_000]
        assert_same(per_row(name, *part), per_row(name, *(each.copy() for each in part)))

    def test_gradient_over_either_array(self, name, x, t, isa):
        want = LOSSES[name].value_and_grad(x, t)
        for which in (0, 1):
            operands = [x.copy(), t.copy()]
            assert_same(LOSSES[name].value_and_grad(*operands, out=operands[which]), want)

    @pytest.mark.parametrize("temperature", [1e-18, 1e-3, 1e3, 1e18])
    def test_any_temperature(self, name, temperature, x, t, isa):
        value, grad = per_row(name, x, t, temperature)
        assert (value >= 0).all()
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("name", DIVERGENCES)
class TestRefused:
    @pytest.mark.parametrize("temperature", [0, -1.0, NAN, INF, 1e-19])
    def test_temperature(self, name, temperature):
        with pytest.raises(ValueError, match=f"{name}: temperature"):
            LOSSES[name](np.zeros(3), np.zeros(3), temperature)

    def test_temperature_that_is_no_number(self, name):
        with pytest.raises(TypeError, match=f"{name}: temperature"):
            LOSSES[name](np.zeros(3), np.zeros(3), "1")

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (1, 3), ()])
    def test_shape(self, name, shape):
        with pytest.raises(ValueError, match=f"{name}: target must have the shape of input"):
            LOSSES[name](np.zeros((4, 3)), np.zeros(shape))


class TestFocal:
    def test_gamma_zero_is_cross_entropy(self, x, classes, isa):
        labels = np.random.default_rng(0).integers(-1, classes, ROWS)
        weight = np.random.default_rng(1).uniform(0.5, 2, classes)
        for reduction in ("none", "mean", "sum"):
            options = {"weight": weight, "ignore_index": -1, "reduction": reduction}
            assert_same(fl.focal_loss(x, labels, 0, **options), fl.cross_entropy(x, labels, **options))
        focal = fl.focal_loss.value_and_grad(x, labels, 0, weight, ignore_index=-1)[1]
        assert_ulp(focal, fl.cross_entropy.value_and_grad(x, labels, weight, ignore_index=-1)[1], 1)

    @pytest.mark.parametrize("gamma", [0.5, 1, 2, 5])
    @pytest.mark.parametrize("gap", [17.6, 40, 85])
    def test_confident_rows_keep_their_digits(self, gamma, gap, dtype, classes, isa):
        x = np.random.default_rng(0).uniform(-1, 0, (9, classes)).astype(dtype)
        x[:, 0] = gap
        value, grad = fl.focal_loss.value_and_grad(x, np.zeros(9, int), gamma, reduction="none")
        want, want_grad = fl.focal_loss.reference.value_and_grad(x, np.zeros(9, int), gamma, reduction="none")
        assert_ulp(value, want, scale=(1 + gamma) * want)
        assert_ulp(grad, want_grad, scale=(1 + gamma) * np.abs(want_grad))

    @pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
    def test_mask_on_the_target(self, gamma, x, isa):
        x[BAD, 1] = -INF
        value, grad = fl.focal_loss.value_and_grad(x, np.ones(ROWS, int), gamma, reduction="none")
        assert value[BAD] == INF
        assert_ulp(grad[BAD], fl.cross_entropy.reference.value_and_grad(x[BAD], 1)[1])
        assert np.isfinite(np.delete(value, BAD)).all()

    @pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
    def test_single_class_has_nothing_to_learn(self, gamma, dtype, isa):
        value, grad = fl.focal_loss.value_and_grad(np.ones((5, 1), dtype), np.zeros(5, int), gamma, reduction="none")
        assert (value == 0).all()
        assert (grad == 0).all()

    def test_nan_stays_in_its_row(self, x, isa):
        labels = np.zeros(ROWS, int)
        clean = fl.focal_loss.value_and_grad(x, labels, reduction="none")
        x[BAD, 1] = NAN
        value, grad = only_row_differs(fl.focal_loss.value_and_grad(x, labels, reduction="none"), clean, BAD)
        assert np.isnan(value).all()
        assert np.isnan(grad).all()

    @pytest.mark.parametrize("gamma", [1e3, 1e300])
    def test_any_gamma(self, gamma, x, isa):
        value, grad = fl.focal_loss.value_and_grad(x, np.zeros(ROWS, int), gamma, reduction="none")
        assert np.isfinite(value).all()
        assert not np.isnan(grad).any()

    @pytest.mark.parametrize("gamma", [-1, -1e-9, NAN, INF])
    def test_gamma_is_refused(self, gamma):
        with pytest.raises(ValueError, match="focal_loss: gamma"):
            fl.focal_loss(np.zeros((2, 3)), [0, 1], gamma)
