"""fastloss.xgboost in XGBoost: the same trees as of the built-in objectives, in both call forms."""

from __future__ import annotations

import doctest
import pickle
import re

import numpy as np
import pytest
from helpers import peer

xgboost = peer("xgboost")

from boosted import BITS, CLASSES, NOISE, NUMBERS, WEIGHT, X, twins  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.xgboost  # noqa: E402
from fastloss.xgboost import metric, objective  # noqa: E402

COMMON = {"max_depth": 4, "nthread": 1}
ROUNDS = 8
TWINS = twins(
    objective,
    {
        fl.binary_cross_entropy_with_logits: ("binary:logistic", {"base_score": 0.5}),
        fl.mse_loss: ("reg:squarederror", {"base_score": 0}),
        fl.poisson_nll_loss: ("count:poisson", {"base_score": 1, "max_delta_step": 0.7}),
        fl.gamma_nll_loss: ("reg:gamma", {"base_score": 1}),
        fl.tweedie_nll_loss: ("reg:tweedie", {"base_score": 1}),
        fl.cross_entropy: ("multi:softprob", {"base_score": 0, "num_class": 4}),
    },
)


def splits(booster):
    """The trees without the values of their leaves, which differ in the last bit."""
    return [re.sub("leaf=.*", "leaf", tree) for tree in booster.get_dump()]


def test_examples():
    assert doctest.testmod(fastloss.xgboost, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_same_trees(twin, weight):
    data = xgboost.DMatrix(X, twin.labels, weight=weight)
    params = {**COMMON, **twin.params}
    theirs = xgboost.train({**params, "objective": twin.name}, data, ROUNDS)
    ours = xgboost.train({**params, "base_score": 0}, data, ROUNDS, obj=twin.objective)
    assert splits(ours) == splits(theirs)
    margins = [each.predict(data, output_margin=True) for each in (ours, theirs)]
    np.testing.assert_allclose(*margins, rtol=1e-5, atol=2e-6)


def test_estimators_train_the_same_as_train():
    for estimator, loss, labels, params in [
        (xgboost.XGBClassifier, fl.sigmoid_focal_loss, BITS, {"objective": "binary:logistic", "base_score": 0.5}),
        (xgboost.XGBClassifier, fl.cross_entropy, CLASSES, {"objective": "multi:softprob", "num_class": 4}),
        (xgboost.XGBRegressor, fl.huber_loss, NUMBERS, {}),
    ]:
        for weight in (None, WEIGHT):
            made = objective(loss)
            score = {"base_score": params.get("base_score", 0)}
            model = estimator(objective=made, n_estimators=ROUNDS, **COMMON, **score)
            model.fit(X, labels, sample_weight=weight)
            data = xgboost.DMatrix(X, labels, weight=weight)
            booster = xgboost.train({**COMMON, **params, **score}, data, ROUNDS, obj=objective(loss))
            assert model.get_booster().get_dump() == booster.get_dump()
            assert model.get_params()["objective"] is made


def test_metric_of_both_forms():
    options = {"alpha": 0.3}
    data = xgboost.DMatrix(X[:1000], BITS[:1000], weight=WEIGHT[:1000])
    valid = xgboost.DMatrix(X[1000:], BITS[1000:], weight=WEIGHT[1000:])
    made, log = metric(fl.sigmoid_focal_loss, **options), {}
    booster = xgboost.train(
        {**COMMON, "objective": "binary:logistic", "base_score": 0.5}, data, ROUNDS,
        obj=objective(fl.sigmoid_focal_loss, **options), custom_metric=made, evals=[(valid, "valid")],
        evals_result=log, verbose_eval=False,
    )  # fmt: skip
    each = fl.sigmoid_focal_loss(booster.predict(valid, output_margin=True), BITS[1000:], **options, reduction="none")
    want = np.average(each, weights=WEIGHT[1000:])
    assert log["valid"]["sigmoid_focal_loss"][-1] == pytest.approx(want, rel=1e-5)
    model = xgboost.XGBClassifier(
        objective=objective(fl.sigmoid_focal_loss, **options), eval_metric=made, n_estimators=ROUNDS, base_score=0.5,
        **COMMON,
    )  # fmt: skip
    model.fit(
        X[:1000], BITS[:1000], sample_weight=WEIGHT[:1000], eval_set=[(X[1000:], BITS[1000:])],
        sample_weight_eval_set=[WEIGHT[1000:]], verbose=False,
    )  # fmt: skip
    ours = model.evals_result()["validation_0"]["sigmoid_focal_loss"]
    assert ours == log["valid"]["sigmoid_focal_loss"]


def test_early_stopping_takes_less_for_better():
    made = metric(fl.binary_cross_entropy_with_logits)
    model = xgboost.XGBClassifier(
        objective=objective(fl.binary_cross_entropy_with_logits), eval_metric=made, n_estimators=300,
        early_stopping_rounds=3, learning_rate=1.0, base_score=0.5, **COMMON,
    )  # fmt: skip
    model.fit(X[:1000], BITS[:1000], eval_set=[(X[1000:], BITS[1000:])], verbose=False)
    history = model.evals_result()["validation_0"]["binary_cross_entropy_with_logits"]
    assert model.best_iteration == int(np.argmin(history)) < 299
    assert len(history) == model.best_iteration + 4


def test_several_targets():
    labels = np.stack([NUMBERS, NOISE], 1)
    data = xgboost.DMatrix(X, labels, weight=WEIGHT)
    theirs = xgboost.train({**COMMON, "base_score": 0}, data, ROUNDS)
    ours = xgboost.train({**COMMON, "base_score": 0}, data, ROUNDS, obj=objective(fl.mse_loss, weight=0.5))
    assert splits(ours) == splits(theirs)


def test_refused():
    data = xgboost.DMatrix(X, CLASSES)
    with pytest.raises(ValueError, match="is num_class set"):
        xgboost.train(COMMON, data, 1, obj=objective(fl.cross_entropy))
    with pytest.raises(IndexError, match="is 3, out of range for 3 classes"):
        xgboost.train({**COMMON, "num_class": 3}, data, 1, obj=objective(fl.cross_entropy))


def test_model_with_an_objective_pickles():
    model = xgboost.XGBRegressor(objective=objective(fl.quantile_loss, q=0.9), n_estimators=2, **COMMON)
    model.fit(X, NUMBERS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.objective.options == {"q": 0.9, "hess": 1.0}
