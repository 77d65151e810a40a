"""fastloss.sklearn beside scikit-learn: log_loss with its numbers, errors and warnings, and scorers in its searches."""

from __future__ import annotations

import doctest
import pickle
import warnings

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

peer("sklearn")

from scipy.optimize import minimize  # noqa: E402
from sklearn import datasets, linear_model, metrics, model_selection  # noqa: E402

import fastloss as fl  # noqa: E402
import fastloss.sklearn  # noqa: E402
from fastloss.scipy import linear_objective  # noqa: E402
from fastloss.sklearn import log_loss, scorer  # noqa: E402


def outcome(function, *arguments, **options):
    """The number, or the error, and the warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = function(*arguments, **options)
        except Exception as error:  # whatever scikit-learn raises
            found = error
    return found, [str(each.message) for each in said]


def same(y, proba, **options):
    """Both libraries say the same."""
    (ours, said), (theirs, warned) = (outcome(each, y, proba, **options) for each in (log_loss, metrics.log_loss))
    assert said == warned
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs)
        assert str(ours) == str(theirs)
    else:
        assert type(ours) is float
        assert ours == pytest.approx(theirs, rel=1e-5 if np.asarray(proba).dtype == np.float32 else 1e-12, nan_ok=True)
    return ours


NAMES = {
    "numbers": lambda k: np.arange(k),
    "others": lambda k: np.array([-7, 3, 5, 1000])[:k],
    "floats": lambda k: np.arange(k) * 2.0,
    "halves": lambda k: np.arange(k) / 2,
    "strings": lambda k: np.array(["ant", "bee", "cat", "dog"])[:k],
    "objects": lambda k: np.array(["ant", "bee", "cat", "dog"], object)[:k],
    "mixed": lambda k: np.array([1, "bee", 2.0, None], object)[:k],
    "bytes": lambda k: np.array([b"ant", b"bee", b"cat", b"dog"])[:k],
    "unsigned": lambda k: np.arange(k).astype(np.uint8),
    "bools": lambda k: np.array([False, True, True, True])[:k],
}
DAMAGE = {
    "none": lambda p, at: None,
    "sum": lambda p, at: p.__setitem__(at, p[at] * 0.9),
    "small sum": lambda p, at: p.__setitem__(at, p[at] * (1 + np.sqrt(np.finfo(p.dtype).eps) / 2)),
    "negative": lambda p, at: p.__setitem__(at, -p[at]),
    "negative zero": lambda p, at: p.__setitem__(at, p[at] * 0 * -1),
    "above": lambda p, at: p.__setitem__(at, p[at] + 1),
    "nan": lambda p, at: p.__setitem__(at, np.nan),
    "inf": lambda p, at: p.__setitem__(at, np.inf),
    "sure": lambda p, at: p.__setitem__(at, np.eye(1, p.shape[-1])[0] if p.ndim == 2 else 1),
}


def test_examples():
    assert doctest.testmod(fastloss.sklearn, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@settings(max_examples=400, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_log_loss(data, seed):
    rng = np.random.default_rng(seed)
    n, classes = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 4))
    names = NAMES[data.draw(st.sampled_from(list(NAMES)))](classes)
    y = names[rng.integers(0, classes, n)]
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.float16, int]))
    proba = rng.dirichlet(np.ones(classes) / 2, n).astype(dtype)
    form = data.draw(st.sampled_from(["rows", "rows", "one", "column", "fortran", "list"]))
    if form in ("one", "column"):
        proba = proba[:, -1] if form == "one" else proba[:, -1:]
    if n and dtype in (np.float32, np.float64):
        DAMAGE[data.draw(st.sampled_from(["none", "none", *DAMAGE]))](proba, int(rng.integers(n)))
    if form == "fortran":
        proba = np.asfortranarray(proba)
    labels = {"default": None, "all": names, "reversed": names[::-1], "list": names.tolist(), "fewer": names[1:]}
    weights = {
        "default": None, "weights": rng.uniform(0, 2, n), "integers": rng.integers(0, 3, n), "zeros": np.zeros(n),
        "negative": rng.normal(size=n), "nan": np.full(n, np.nan), "short": np.ones(max(n - 1, 0)),
    }  # fmt: skip
    options = {
        "labels": labels[data.draw(st.sampled_from(["default", "all", *labels]))],
        "sample_weight": weights[data.draw(st.sampled_from(["default", "weights", *weights]))],
        "normalize": data.draw(st.booleans()),
    }
    if form == "list":
        same(y.tolist(), proba.tolist(), **options)
    else:
        same(y, proba, **options)


@pytest.mark.parametrize("y", [np.eye(3)[[0, 1, 2]], np.array([[0], [1], [2]]), 3, [0, 1], ["a", 1, None]])
def test_other_targets(y):
    same(y, np.full((3, 3), 1 / 3))


def test_pandas():
    pandas = peer("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.dirichlet(np.ones(3), 20), index=np.arange(20)[::-1])
    for y in (rng.integers(0, 3, 20), np.array(["a", "b", "c"])[rng.integers(0, 3, 20)]):
        assert isinstance(same(pandas.Series(y), frame), float)


def test_many_rows():
    """So many that they are looked at in blocks; what is wrong may be anywhere."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(400), 3000).astype(np.float32)
    y = rng.integers(0, 400, 3000)
    assert isinstance(same(y, proba), float)
    for at in (0, 1333, 2999):
        kept = proba[at].copy()
        proba[at, 17] = -1e-6
        assert isinstance(outcome(log_loss, y, proba)[0], ValueError)
        proba[at] = kept * 0.99
        assert outcome(log_loss, y, proba)[1] == outcome(metrics.log_loss, y, proba)[1] != []
        proba[at] = kept


def test_without_checks():
    proba = np.array([[0.25, 9.0], [-3.0, 0.5]])
    assert log_loss([0, 1], proba, check_input=False) == pytest.approx(np.log(8) / 2)
    with pytest.raises(ValueError, match="greater than 1"):
        log_loss([1, 1], proba, labels=[0, 1], check_input=False)


def test_names_of_the_predictions():
    y, proba = [0, 1], [0.2, 0.7]
    assert log_loss(y, y_pred=proba) == log_loss(y, y_proba=proba) == log_loss(y, proba)
    for wrong in ({}, {"y_proba": proba, "y_pred": proba}):
        with pytest.raises(TypeError, match="either y_proba or y_pred"):
            log_loss(y, **wrong)


FLOWERS = datasets.load_iris(return_X_y=True)
BINARY = datasets.make_classification(300, 5, random_state=0)
WORDS = (BINARY[0], np.array(["no", "yes"])[BINARY[1]])
NUMBERS = datasets.make_regression(100, 5, noise=5, random_state=0)
LOGISTIC = linear_model.LogisticRegression(max_iter=1000)


@pytest.mark.parametrize(
    ("model", "data", "ours", "theirs"),
    [
        (LOGISTIC, FLOWERS, scorer(fl.cross_entropy, response_method="decision_function"), "neg_log_loss"),
        (LOGISTIC, BINARY, scorer(fl.binary_cross_entropy, response_method="predict_proba"), "neg_log_loss"),
        (LOGISTIC, WORDS, scorer(fl.binary_cross_entropy, response_method="predict_proba"), "neg_log_loss"),
        (
            LOGISTIC, WORDS, scorer(fl.binary_cross_entropy_with_logits, response_method="decision_function"),
            "neg_log_loss",
        ),
        (linear_model.Ridge(), NUMBERS, scorer(fl.mse_loss), "neg_mean_squared_error"),
        (linear_model.Ridge(), NUMBERS, scorer(fl.l1_loss), "neg_mean_absolute_error"),
        (
            linear_model.Ridge(), NUMBERS, scorer(fl.quantile_loss, q=0.3),
            metrics.make_scorer(metrics.mean_pinball_loss, alpha=0.3, greater_is_better=False),
        ),
        (
            LOGISTIC, WORDS, scorer(fl.hinge_loss, response_method="decision_function"),
            metrics.make_scorer(metrics.hinge_loss, response_method="decision_function", greater_is_better=False),
        ),
    ],
)  # fmt: skip
def test_scorers(model, data, ours, theirs):
    found = model_selection.cross_validate(model, *data, cv=3, scoring={"ours": ours, "theirs": theirs})
    np.testing.assert_allclose(found["test_ours"], found["test_theirs"], rtol=1e-6)
    assert isinstance(ours(model.fit(*data), *data, sample_weight=np.ones(len(data[1]))), float)


def test_scorer_weights_and_pickles():
    model = LOGISTIC.fit(*BINARY)
    weight = np.random.default_rng(0).uniform(size=len(BINARY[1]))
    ours = pickle.loads(pickle.dumps(scorer(fl.binary_cross_entropy, response_method="predict_proba")))
    theirs = -metrics.log_loss(BINARY[1], model.predict_proba(BINARY[0])[:, 1], sample_weight=weight)
    assert ours(model, *BINARY, sample_weight=weight) == pytest.approx(theirs)


def test_search():
    search = model_selection.GridSearchCV(
        LOGISTIC, {"C": [1e-4, 1e-2, 1]}, scoring=scorer(fl.focal_loss, response_method="decision_function"), cv=3
    )
    search.fit(*FLOWERS)
    assert search.best_params_ == {"C": search.cv_results_["param_C"][search.cv_results_["mean_test_score"].argmax()]}
    assert len(set(search.cv_results_["mean_test_score"])) == 3


def test_a_class_that_is_not_there():
    x, y = FLOWERS
    model, few = LOGISTIC.fit(x, y), y < 2
    scoring = {"response_method": "decision_function"}
    with pytest.raises(ValueError, match="predictions are of 3 classes, the labels of 2: name all of them by labels="):
        scorer(fl.cross_entropy, **scoring)(model, x[few], y[few])
    named = scorer(fl.cross_entropy, labels=[0, 1, 2], **scoring)(model, x[few], y[few])
    assert named == pytest.approx(-metrics.log_loss(y[few], model.predict_proba(x[few]), labels=[0, 1, 2]))
    with pytest.raises(ValueError, match="labels must be the sorted classes"):
        scorer(fl.cross_entropy, labels=[1, 2, 3], **scoring)(model, x[few], y[few])


@pytest.mark.parametrize(("loss", "data"), [(fl.binary_cross_entropy_with_logits, BINARY), (fl.cross_entropy, FLOWERS)])
def test_logistic_regression_by_scipy(loss, data):
    """fastloss.scipy and L-BFGS find the coefficients that scikit-learn finds."""
    x, y = data
    model = linear_model.LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(x, y)
    f = linear_objective(loss, x, y, alpha=1 / (0.5 * len(y)))
    w = minimize(f, f.initial, jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-9, "maxiter": 5000}).x
    np.testing.assert_allclose(f.coef(w).T, np.squeeze(model.coef_), atol=2e-5)
    # Of several classes all intercepts may be moved together.
    centred = [each - each.mean() if len(each) > 1 else each for each in (np.ravel(f.intercept(w)), model.intercept_)]
    np.testing.assert_allclose(*centred, atol=5e-5)
