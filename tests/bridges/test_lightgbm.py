"""fastloss.lightgbm in LightGBM: the same trees as of the built-in objectives, in both call forms."""

from __future__ import annotations

import doctest
import pickle

import numpy as np
import pytest
from helpers import peer

lightgbm = peer("lightgbm")

from boosted import BITS, CLASSES, NUMBERS, WEIGHT, X, twins  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.lightgbm  # noqa: E402
from fastloss.lightgbm import metric, objective  # noqa: E402

COMMON = {"num_leaves": 8, "num_threads": 1, "verbose": -1, "boost_from_average": False}
ESTIMATOR = {"num_leaves": 8, "n_jobs": 1, "verbose": -1}
ROUNDS = 8
TWINS = twins(
    objective,
    {
        fl.binary_cross_entropy_with_logits: ("binary", {}),
        fl.mse_loss: ("regression", {}),
        fl.poisson_nll_loss: ("poisson", {}),
        fl.gamma_nll_loss: ("gamma", {}),
        fl.tweedie_nll_loss: ("tweedie", {}),
        fl.cross_entropy: ("multiclass", {"num_class": 4}),
    },
)


def splits(booster):
    """The trees without the values of their leaves, which may differ in the last bit."""
    table = booster.trees_to_dataframe()
    return table[["node_index", "split_feature", "threshold", "count"]].to_csv()


def train(params, labels, weight, **options):
    return lightgbm.train({**COMMON, **params}, lightgbm.Dataset(X, labels, weight=weight), ROUNDS, **options)


def test_examples():
    assert doctest.testmod(fastloss.lightgbm, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_same_trees(twin, weight):
    theirs = train({**twin.params, "objective": twin.name}, twin.labels, weight)
    ours = train({**twin.params, "objective": twin.objective}, twin.labels, weight)
    assert splits(ours) == splits(theirs)
    scores = [each.predict(X, raw_score=True) for each in (ours, theirs)]
    np.testing.assert_allclose(*scores, rtol=1e-6, atol=1e-6)


def test_estimators_train_the_same_as_train():
    for estimator, loss, labels, params in [
        (lightgbm.LGBMClassifier, fl.sigmoid_focal_loss, BITS, {}),
        (lightgbm.LGBMClassifier, fl.cross_entropy, CLASSES, {"num_class": 4}),
        (lightgbm.LGBMRegressor, fl.huber_loss, NUMBERS, {}),
    ]:
        for weight in (None, WEIGHT):
            model = estimator(objective=objective(loss), n_estimators=ROUNDS, **ESTIMATOR)
            model.fit(X, labels, sample_weight=weight)
            booster = train({"objective": objective(loss), **params}, labels, weight)
            np.testing.assert_array_equal(model.predict(X, raw_score=True), booster.predict(X))


@pytest.mark.parametrize(
    ("loss", "options", "labels", "params"),
    [(fl.sigmoid_focal_loss, {"alpha": 0.3}, BITS, {}), (fl.cross_entropy, {}, CLASSES, {"num_class": 4})],
)
def test_metric_of_both_forms(loss, options, labels, params):
    data = lightgbm.Dataset(X[:1000], labels[:1000], weight=WEIGHT[:1000])
    valid = lightgbm.Dataset(X[1000:], labels[1000:], weight=WEIGHT[1000:], reference=data)
    log = {}
    booster = lightgbm.train(
        {**COMMON, **params, "objective": objective(loss, **options)}, data, ROUNDS, valid_sets=[valid],
        feval=metric(loss, **options), callbacks=[lightgbm.record_evaluation(log)],
    )  # fmt: skip
    each = loss(booster.predict(X[1000:]), labels[1000:], **options, reduction="none")
    want = np.average(each, weights=WEIGHT[1000:])
    assert log["valid_0"][loss.name][-1] == pytest.approx(want, rel=1e-6)
    model = lightgbm.LGBMClassifier(objective=objective(loss, **options), n_estimators=ROUNDS, **ESTIMATOR)
    model.fit(
        X[:1000], labels[:1000], sample_weight=WEIGHT[:1000], eval_X=X[1000:], eval_y=labels[1000:],
        eval_sample_weight=[WEIGHT[1000:]], eval_metric=metric(loss, **options),
    )  # fmt: skip
    assert model.evals_result_["valid_0"][loss.name] == log["valid_0"][loss.name]


def test_early_stopping_takes_less_for_better():
    data = lightgbm.Dataset(X[:1000], BITS[:1000])
    valid = lightgbm.Dataset(X[1000:], BITS[1000:], reference=data)
    log = {}
    booster = lightgbm.train(
        {**COMMON, "objective": objective(fl.binary_cross_entropy_with_logits), "learning_rate": 0.5}, data, 300,
        valid_sets=[valid], feval=metric(fl.binary_cross_entropy_with_logits),
        callbacks=[lightgbm.early_stopping(3, verbose=False), lightgbm.record_evaluation(log)],
    )  # fmt: skip
    history = log["valid_0"]["binary_cross_entropy_with_logits"]
    assert booster.best_iteration == int(np.argmin(history)) + 1 < 300


def test_classes_are_read_without_a_copy():
    scores = np.zeros((50, 4), order="F")
    for each in objective(fl.cross_entropy)(np.zeros(50, np.float32), scores):
        assert np.shares_memory(each, each.ravel(order="F"))


def test_refused():
    with pytest.raises(ValueError, match="is num_class set"):
        train({"objective": objective(fl.cross_entropy)}, CLASSES, None)
    with pytest.raises(IndexError, match="is 3, out of range for 3 classes"):
        train({"objective": objective(fl.cross_entropy), "num_class": 3}, CLASSES, None)


def test_model_with_an_objective_pickles():
    model = lightgbm.LGBMRegressor(objective=objective(fl.quantile_loss, q=0.9), n_estimators=2, **ESTIMATOR)
    model.fit(X, NUMBERS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.objective.options == {"q": 0.9, "hess": 1.0}
