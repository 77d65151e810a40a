"""fastloss.catboost in CatBoost: the same predictions as of the built-in objectives."""

from __future__ import annotations

import doctest
import pickle

import numpy as np
import pytest
from helpers import peer

catboost = peer("catboost")

from boosted import BITS, CLASSES, COUNTS, WEIGHT, X, twins  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.catboost  # noqa: E402
from fastloss.catboost import metric, objective  # noqa: E402

COMMON = {
    "iterations": 8, "depth": 4, "learning_rate": 0.1, "boost_from_average": False, "bootstrap_type": "No",
    "leaf_estimation_iterations": 1, "verbose": False, "allow_writing_files": False, "thread_count": 2,
}  # fmt: skip
TWINS = [
    twin
    for twin in twins(
        lambda loss, hess_scale=None, **options: objective(loss, **options),
        {
            fl.binary_cross_entropy_with_logits: ("Logloss", {}),
            fl.mse_loss: ("RMSE", {}),
            fl.poisson_nll_loss: ("Poisson", {}),
            fl.gamma_nll_loss: ("", {}),
            fl.tweedie_nll_loss: ("Tweedie:variance_power=1.5", {}),
            fl.cross_entropy: ("MultiClass", {"classes_count": 4, "leaf_estimation_method": "Gradient"}),
        },
    )
    if twin.name
]


def fitted(params, labels, weight, rows):
    pool = catboost.Pool(X[:rows], labels[:rows], weight=None if weight is None else weight[:rows])
    return catboost.CatBoost({**COMMON, **params}).fit(pool)


def test_examples():
    assert doctest.testmod(fastloss.catboost, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("method", ["Newton", "Gradient"])
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_same_predictions(twin, method, weight):
    params = {"leaf_estimation_method": method, **twin.params}
    rows = 200 if twin.name == "MultiClass" else len(X)  # of which CatBoost asks one by one
    theirs = fitted({**params, "loss_function": twin.name}, twin.labels, weight, rows)
    mean = metric(fl.cross_entropy if twin.name == "MultiClass" else fl.mse_loss)
    ours = fitted({**params, "loss_function": twin.objective, "eval_metric": mean}, twin.labels, weight, rows)
    raw = [each.predict(X, prediction_type="RawFormulaVal") for each in (ours, theirs)]
    np.testing.assert_allclose(*raw, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("loss", "labels", "params"),
    [(fl.sigmoid_focal_loss, BITS, {}), (fl.cross_entropy, CLASSES, {"classes_count": 4, "iterations": 2})],
)
def test_metric(loss, labels, params):
    made = {"loss_function": objective(loss), "eval_metric": metric(loss), **params}
    model = fitted(made, labels, WEIGHT, 300)
    raw = model.predict(X[:300], prediction_type="RawFormulaVal")
    want = np.average(loss(raw, labels[:300], reduction="none"), weights=WEIGHT[:300])
    history = model.get_evals_result()["learn"]["Metric"]
    assert history[-1] == pytest.approx(want, rel=1e-9)
    assert history[-1] < history[0]


def test_range_is_read_without_a_python_loop():
    """CatBoost looks for exactly this: two columns of float64."""
    found = objective(fl.mse_loss).calc_ders_range(np.array([1.0, 3.0]), np.array([1.0, 1.0], np.float32), None)
    assert type(found) is np.ndarray
    assert found.dtype == np.float64
    assert found.tolist() == [[0, -2], [-4, -2]]


def test_error_says_what_it_was():
    made = {"loss_function": objective(fl.binary_cross_entropy), "eval_metric": metric(fl.binary_cross_entropy)}
    with pytest.raises(catboost.CatBoostError, match=r"input and target must be in \[0, 1\]"):
        fitted(made, COUNTS, None, 100)


def test_copies():
    for made in (objective(fl.sigmoid_focal_loss, alpha=0.3), metric(fl.sigmoid_focal_loss, alpha=0.3)):
        assert repr(pickle.loads(pickle.dumps(made))) == repr(made)
