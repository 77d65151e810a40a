"""Work that another library hands out: a round of boosting, a score of probabilities."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

import fastloss as fl
from fastloss.boosting import Objective

from .measure import Contender, Plan, interleave
from .problem import Array
from .run import FASTLOSS, Outcome, Result, differences, numbers
from .work import Goal

ROWS = 5_000_000
PROBABILITIES = (100_000, 1000)


def numpy_focal(labels: Array, margins: Array, weight: Array | None) -> tuple[Array, Array]:
    """Gradient and Hessian of the focal loss (alpha 0.25, gamma 2), without overflow, as one writes it by hand."""
    real = margins.dtype.type
    exps = np.exp(-np.abs(margins))
    p = np.where(margins >= 0, real(1), exps) / (1 + exps)
    softplus = np.log1p(exps) + np.maximum(margins, 0)
    positive = labels > 0
    alpha = np.where(positive, real(0.25), real(0.75))
    wrong = np.where(positive, 1 - p, p)
    cost = np.where(positive, softplus - margins, softplus)
    right = 1 - wrong
    scaled = alpha * wrong * wrong
    grad = scaled * (2 * right * cost + wrong) * np.where(positive, real(-1), real(1))
    hess = np.maximum(scaled * right * ((4 * right - 2 * wrong) * cost + 5 * wrong), real(1e-16))
    return (grad, hess) if weight is None else (grad * weight, hess * weight)


def run_objective(plan: Plan, dtype: str, weighted: bool) -> Result:
    """A round's derivatives of the focal loss: float32 margins are XGBoost's, float64 LightGBM's."""
    random = np.random.default_rng(0)
    margins = random.normal(0, 3, ROWS).astype(dtype)
    labels = (random.random(ROWS) < 0.1).astype(np.float32)
    weight = random.random(ROWS, np.float32) if weighted else None
    ours = Objective(fl.sigmoid_focal_loss, floor=1e-16)
    words = f"boosting round of sigmoid_focal_loss {ROWS} {dtype}" + " weighted" * weighted
    return compare(
        words,
        {
            FASTLOSS: functools.partial(ours, labels, margins, weight),
            "numpy": functools.partial(numpy_focal, labels, margins, weight),
        },
        10,
        plan,
    )


def run_log_loss(plan: Plan, check_input: bool) -> list[Result]:
    """scikit-learn's log_loss, with and without a look at the probabilities of other classes."""
    if not find_spec("sklearn"):
        return []
    random = np.random.default_rng(0)
    proba = fl.softmax(random.standard_normal(PROBABILITIES, np.float32))
    y = random.integers(PROBABILITIES[1], size=PROBABILITIES[0])
    ours = functools.partial(import_module("fastloss.sklearn").log_loss, y, proba, check_input=check_input)
    theirs = functools.partial(import_module("sklearn.metrics").log_loss, y, proba)
    shape = "x".join(map(str, PROBABILITIES))
    words = f"log_loss {shape} float32" + " check_input=False" * (not check_input)
    return [compare(words, {FASTLOSS: ours, "scikit-learn": theirs}, 100, plan)]


def compare(name: str, calls: dict[str, Callable[[], Any]], times: float, plan: Plan) -> Result:
    """Measure in turns, and judge by how many times as long the other takes."""
    result = Result(name)
    expected, other = (numbers(call()) for call in calls.values())
    result.notes += differences(list(calls)[1], expected, other, 1e-4)
    result.samples = interleave({name: Contender(call) for name, call in calls.items()}, plan)
    own, peer = (sample.median for sample in result.samples.values())
    result.outcomes = [Outcome(Goal("peer", times), peer / own)]
    return result


def jobs(plan: Plan) -> dict[str, Callable[[], list[Result]]]:
    """By what `--filter` searches."""
    found: dict[str, Callable[[], list[Result]]] = {
        f"boosting round {dtype}{' weighted' * weighted}": lambda dtype=dtype, weighted=weighted: [  # type: ignore[misc]
            run_objective(plan, dtype, weighted)
        ]
        for dtype in ("float32", "float64")
        for weighted in (False, True)
    }
    for check_input in (True, False):
        words = "log_loss" + " check_input=False" * (not check_input)
        found[words] = lambda check_input=check_input: run_log_loss(plan, check_input)  # type: ignore[misc]
    return found
