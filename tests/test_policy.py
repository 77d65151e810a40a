"""The numerical policy, row by row, in value and in gradient: masks, empty sums, NaN, confidence, size."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENTIABLE, NARROW, assert_same, assert_ulp

import fastloss as fl
from fastloss.loss import LOSSES

INF, NAN = np.inf, np.nan
ROWS, BAD = 40, 7
FROM_LOGITS = [
    "logsumexp",
    "softmax",
    "log_softmax",
    "cross_entropy",
    "entropy",
    "selective_log_softmax",
    "score",
]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=[2, NARROW, NARROW + 1, 1500])
def classes(request):
    return request.param


@pytest.fixture
def x(dtype, classes):
    return np.random.default_rng(classes).normal(0, 3, (ROWS, classes)).astype(dtype)


@pytest.fixture
def t(classes):
    return np.random.default_rng(1).integers(0, classes, ROWS)


def arguments(name, x, t):
    return (x, t) if name in ("cross_entropy", "selective_log_softmax", "score", "nll_loss") else (x,)


def per_row(name, x, t, *rest, **options):
    """Value and gradient of every row; the value alone for what has no gradient."""
    loss = LOSSES[name]
    if name == "cross_entropy":
        options["reduction"] = "none"
    if not hasattr(loss, "value_and_grad"):
        return tuple(loss(*arguments(name, x, t), *rest, **options))
    value, grad = loss.value_and_grad(*arguments(name, x, t), *rest, **options)
    assert_same(value, loss(*arguments(name, x, t), *rest, **options))
    return value, grad


def only_row_differs(broken, clean, row):
    """All rows but one have the bits they have when that one is whole; returns that row of each array."""
    for got, want in zip(broken, clean, strict=True):
        assert_same(np.delete(got, row, axis=0), np.delete(want, row, axis=0))
    return [got[row] for got in broken]


class TestZeroTimesLogZero:
    def test_probability_target_of_a_masked_class(self, x, classes, dtype, isa):
        target = np.zeros((ROWS, classes), dtype)
        target[:, 0] = 1
        x[BAD, -1] = -INF
        value, grad = per_row("cross_entropy", x, target)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        assert grad[BAD, -1] == 0
        assert_ulp(value, fl.cross_entropy.reference(x, target, reduction="none"))

    def test_probability_target_equals_class_index(self, x, t, classes, isa):
        one_hot = np.equal(t[:, None], np.arange(classes)).astype(x.dtype)
        assert_ulp(fl.cross_entropy(x, one_hot, reduction="none"), fl.cross_entropy.reference(x, t, reduction="none"))

    def test_entropy_from_logits(self, x, isa):
        x[BAD, 1:] = -INF
        value, grad = per_row("entropy", x, None)
        assert value[BAD] == 0
        assert np.isfinite(value).all()
        assert (grad[BAD] == 0).all()

    def test_entropy_from_probabilities(self, classes, dtype, isa):
        p = np.zeros((3, classes), dtype)
        p[:, 0] = 1, 0.5, 0
        value, grad = fl.entropy.value_and_grad(p, from_logits=False)
        assert_ulp(value, [0, 0.5 * np.log(2), 0])
        assert np.isfinite(grad).all()


class TestMask:
    def test_on_another_class_counts_nothing(self, x, t, classes, isa):
        t[BAD] = 0
        x[BAD, 1] = -INF
        value, grad = per_row("cross_entropy", x, t)
        others = np.delete(x[BAD], 1)
        assert_ulp(value[BAD], fl.cross_entropy.reference(others, 0))
        assert grad[BAD, 1] == 0
        assert_ulp(np.delete(grad[BAD], 1), fl.cross_entropy.reference.value_and_grad(others, 0)[1])
        assert np.isfinite(grad).all()

    @pytest.mark.parametrize("name", ["logsumexp", "softmax", "entropy"])
    def test_counts_nothing_without_a_target(self, name, x, isa):
        x[BAD, 1] = -INF
        value, grad = per_row(name, x, None)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        assert grad[BAD, 1] == 0
        assert_ulp(value, LOSSES[name].reference(x), scale=10.0 if name == "logsumexp" else 0.0)

    def test_softmax_of_a_mask_is_zero_and_log_softmax_minus_infinity(self, x, isa):
        x[BAD, 1] = -INF
        assert fl.softmax(x)[BAD, 1] == 0
        value, grad = fl.log_softmax.value_and_grad(x)
        assert value[BAD, 1] == -INF
        assert np.isfinite(np.delete(value[BAD], 1)).all()
        assert np.isfinite(grad).all()

    def test_under_label_smoothing_with_weight_zero(self, x, t, classes, dtype, isa):
        t[:] = 0
        weight = np.ones(classes, dtype)
        weight[-1] = 0
        x[:, -1] = -INF
        value, grad = per_row("cross_entropy", x, t, weight, label_smoothing=0.1)
        expected, expected_grad = fl.cross_entropy.reference.value_and_grad(
            x, t, weight, label_smoothing=0.1, reduction="none"
        )
        assert np.isfinite(value).all()
        assert_ulp(value, expected)
        assert (grad[:, -1] == 0).all()
        assert_ulp(grad, expected_grad, scale=1.0)

    def test_on_the_target_is_infinite_with_a_finite_gradient(self, x, t, isa):
        clean = per_row("cross_entropy", x, t)
        x[BAD, t[BAD]] = -INF
        value, grad = only_row_differs(per_row("cross_entropy", x, t), clean, BAD)
        assert value == INF
        assert_ulp(grad, fl.cross_entropy.reference.value_and_grad(x[BAD], t[BAD])[1])
        assert grad[t[BAD]] == -1
        assert fl.cross_entropy(x, t) == INF
        assert fl.perplexity(x, t) == INF
        assert fl.selective_log_softmax(x, t)[BAD] == -INF
        assert fl.score(x, t).log_prob[BAD] == -INF
        assert fl.nll_loss(x, t) == INF

    def test_under_label_smoothing_is_infinite_with_a_finite_gradient(self, x, t, isa):
        t[BAD] = 0
        clean = per_row("cross_entropy", x, t, label_smoothing=0.1)
        x[BAD, -1] = -INF
        value, grad = only_row_differs(per_row("cross_entropy", x, t, label_smoothing=0.1), clean, BAD)
        assert value == INF
        assert np.isfinite(grad).all()
        expected = fl.cross_entropy.reference.value_and_grad(x[BAD], t[BAD], label_smoothing=0.1)[1]
        assert_ulp(grad, expected, scale=1.0)


class TestRowOfMasks:
    def test_logsumexp(self, x, isa):
        clean = per_row("logsumexp", x, None)
        x[BAD] = -INF
        value, grad = only_row_differs(per_row("logsumexp", x, None), clean, BAD)
        assert value == -INF
        assert (grad == 0).all()

    @pytest.mark.parametrize("name", ["cross_entropy", "softmax", "log_softmax", "entropy", "selective_log_softmax"])
    def test_is_nan_in_its_row_alone(self, name, x, t, isa):
        clean = per_row(name, x, t)
        x[BAD] = -INF
        value, grad = only_row_differs(per_row(name, x, t), clean, BAD)
        assert np.isnan(value).all()
        assert np.isnan(grad).all()

    def test_score(self, x, t, isa):
        clean = per_row("score", x, t)
        x[BAD] = -INF
        log_prob, entropy, rank, prediction, lse = only_row_differs(per_row("score", x, t), clean, BAD)
        assert np.isnan([log_prob, entropy]).all()
        assert (rank, prediction, lse) == (t[BAD], 0, -INF)


class TestNaN:
    @pytest.mark.parametrize("name", [name for name in FROM_LOGITS if name in DIFFERENTIABLE])
    @pytest.mark.parametrize("place", [0, -1])
    def test_stays_in_its_row(self, name, place, x, t, isa):
        clean = per_row(name, x, t)
        x[BAD, place] = NAN
        value, grad = only_row_differs(per_row(name, x, t), clean, BAD)
        assert np.isnan(value).all()
        assert np.isnan(grad).all()

    @pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"z_loss": 1e-3}, {"softcap": 30.0}])
    def test_stays_in_its_row_with_every_option(self, options, x, t, isa):
        clean = per_row("cross_entropy", x, t, **options)
        x[BAD, 1] = NAN
        value, grad = only_row_differs(per_row("cross_entropy", x, t, **options), clean, BAD)
        assert np.isnan(value)
        assert np.isnan(grad).all()

    @pytest.mark.parametrize("place", [0, -1])
    def test_in_score(self, place, x, t, classes, isa):
        clean = per_row("score", x, t)
        x[BAD, place] = NAN
        log_prob, entropy, rank, prediction, lse = only_row_differs(per_row("score", x, t), clean, BAD)
        assert np.isnan([log_prob, entropy, lse]).all()
        assert (rank, prediction) == (classes, -1)

    def test_in_an_ignored_row_is_ignored(self, x, t, isa):
        t[BAD] = -100
        x[BAD, 0] = NAN
        value, grad = per_row("cross_entropy", x, t)
        assert value[BAD] == 0
        assert (grad[BAD] == 0).all()
        assert np.isfinite(grad).all()

    @pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
    def test_stays_in_its_element(self, name, dtype, isa):
        x = np.linspace(-3, 3, 1000).astype(dtype)
        x[BAD] = NAN
        value, grad = LOSSES[name].value_and_grad(x, np.ones_like(x), reduction="none")
        assert np.flatnonzero(np.isnan(value)).tolist() == [BAD]
        assert np.flatnonzero(np.isnan(grad)).tolist() == [BAD]


class TestConfidence:
    def test_by_heart(self, isa):
        value = fl.cross_entropy(np.array([17.6, 0], np.float32), 0)
        assert value == pytest.approx(2.2720457e-08, rel=1e-6)

    @pytest.mark.parametrize(("gap", "offset"), [(12, 0), (17.6, 0), (25, 100), (40, 0), (60, -300), (85, 0)])
    def test_keeps_its_digits(self, gap, offset, dtype, classes, isa):
        t = np.unique(np.linspace(0, classes - 1, 9).astype(int))
        x = np.random.default_rng(0).uniform(-1, 0, (len(t), classes)).astype(dtype)
        x[np.arange(len(t)), t] = gap
        x += np.asarray(offset, dtype)
        for name in ("cross_entropy", "selective_log_softmax"):
            value, grad = per_row(name, x, t)
            options = {"reduction": "none"} if name == "cross_entropy" else {}
            expected, expected_grad = LOSSES[name].reference.value_and_grad(x, t, **options)
            assert_ulp(value, expected)
            assert_ulp(grad, expected_grad)
        assert_ulp(fl.score(x, t).log_prob, fl.score.reference(x, t).log_prob)
        assert_ulp(fl.log_softmax(x), fl.log_softmax.reference(x))

    @pytest.mark.parametrize("logit", [17.6, 40, 85, 300, 1e4, INF])
    def test_of_a_binary_logit(self, logit, dtype, isa):
        x, t = np.array([logit, -logit], dtype), np.array([1, 0], dtype)
        expected, expected_grad = fl.binary_cross_entropy_with_logits.reference.value_and_grad(x, t, reduction="none")
        value, grad = fl.binary_cross_entropy_with_logits.value_and_grad(x, t, reduction="none")
        assert_ulp(value, expected)
        assert_ulp(grad, expected_grad)
        assert not np.isnan(value).any()

    def test_of_an_infinite_binary_logit(self, dtype, isa):
        x, t = np.array([INF, -INF, INF, -INF], dtype), np.array([1, 0, 0, 1], dtype)
        value, grad = fl.binary_cross_entropy_with_logits.value_and_grad(x, t, reduction="none")
        np.testing.assert_array_equal(value, [0, 0, INF, INF])
        np.testing.assert_array_equal(grad, [0, 0, 1, -1])
        _, hess = fl.binary_cross_entropy_with_logits.grad_hess(x, t)
        np.testing.assert_array_equal(hess, [0, 0, 0, 0])


class TestNothing:
    @pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
    @pytest.mark.parametrize("rows", [0, 5])
    def test_rows(self, name, rows, dtype, classes, isa):
        x, t = np.zeros((rows, classes), dtype), np.full(rows, -100)
        value, grad = LOSSES[name].value_and_grad(x, t)
        assert np.isnan(value)
        assert grad.shape == x.shape
        assert (grad == 0).all()
        assert LOSSES[name](x, t, reduction="sum") == 0.0
        assert (LOSSES[name](x, t, reduction="none") == np.zeros(rows)).all()
        assert np.isnan(fl.perplexity(x, t))

    @pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
    def test_elements(self, name, dtype, isa):
        x = np.zeros(0, dtype)
        value, grad = LOSSES[name].value_and_grad(x, x)
        assert np.isnan(value)
        assert grad.shape == (0,)
        assert LOSSES[name](x, x, reduction="sum") == 0.0

    @pytest.mark.parametrize("name", [*FROM_LOGITS, "nll_loss"])
    def test_no_classes(self, name, dtype):
        x, t = np.zeros((3, 0), dtype), np.zeros(3, int)
        with pytest.raises(ValueError, match="class"):
            LOSSES[name](*arguments(name, x, t))


class TestManySamples:
    def test_sum_of_ones_beyond_float32(self, isa):
        many = 2**24 + 1
        ones = np.broadcast_to(np.float32(1), many)
        assert fl.mse_loss(ones, np.float32(0), reduction="sum") == many
        assert fl.mse_loss(ones, np.float32(0)) == 1.0

    def test_float16_beyond_its_range(self, isa):
        x = np.zeros((70000, 10), np.float16)
        t = np.zeros(70000, int)
        assert fl.cross_entropy(x, t) == pytest.approx(np.log(10), rel=1e-6)
        assert fl.cross_entropy(x, t, reduction="sum") == pytest.approx(70000 * np.log(10), rel=1e-6)
        assert fl.mse_loss(x, np.float16(1)) == 1.0
        value, grad = fl.cross_entropy.value_and_grad(x, t, reduction="sum")
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


class TestScore:
    def test_rank_and_prediction_settle_ties_by_class(self, dtype, isa):
        x = np.array([[1, 3, 3, 0], [1, 3, 3, 0], [5, 5, 5, 5], [0, 0, 0, 1]], dtype)
        score = fl.score(x, [1, 2, 3, 3])
        np.testing.assert_array_equal(score.rank, [0, 1, 3, 0])
        np.testing.assert_array_equal(score.prediction, [1, 1, 0, 3])

    def test_prediction_is_the_first_maximum_anywhere(self, dtype, classes, isa):
        x = np.zeros((classes, classes), dtype)
        np.fill_diagonal(x, 1)
        x[:, -1] = 1
        score = fl.score(x, np.full(classes, classes - 1))
        np.testing.assert_array_equal(score.prediction, np.arange(classes))
        np.testing.assert_array_equal(score.rank, [1] * (classes - 1) + [0])
