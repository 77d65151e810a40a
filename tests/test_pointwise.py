"""Pointwise losses where they are particular: infinities, NaN, tiny and huge numbers, kinks, options, refusals."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from cases import CASES
from helpers import assert_same, assert_ulp, every_isa, owed

import fastloss as fl
from fastloss.loss import LOSSES

INF, NAN = np.inf, np.nan
POINTWISE = [name for name, loss in LOSSES.items() if loss.family == "pointwise"]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def each(loss, *arrays, dtype="float64", **options):
    """Value and gradient per element."""
    return loss.value_and_grad(*(np.asarray(x, dtype) for x in arrays), **options, reduction="none")


class TestNaN:
    @every_isa
    @pytest.mark.parametrize(
        ("name", "variant"),
        [(name, i) for name in POINTWISE if name != "rmse_loss" for i in range(len(CASES[name].variants))],
    )
    def test_stays_in_its_element(self, name, variant, dtype, isa):
        case, place = CASES[name], 700
        plain = case.draw(case.variants[variant], np.random.default_rng(0), (1500,), dtype)
        value, grad = LOSSES[name].value_and_grad(**plain, reduction="none")
        clean = (value, *(grad if isinstance(grad, tuple) else (grad,)))
        for key in [key for key, item in plain.items() if isinstance(item, np.ndarray)]:
            broken = {**plain, key: plain[key].copy()}
            broken[key][place] = NAN
            value, grad = LOSSES[name].value_and_grad(**broken, reduction="none")
            for got, want in zip((value, *(grad if isinstance(grad, tuple) else (grad,))), clean, strict=True):
                assert np.isnan(got[place])
                assert_same(np.delete(got, place), np.delete(want, place))


class TestInfinity:
    def test_soft_margin(self, dtype, isa):
        x, t = [-1000, 1000, -INF, INF, INF, -INF, 0], [1, 1, 1, 1, -1, -1, 1]
        value, grad = each(fl.soft_margin_loss, x, t, dtype=dtype)
        assert_ulp(value, [1000, 0, INF, 0, INF, 0, np.log(2)])
        np.testing.assert_array_equal(grad, [-1, 0, -1, 0, 1, 0, -0.5])
        _, hess = fl.soft_margin_loss.grad_hess(np.asarray(x, dtype), np.asarray(t, dtype))
        np.testing.assert_array_equal(hess, [0, 0, 0, 0, 0, 0, 0.25])

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
    def test_sigmoid_focal(self, gamma, dtype, isa):
        x, t = [INF, -INF, INF, -INF, 1e30, -1e30], [1, 0, 0, 1, 1, 0]
        value, grad = each(fl.sigmoid_focal_loss, x, t, dtype=dtype, gamma=gamma, alpha=None)
        np.testing.assert_array_equal(value, [0, 0, INF, INF, 0, 0])
        np.testing.assert_array_equal(grad, [0, 0, 1, -1, 0, 0])
        grad, hess = fl.sigmoid_focal_loss.grad_hess(np.asarray(x, dtype), np.asarray(t, dtype), None, gamma)
        np.testing.assert_array_equal(hess, [0, 0, 0, 0, 0, 0])

    def test_log_cosh(self, dtype, isa):
        value, grad = each(fl.log_cosh_loss, [1e30, -1e30, INF, -INF], [0] * 4, dtype=dtype)
        assert_ulp(value, [1e30, 1e30, INF, INF])
        np.testing.assert_array_equal(grad, [1, -1, 1, -1])

    def test_likelihoods_of_infinite_logarithms(self, dtype, isa):
        value, grad = each(fl.poisson_nll_loss, [INF, -INF, -INF, INF], [3, 0, 3, 0], dtype=dtype)
        np.testing.assert_array_equal(value, [INF, 0, INF, INF])
        np.testing.assert_array_equal(grad, [INF, 0, -3, INF])
        value, grad = each(fl.gamma_nll_loss, [INF, -INF], [3, 3], dtype=dtype)
        np.testing.assert_array_equal(value, [INF, INF])
        np.testing.assert_array_equal(grad, [1, -INF])
        value, grad = each(fl.tweedie_nll_loss, [INF, -INF, -INF], [3, 3, 0], dtype=dtype)
        np.testing.assert_array_equal(value, [INF, INF, 0])
        np.testing.assert_array_equal(grad, [INF, -INF, 0])

    def test_exponential(self, dtype, isa):
        np.testing.assert_array_equal(each(fl.exponential_loss, [INF, -INF], [1, 1], dtype=dtype)[0], [0, INF])

    def test_certain_probabilities(self, dtype, isa):
        x, t = [0, 1, 0, 1, 0.5], [0, 1, 1, 0, 0.5]
        value, grad = each(fl.binary_cross_entropy, x, t, dtype=dtype)
        assert_ulp(value, [0, 0, 100, 100, np.log(2)])
        assert_ulp(grad, [0, 0, -1e12, 1e12, 0])
        _, hess = fl.binary_cross_entropy.grad_hess(np.asarray(x, dtype), np.asarray(t, dtype))
        assert_ulp(hess, [1, 1, 1e24, 1e24, 4])


class TestZeroTimesLogZero:
    def test_kl_div(self, dtype, isa):
        value, grad = each(fl.kl_div, [-INF, 0, -1, -INF, -1], [0, 0, 0, 0.5, -0.5], dtype=dtype)
        np.testing.assert_array_equal(value, [0, 0, 0, INF, NAN])
        np.testing.assert_array_equal(grad, [0, 0, 0, -0.5, 0.5])

    def test_kl_div_of_logarithms(self, dtype, isa):
        value, grad = each(fl.kl_div, [-INF, 0, -INF], [-INF, -INF, 0], dtype=dtype, log_target=True)
        np.testing.assert_array_equal(value, [0, 0, INF])
        np.testing.assert_array_equal(grad, [0, 0, -1])

    def test_poisson_of_a_mean_of_zero(self, dtype, isa):
        value, grad = each(fl.poisson_nll_loss, [0, 0], [0, 2], dtype=dtype, log_input=False, eps=0.0)
        np.testing.assert_array_equal(value, [0, INF])
        np.testing.assert_array_equal(grad, [1, -INF])


# Numbers that samples around 1 never reach; each loss on all pairs of them.
STEPS = np.array([0, 2.0**-60, 2.0**-24, 2.0**-12, 1e-3, 0.1, 0.3, 0.5, 1])
WIDE = np.array([1e-30, 1e-20, 1e-10, 1e-5, 1e-3, 0.1, 1, 3, 10, 1e3, 1e5, 1e10, 1e20])
EXTREMES = {
    "msle_loss": (np.r_[0, WIDE[:-1], -0.5, -0.999], np.r_[0, WIDE[:-1], -0.5, -0.999], {}),
    "log_cosh_loss": (np.r_[WIDE[3:-2], -WIDE[3:-2]], np.zeros(1), {}),
    "mape_loss": (WIDE[3:-2], WIDE[3:-2], {}),
    "smooth_l1_loss": (np.r_[WIDE[4:-2], -WIDE[4:-2]], np.zeros(1), {"beta": 1e-4}),
    "huber_loss": (np.r_[WIDE[4:-2], -WIDE[4:-2]], np.zeros(1), {"delta": 1e4}),
    "binary_cross_entropy": (np.r_[STEPS, 1 - STEPS, 1e-38, 1e-40], np.r_[0, 1, 0.25, 1e-6], {}),
    "soft_margin_loss": (np.r_[-WIDE, WIDE, -86, 86], np.r_[-1, 1, 0.3, -1.7], {}),
    "exponential_loss": (np.linspace(-80, 80, 41), np.r_[-1, 1, 0.3, -0.77], {}),
    "tweedie_nll_loss": (np.linspace(-40, 40, 41), np.r_[0, 1e-3, 1, 100], {"power": 1.7}),
    "sigmoid_focal_loss": (np.linspace(-160, 160, 65), np.r_[0, 1], {"gamma": 0.4}),
    "kl_div": (-np.r_[WIDE[:-3], 0], np.r_[0, WIDE[:8]], {}),
}


@every_isa
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes(name, dtype, isa):
    x, t, options = EXTREMES[name]
    x, t = (np.ascontiguousarray(a) for a in np.broadcast_arrays(x.astype(dtype)[:, None], t.astype(dtype)))
    loss = LOSSES[name]
    value, grad = loss.value_and_grad(x, t, **options, reduction="none")
    expected, expected_grad = loss.reference.value_and_grad(x, t, **options, reduction="none")
    sizes = CASES[name].magnitudes(input=x, target=t, **options)
    assert_ulp(value, expected, owed(isa), scale=sizes[0])
    assert_ulp(grad, expected_grad, owed(isa), scale=sizes[1])


@every_isa
@pytest.mark.parametrize("power", [-3.0, 1.3, 1.5, 1.7, 2.6, 5.0])
def test_powers_of_extreme_means(power, dtype, isa):
    reach = {"float32": 30, "float64": 250}[dtype] / max(abs(1 - power), abs(2 - power), 1)
    x = np.geomspace(10**-reach, 10**reach, 301).astype(dtype)
    t = np.resize(np.asarray([0, 0.5, 3], dtype), x.shape)
    options = {"power": power, "log_input": False}
    value, grad = fl.tweedie_nll_loss.value_and_grad(x, t, **options, reduction="none")
    expected, expected_grad = fl.tweedie_nll_loss.reference.value_and_grad(x, t, **options, reduction="none")
    sizes = CASES["tweedie_nll_loss"].magnitudes(input=x, target=t, **options)
    assert_ulp(value, expected, owed(isa), scale=sizes[0])
    kept = np.abs(expected_grad) < np.finfo(dtype).max / 10
    assert_ulp(grad[kept], expected_grad[kept], owed(isa), scale=np.abs(expected_grad[kept]))


class TestKinks:
    def test_slopes(self, dtype, isa):
        for loss, arrays, options, slope in (
            (fl.l1_loss, ([2, 1, 3], [2, 2, 2]), {}, [0, -1, 1]),
            (fl.quantile_loss, ([2, 1, 3], [2, 2, 2]), {"q": 0.25}, [0, -0.25, 0.75]),
            (fl.mape_loss, ([2, 0, 1], [2, 0, 0]), {}, [0, 0, INF]),
            (fl.smooth_l1_loss, ([2, -2, 1], [0, 0, 0]), {"beta": 2.0}, [1, -1, 0.5]),
            (fl.huber_loss, ([2, -2, 1, 3], [0] * 4), {"delta": 2.0}, [2, -2, 1, 2]),
            (fl.hinge_loss, ([1, -1, 0.5, 2], [1, -1, 1, 1]), {}, [0, 0, -1, 0]),
            (fl.hinge_embedding_loss, ([1, 1, 2, 1], [-1, 1, -1, 0]), {}, [-1, 1, 0, 0]),
        ):
            np.testing.assert_array_equal(each(loss, *arrays, dtype=dtype, **options)[1], slope)
        value, (up, down) = each(fl.margin_ranking_loss, [1, 1, 2], [1, 2, 1], [1, 1, 1], dtype=dtype)
        np.testing.assert_array_equal(value, [0, 1, 0])
        np.testing.assert_array_equal((up, down), [[-1, -1, 0], [1, 1, 0]])

    def test_rmse_of_no_error(self, dtype):
        x = np.ones(5, dtype)
        value, grad = fl.rmse_loss.value_and_grad(x, x)
        assert value == 0
        np.testing.assert_array_equal(grad, np.zeros(5))
        assert math.isnan(fl.rmse_loss(x[:0], x[:0]))


class TestOptions:
    def test_hess_is_what_boosting_wants(self, dtype):
        x, t, w = np.arange(3, dtype=dtype), np.ones(3, dtype), np.asarray([1, 2, 3], dtype)
        np.testing.assert_array_equal(fl.l1_loss.grad_hess(x, t)[1], [0, 0, 0])
        np.testing.assert_array_equal(fl.l1_loss.grad_hess(x, t, w, hess=1.0)[1], [1, 2, 3])
        np.testing.assert_array_equal(fl.quantile_loss.grad_hess(x, t, hess=0.5)[1], [0.5, 0.5, 0.5])

    def test_limits_are_other_losses(self, dtype):
        rng = np.random.default_rng(0)
        x, t = rng.uniform(0.1, 2, 99).astype(dtype), rng.poisson(2, 99).astype(dtype)
        bits = (t > 1).astype(dtype)
        for one, other in (
            (fl.smooth_l1_loss.value_and_grad(x, t, 0.0), fl.l1_loss.value_and_grad(x, t)),
            (fl.tweedie_nll_loss.value_and_grad(x, t, 1.0), fl.poisson_nll_loss.value_and_grad(x, t)),
            (fl.tweedie_nll_loss.value_and_grad(x, t, 2), fl.gamma_nll_loss.value_and_grad(x, t)),
            (
                fl.tweedie_nll_loss.value_and_grad(x, t, 1, False),
                fl.poisson_nll_loss.value_and_grad(x, t, False, eps=0.0),
            ),
            (fl.tweedie_nll_loss.value_and_grad(x, t, 2, False), fl.gamma_nll_loss.value_and_grad(x, t, False)),
        ):
            assert_same(one, other)
        value, grad = fl.sigmoid_focal_loss.value_and_grad(x, bits, None, 0.0)
        expected, expected_grad = fl.binary_cross_entropy_with_logits.value_and_grad(x, bits)
        assert value == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-6)
        assert_same(fl.sigmoid_focal_loss(x, bits, -1), fl.sigmoid_focal_loss(x, bits, None))
        half, half_grad = fl.tweedie_nll_loss.value_and_grad(x, t, 0, False)
        mse, mse_grad = fl.mse_loss.value_and_grad(x, t)
        assert half == pytest.approx(mse / 2, rel=1e-6)
        np.testing.assert_allclose(half_grad, mse_grad / 2, rtol=1e-6)

    def test_gamma_beside_two(self, dtype):
        x = np.linspace(-20, 20, 101).astype(dtype)
        t = np.arange(101) % 2
        for gamma in (2 - 1e-7, 2 + 1e-7):
            near = fl.sigmoid_focal_loss.value_and_grad(x, t, 0.25, gamma, reduction="none")
            for got, want in zip(near, fl.sigmoid_focal_loss.value_and_grad(x, t, reduction="none"), strict=True):
                np.testing.assert_allclose(got, want, rtol=2e-5)

    @pytest.mark.parametrize("shape", [(), (4,), (4, 3), (0, 3)])
    def test_batchmean(self, shape, dtype):
        rng = np.random.default_rng(0)
        x, t = (np.asarray(rng.random(shape), dtype) for _ in range(2))
        value, grad = fl.kl_div.value_and_grad(x, t, reduction="batchmean")
        total, total_grad = fl.kl_div.value_and_grad(x, t, reduction="sum")
        expected = fl.kl_div.reference.value_and_grad(x, t, reduction="batchmean")
        rows = shape[0] if shape else 1
        assert value == pytest.approx(total / rows if rows else NAN, rel=1e-12, nan_ok=True)
        assert value == pytest.approx(expected[0], rel=1e-6, nan_ok=True)
        np.testing.assert_allclose(grad, total_grad / rows if rows else total_grad, rtol=1e-6)
        with pytest.raises(ValueError, match="batchmean"):
            fl.mse_loss(x, t, reduction="batchmean")

    @pytest.mark.parametrize("var_shape", [(), (1,), (5, 1), (1, 4), (5,), (5, 4)])
    def test_variances_of_rows(self, var_shape, dtype):
        rng = np.random.default_rng(0)
        x, t = (rng.normal(size=(5, 4)).astype(dtype) for _ in range(2))
        var = np.asarray(rng.uniform(0.5, 2, var_shape), dtype)
        if var_shape == (1,):
            with pytest.raises(ValueError, match=r"gaussian_nll_loss: var .*\(5, 4\).*\(1,\)"):
                fl.gaussian_nll_loss(x, t, var)
            return
        for reduction in ("mean", "none"):
            made = fl.gaussian_nll_loss.value_and_grad(x, t, var, reduction=reduction)
            expected = fl.gaussian_nll_loss.reference.value_and_grad(x, t, var, reduction=reduction)
            np.testing.assert_allclose(made[0], expected[0], rtol=1e-5)
            for got, want in zip(made[1], expected[1], strict=True):
                assert got.shape == want.shape
                assert got.dtype == dtype
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
            out = np.empty_like(x), np.empty_like(var)
            again = fl.gaussian_nll_loss.value_and_grad(x, t, var, reduction=reduction, out=out)
            assert all(got is to for got, to in zip(again[1], out, strict=True))
            assert_same(again, made)

    def test_both_predictions_broadcast(self, dtype):
        x1, x2 = np.asarray([[1, 2, 3]], dtype), np.asarray([[2], [0]], dtype)
        value, (by_x1, by_x2) = fl.margin_ranking_loss.value_and_grad(x1, x2, 1, reduction="sum")
        assert value == 1
        np.testing.assert_array_equal(by_x1, [[-1, -1, 0]])
        np.testing.assert_array_equal(by_x2, [[2], [0]])


class TestHardTargets:
    """Blocks in which all targets are 0 or 1 may take a shorter form: nobody sees which."""

    @every_isa
    def test_beside_others(self, dtype, isa):
        rng = np.random.default_rng(0)
        x, t = rng.random(200_000).astype(dtype), (rng.random(200_000) < 0.5).astype(dtype)
        tiny = np.finfo(dtype).smallest_subnormal
        x[:100_000] = np.abs(rng.permutation(100_000) % 2 - 10 ** rng.uniform(-44, 0, 100_000))
        odd = [0.0, -0.0, 1.0, tiny, 1 - np.finfo(dtype).epsneg, 0.5, NAN]
        x[rng.integers(x.size, size=700)] = np.repeat(odd, 100)
        t[rng.integers(x.size, size=100)] = -0.0
        for first in (0, 150_000):  # in some blocks none, or in all one that is not hard
            beside, others = t.copy(), slice(first, None, 500)
            beside[others] = 0.25
            for call in (fl.binary_cross_entropy.value_and_grad, fl.binary_cross_entropy.grad_hess):
                options = {"reduction": "none"} if "value" in call.__name__ else {}
                for hard, mixed in zip(call(x, t, **options), call(x, beside, **options), strict=True):
                    hard[others] = mixed[others]
                    assert_same(hard, mixed)


class TestRefused:
    @pytest.mark.parametrize("place", [0, 5, 1024, 66_000, 299_999])
    def test_where_it_is_said(self, place, isa):
        x, t = np.full(300_000, 0.5, np.float32), np.zeros(300_000, np.float32)
        for changed, wrong in ((x, 1.5), (x, -0.25), (t, 2.0), (t, -1.0)):
            changed[place:] = wrong
            had = f"input is {x[place]:g} and target is {t[place]:g}"
            for call in (fl.binary_cross_entropy, fl.binary_cross_entropy.value_and_grad):
                with pytest.raises(ValueError, match=rf"binary_cross_entropy: .* in \[0, 1\].* \[{place}\] {had}"):
                    call(x, t)
            changed[place:] = 0.5
        with pytest.raises(ValueError, match=r"\[1, 2\] input is 2"):
            fl.binary_cross_entropy(np.where(np.arange(6).reshape(2, 3) == 5, 2.0, 0.5), 0)

    @pytest.mark.parametrize("sign", [0.0, NAN])
    def test_a_sign_alone_is_not(self, sign, isa):
        half = np.full(5000, 0.5)
        x = half.copy()
        x[3000] = -np.copysign(sign, 1)
        for loss, operands in ((fl.binary_cross_entropy, 2), (fl.gaussian_nll_loss, 3)):
            for place in range(operands):
                signed, plain = ([half] * place + [each] + [half] * (operands - place - 1) for each in (x, np.abs(x)))
                assert_same(loss(*signed, reduction="none"), loss(*plain, reduction="none"))

    def test_variances(self, isa):
        x, var = np.zeros((3, 4)), np.ones(3)
        var[1] = -0.5
        for call in (fl.gaussian_nll_loss, fl.gaussian_nll_loss.value_and_grad):
            with pytest.raises(ValueError, match=r"var must not be negative, but at \[1, 0\] .*var is -0\.5"):
                call(x, x, var)
        with pytest.raises(ValueError, match="negative"):
            fl.gaussian_nll_loss(x, x, -1.0)

    def test_nothing_but_out_changes(self, isa):
        x, t = np.full(5000, 0.5), np.ones(5000)
        x[4000] = 7
        before, out = (x.copy(), t.copy()), np.full(5002, 3.0)
        with pytest.raises(ValueError, match="4000"):
            fl.binary_cross_entropy.value_and_grad(x, t, out=out[1:-1])
        assert_same((x, t), before)
        assert out[0] == out[-1] == 3

    @pytest.mark.parametrize(
        ("name", "parameter", "bad"),
        [
            ("smooth_l1_loss", "beta", [-1.0, 1e-20, 1e20, NAN]),
            ("huber_loss", "delta", [0.0, -1.0, INF, NAN]),
            ("quantile_loss", "q", [-0.1, 1.1, NAN]),
            ("poisson_nll_loss", "eps", [-1e-3, INF, NAN]),
            ("gaussian_nll_loss", "eps", [-1e-3, NAN]),
            ("tweedie_nll_loss", "power", [0.5, INF, NAN]),
            ("sigmoid_focal_loss", "alpha", [-0.5, 1.5, NAN]),
            ("sigmoid_focal_loss", "gamma", [-0.5, INF, NAN]),
            ("hinge_embedding_loss", "margin", [INF, NAN]),
            ("margin_ranking_loss", "margin", [INF, NAN]),
        ],
    )
    def test_parameters(self, name, parameter, bad):
        arguments = CASES[name].draw({}, np.random.default_rng(0), (3,), "float64")
        for value in bad:
            with pytest.raises(ValueError, match=rf"{name}: {parameter} .*{re.escape(repr(value))}"):
                LOSSES[name](**arguments, **{parameter: value})
        for value in ("1", [1.0], True):
            with pytest.raises(TypeError, match=rf"{name}: {parameter} "):
                LOSSES[name](**arguments, **{parameter: value})


@pytest.mark.parametrize("name", POINTWISE)
class TestShapes:
    def test_of_no_dimension(self, name):
        arguments = CASES[name].draw({}, np.random.default_rng(0), (), "float64")
        value, grad = LOSSES[name].value_and_grad(**arguments)
        expected, expected_grad = LOSSES[name].reference.value_and_grad(**arguments)
        assert type(value) is float
        assert value == pytest.approx(expected, rel=1e-12)
        for got, want in zip(np.atleast_1d(grad), np.atleast_1d(expected_grad), strict=True):
            assert np.shape(got) == ()
            np.testing.assert_allclose(got, want, rtol=1e-12)

    @pytest.mark.parametrize("shape", [(0,), (3, 0, 2)])
    def test_of_no_element(self, name, shape):
        arguments = CASES[name].draw({}, np.random.default_rng(0), shape, "float32")
        value, grad = LOSSES[name].value_and_grad(**arguments)
        assert math.isnan(value)
        assert all(each.shape == shape for each in (grad if isinstance(grad, tuple) else (grad,)))

    @pytest.mark.parametrize("target_dtype", ["bool", "int8", "uint16", "int32", "int64", "float16", "float64"])
    def test_targets_of_every_dtype(self, name, target_dtype):
        arguments = CASES[name].draw({}, np.random.default_rng(0), (50,), "float32")
        bits = np.arange(50) % 2
        plain = LOSSES[name].value_and_grad(**{**arguments, "target": bits.astype("float32")})
        assert_same(LOSSES[name].value_and_grad(**{**arguments, "target": bits.astype(target_dtype)}), plain)


@pytest.mark.parametrize(
    ("dtype", "large"), [(np.float32, [1.2e38, 1.3e38, 1.8e38, 3.4e38]), (np.float64, [9e307, 1.7e308])]
)
def test_msle_of_the_largest_numbers(dtype, large, isa):
    """Their quotient by 1 has a reciprocal that is no normal number."""
    x, t = np.array(large, dtype), np.zeros(len(large), dtype)
    for prediction, target in ((x, t), (t, x)):
        value, grad = fl.msle_loss.value_and_grad(prediction, target, reduction="none")
        expected, expected_grad = fl.msle_loss.reference.value_and_grad(prediction, target, reduction="none")
        assert_ulp(value, expected)
        assert_ulp(grad, expected_grad)
