"""What the options of evaluations report: against plain NumPy in float64, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastloss as fl
from fastloss.evaluation.tokens import BLOCK_ROWS


def batch(rows=500, classes=9, seed=0, ignored=0.1):
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((rows, classes))
    labels = rng.integers(0, classes, rows)
    labels[rng.random(rows) < ignored] = -100
    return logits, labels


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def computed(logits, labels, finite=False, given=None, **options):
    made = fl.Evaluation(**options)
    made.update(logits, labels, **(given or {}))
    return made.compute(finite=finite)


class TestTokens:
    @pytest.fixture
    def rows(self):
        """Logits and labels, and of those evaluated the probabilities and the losses."""
        logits, labels = batch()
        kept = labels != -100
        p = softmax(logits)[kept]
        return logits, labels, kept, p, -np.log(p[np.arange(len(p)), labels[kept]])

    def test_several_top_k(self, rows):
        logits, labels, kept, p, _ = rows
        found = computed(logits, labels, top_k=(1, 3, 100))
        rank = (p > p[np.arange(len(p)), labels[kept]][:, None]).sum(1)
        assert list(found)[3:7] == ["accuracy", "top1_accuracy", "top3_accuracy", "top100_accuracy"]
        assert found["top1_accuracy"] == found["accuracy"] == (rank == 0).mean()
        assert found["top3_accuracy"] == (rank < 3).mean()
        assert found["top100_accuracy"] == 1.0

    def test_standard_error(self, rows):
        logits, labels, _, _, loss = rows
        wanted = loss.std(ddof=1) / np.sqrt(len(loss))
        assert computed(logits, labels, standard_error=True)["standard_error"] == pytest.approx(wanted, rel=1e-12)
        assert math.isnan(computed(logits[:1], [0], standard_error=True)["standard_error"])

    def test_ranks(self, rows):
        logits, labels, kept, p, _ = rows
        rank = 1 + (p > p[np.arange(len(p)), labels[kept]][:, None]).sum(1)
        found = computed(logits, labels, ranks=True)
        assert found["mean_rank"] == rank.mean()
        assert found["mean_reciprocal_rank"] == pytest.approx((1 / rank).mean(), rel=1e-15)

    def test_bits_per_byte(self, rows):
        logits, labels, kept, _, loss = rows
        each = np.random.default_rng(1).integers(1, 9, len(labels))
        found = computed(logits, labels, bytes=True, given={"bytes": each})
        assert found["bytes"] == each[kept].sum()
        assert found["bits_per_byte"] == pytest.approx(loss.sum() / np.log(2) / each[kept].sum(), rel=1e-12)
        together = computed(logits, labels, bytes=True, given={"bytes": 1000})
        assert together["bytes"] == 1000
        assert together["bits_per_byte"] == pytest.approx(loss.sum() / np.log(2) / 1000, rel=1e-12)

    @pytest.mark.parametrize("text", [False, True])
    def test_sequences_are_kept_apart_from_tokens(self, rows, text):
        logits, labels, kept, _, loss = rows
        ids = np.random.default_rng(1).integers(0, 20, len(labels))
        names = np.array([f"document {i}" for i in range(20)])[ids] if text else ids
        found = computed(logits, labels, sequences=True, given={"sequences": names})
        means = np.array([loss[ids[kept] == i].mean() for i in range(20)])
        assert found["sequences"] == 20
        assert found["sequence_loss"] == pytest.approx(means.mean(), rel=1e-12)
        assert found["sequence_perplexity"] == pytest.approx(np.exp(means).mean(), rel=1e-12)
        assert found["perplexity"] == pytest.approx(np.exp(loss.mean()), rel=1e-12)

    def test_ids_of_first_axes_count_for_all_their_rows(self):
        logits, labels = batch(60)
        one_each = np.repeat(np.arange(4), 15)
        for name in ("sequences", "groups"):
            whole = computed(logits, labels, **{name: True}, given={name: one_each})
            lines = computed(logits.reshape(4, 15, 9), labels.reshape(4, 15), **{name: True}, given={name: range(4)})
            assert lines == whole

    def test_calibration(self, rows):
        logits, labels, kept, p, _ = rows
        found = computed(logits, labels, calibration=10)
        confidence, correct = p.max(1), p.argmax(1) == labels[kept]
        bins = np.ceil(confidence * 10)
        gaps = [(bins == b).sum() * abs(correct[bins == b].mean() - confidence[bins == b].mean()) for b in set(bins)]
        assert found["ece"] == pytest.approx(sum(gaps) / len(p), abs=1e-9)
        assert sum(each["count"] for each in found["calibration"]) == len(p)
        for each in found["calibration"]:
            inside = (confidence > each["low"]) & (confidence <= each["high"])
            assert each["count"] == inside.sum()
            assert each["accuracy"] == correct[inside].mean()
            assert each["confidence"] == pytest.approx(confidence[inside].mean(), abs=1e-9)
        sizes = [abs(each["accuracy"] - each["confidence"]) for each in found["calibration"]]
        assert found["mce"] == pytest.approx(max(sizes), rel=1e-12)

    def test_brier(self, rows):
        logits, labels, kept, p, _ = rows
        truth = np.eye(9)[labels[kept]]
        wanted = np.square(p - truth).sum(1).mean()
        assert computed(logits, labels, brier=True)["brier"] == pytest.approx(wanted, rel=1e-12)

    def test_worst(self, rows):
        logits, labels, kept, _, loss = rows
        found = computed(logits, labels, worst=7)["worst"]
        order = np.argsort(-loss, kind="stable")[:7]
        assert [each["position"] for each in found] == np.flatnonzero(kept)[order].tolist()
        assert [each["loss"] for each in found] == pytest.approx(loss[order].tolist(), rel=1e-12)
        later = fl.Evaluation(worst=7)
        later.update(logits[:100], labels[:100])
        later.update(logits[100:], labels[100:])
        assert later.compute()["worst"] == found
        shifted = computed(logits, labels, worst=7, given={"positions": 10**12})["worst"]
        assert [each["position"] - 10**12 for each in shifted] == [each["position"] for each in found]

    def test_worst_of_equal_losses_are_the_first(self):
        made = fl.Evaluation(worst=3)
        for position in (5, 1, 9, 3):
            made.update(np.zeros((2, 4)), [0, 1], positions=[position, position + 1])
        assert [each["position"] for each in made.compute()["worst"]] == [1, 2, 3]
        made.update(np.array([[np.nan, 0.0, 0.0, 0.0]]), [0], positions=7)
        worst = made.compute()["worst"]
        assert worst[0]["position"] == 7
        assert math.isnan(worst[0]["loss"])

    @pytest.mark.parametrize("text", [False, True])
    def test_groups_are_evaluations_of_their_own(self, rows, text):
        logits, labels, *_ = rows
        ids = np.random.default_rng(1).integers(-3, 3, len(labels))
        names = np.array([f"group {i}" for i in range(-3, 3)])[ids + 3] if text else ids
        found = computed(logits, labels, groups=True, given={"groups": names})["groups"]
        assert list(found) == sorted(set(names.tolist()))
        for name, figures in found.items():
            assert figures == computed(logits[names == name], labels[names == name])

    def test_a_group_of_ignored_rows_alone_is_reported(self):
        found = computed(np.zeros((3, 4)), [-100, 0, -100], groups=True, given={"groups": [1, 2, 2]})["groups"]
        assert (found[1]["count"], found[1]["ignored"]) == (0, 1)
        assert (found[2]["count"], found[2]["ignored"]) == (1, 1)

    def test_finite_leaves_rows_out_that_have_no_finite_loss(self):
        logits, labels = batch(50, ignored=0)
        clean = computed(logits, labels, standard_error=True, brier=True)
        bad = np.concatenate([logits, np.full((2, 9), np.nan), [[-np.inf, *[0.0] * 8]]])
        more = np.concatenate([labels, [0, 0, 0]])
        options = {"standard_error": True, "brier": True}
        assert computed(bad, more, **options)["nonfinite"] == 3
        assert math.isnan(computed(bad, more, **options)["loss"])
        found = computed(bad, more, finite=True, **options)
        for name in ("loss", "perplexity", "bits_per_token", "standard_error"):
            assert found[name] == clean[name]


class TestBinary:
    def test_figures(self):
        rng = np.random.default_rng(0)
        logit, label = 2 * rng.standard_normal(400), rng.integers(-1, 2, 400)
        found = computed(logit, label, task="binary", ignore_index=-1, calibration=5, brier=True)
        z, y = logit[label >= 0], label[label >= 0]
        p, predicted = 1 / (1 + np.exp(-z)), z > 0
        assert found["loss"] == pytest.approx(-np.mean(np.log(np.where(y, p, 1 - p))), rel=1e-12)
        assert found["accuracy"] == (predicted == y).mean()
        assert found["precision"] == y[predicted].mean()
        assert found["recall"] == predicted[y == 1].mean()
        assert found["f1"] == pytest.approx(2 / (1 / found["precision"] + 1 / found["recall"]), rel=1e-15)
        assert found["brier"] == pytest.approx(np.mean((p - y) ** 2), rel=1e-12)
        assert (found["count"], found["ignored"], found["positives"]) == (len(y), 400 - len(y), y.sum())
        pairs = z[y == 1][:, None] - z[y == 0]
        area = np.mean((pairs > 0) + 0.5 * (pairs == 0))
        assert abs(found["auc"] - area) <= found["auc_error"] < 0.01
        confidence = np.maximum(p, 1 - p)
        assert all(each["low"] >= 0.4 for each in found["calibration"])
        means = sum(each["count"] * each["confidence"] for each in found["calibration"]) / len(y)
        assert means == pytest.approx(confidence.mean(), abs=1e-9)

    def test_the_area_of_one_class_and_of_ties(self):
        assert math.isnan(computed([1.0, 2.0], [1, 1], task="binary")["auc"])
        tied = computed([0.0, -0.0, 0.0], [1, 0, 1], task="binary")
        assert (tied["auc"], tied["auc_error"]) == (0.5, 0.5)
        odd = computed([np.inf, -np.inf, 1e300, -1e300], [1, 0, 1, 0], task="binary")
        assert (odd["auc"], odd["nonfinite"]) == (1.0, 0)
        wrong = computed([-1e-310, 1e-310], [1, 0], task="binary")
        assert wrong["auc"] in (0.0, 0.5)

    def test_a_nan_is_counted(self):
        found = computed([np.nan, 1.0, -1.0], [1, 1, 0], task="binary")
        assert math.isnan(found["loss"])
        assert (found["nonfinite"], found["auc"]) == (1, 1.0)

    @pytest.mark.parametrize("labels", [[[0, 2]], [[0.0, 1.0]], [0, 1]], ids=["2", "float", "shape"])
    def test_labels(self, labels):
        with pytest.raises((IndexError, TypeError, ValueError), match=r"labels"):
            computed([[0.5, 1.0]], labels, task="binary")


class TestRegression:
    def test_figures(self):
        rng = np.random.default_rng(0)
        target = 5 * rng.standard_normal((30, 20))
        prediction = target + rng.standard_normal((30, 20))
        found = computed(prediction, target, task="regression", quantiles=(0, 0.5, 0.9, 1), standard_error=True)
        error = prediction - target
        assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-14)
        assert found["mse"] == pytest.approx((error**2).mean(), rel=1e-14)
        assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-14)
        assert found["r2"] == pytest.approx(1 - (error**2).mean() / target.var(), rel=1e-12)
        assert found["standard_error"] == pytest.approx((error**2).std(ddof=1) / np.sqrt(600), rel=1e-12)
        for probability in (0, 0.5, 0.9, 1):
            wanted = np.quantile(np.abs(error), probability, method="lower")
            assert found[f"error_q{probability}"] == pytest.approx(wanted, rel=0.005 + 1e-9)

    @pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-20, 1e20, 1e300])
    def test_quantiles_of_any_size(self, scale):
        error = scale * np.random.default_rng(0).standard_normal(1000)
        found = computed(error, np.zeros(1000), task="regression", quantiles=(0.25, 0.99))
        for probability in (0.25, 0.99):
            wanted = np.quantile(np.abs(error), probability, method="lower")
            assert found[f"error_q{probability}"] == pytest.approx(wanted, rel=0.005 + 1e-9, abs=0)

    def test_what_is_not_finite_is_counted(self):
        options = {"task": "regression", "quantiles": 0.5}
        clean = computed([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], **options)
        odd = ([1.0, np.nan, 2.0, 4.0, np.inf], [1.5, 0.0, 2.0, 3.0, 0.0])
        found = computed(*odd, **options)
        assert (found["count"], found["nonfinite"]) == (5, 2)
        assert all(math.isnan(found[name]) for name in ("mae", "mse", "rmse", "r2"))
        found = computed(*odd, **options, finite=True)
        assert {name: found[name] for name in ("mae", "mse", "rmse", "r2")} == {
            name: clean[name] for name in ("mae", "mse", "rmse", "r2")
        }
        assert found["error_q0.5"] == pytest.approx(0.5, rel=0.005)

    def test_r2_of_targets_that_are_all_the_same(self):
        assert computed([1.0, 2.0], [1.0, 1.0], task="regression")["r2"] == -math.inf
        assert math.isnan(computed([1.0, 1.0], [1.0, 1.0], task="regression")["r2"])
        assert math.isnan(computed([1.0], [2.0], task="regression")["r2"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "vision"}, "task must be one of 'tokens', 'binary', 'regression', got 'vision'"),
        ({"task": "regression", "sequences": True}, "sequences is no option of task 'regression'"),
        ({"quantiles": 0.5}, "quantiles is no option of task 'tokens'"),
        ({"task": "regression", "quantiles": 1.5}, "quantiles must be numbers from 0 to 1"),
        ({"task": "regression", "quantiles": (0.5, 0.5)}, "names a number twice"),
        ({"calibration": -1}, "calibration must be from 0 to"),
        ({"calibration": 2.5}, "calibration must be a whole number"),
        ({"worst": "all"}, "worst must be a whole number, got 'all'"),
        ({"brier": "yes"}, "brier must be True or False, got 'yes'"),
        ({"top_k": (3, 3)}, "top_k names a number twice"),
        ({"top_k": (1, 0)}, "top_k must be at least 1"),
    ],
    ids=str,
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        fl.Evaluation(**options)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"groups": [0, 1]}, "was given groups, but the evaluation has no option groups"),
        ({}, {"positions": 3}, "was given positions, but the evaluation has no option worst"),
        ({"groups": True}, {}, "with the option groups, update needs groups"),
        ({"bytes": True}, {}, "with the option bytes, update needs bytes"),
        ({"groups": True}, {"groups": [0, 1, 2]}, r"groups must have the shape of the labels, \(2,\)"),
        ({"groups": True}, {"groups": [0.5, 1.0]}, "groups must hold integers"),
        ({"groups": True}, {"groups": [None, "a"]}, "groups must hold integers"),
        ({"bytes": True}, {"bytes": [1, -1]}, "bytes must not be negative"),
        ({"bytes": True}, {"bytes": -1}, "bytes must not be negative"),
        ({"bytes": True}, {"bytes": [1]}, "bytes must have the shape of the labels"),
        ({"worst": 1}, {"positions": 2**63 - 1}, "are no int64 numbers"),
        ({"worst": 1}, {"positions": [0]}, "positions must have the shape of the labels"),
    ],
    ids=str,
)
def test_updates_that_do_not_fit_the_options(options, given, message):
    made = fl.Evaluation(**options)
    with pytest.raises((ValueError, TypeError), match=message):
        made.update(np.zeros((2, 3)), [0, 1], **given)
    assert made.compute()["count"] == 0


@pytest.mark.parametrize("options", [{}, {"ranks": True}], ids=str)
def test_a_bad_label_in_a_later_block_leaves_everything_as_it_was(options):
    first = BLOCK_ROWS // 1000 + 1
    logits, labels = np.zeros((first + 1, 1000, 3), np.float32), np.zeros((first + 1, 1000), int)
    labels[first, 998] = 3
    made = fl.Evaluation(**options)
    with fl.num_threads(1), pytest.raises(IndexError, match=rf"target\[{first}, 998\] is 3"):
        made.update(logits, labels)
    assert made.compute()["count"] == 0


def test_losses_of_the_rows():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 3, 5)), rng.integers(0, 5, (4, 3))
    labels[1, 2] = -100
    losses = np.full((6, 4), 7.0)[::2, ::-1].T  # of any strides
    evaluation = fl.Evaluation()
    evaluation.update(logits, labels, losses=losses)
    expected = fl.cross_entropy(logits, np.maximum(labels, 0), reduction="none")
    expected[1, 2] = np.nan
    np.testing.assert_allclose(losses, expected, rtol=1e-13)
    with pytest.raises(ValueError, match=r"losses must have the shape of the labels, \(4, 3\), has \(12,\)"):
        evaluation.update(logits, labels, losses=losses.reshape(-1))
    assert evaluation.compute()["count"] == 11
