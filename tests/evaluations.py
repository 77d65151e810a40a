"""Evaluations of every task with every option on, and batches for them: what the tests of states and merging share."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import strategies as st

import fastloss as fl

TASKS = {
    "tokens": {
        "top_k": (1, 3),
        "ignore_index": -1,
        "standard_error": True,
        "ranks": True,
        "bytes": True,
        "sequences": True,
        "calibration": 4,
        "brier": True,
        "worst": 3,
        "groups": True,
    },
    "binary": {
        "ignore_index": -1,
        "standard_error": True,
        "calibration": 4,
        "brier": True,
        "worst": 3,
        "groups": True,
    },
    "regression": {"standard_error": True, "quantiles": (0.0, 0.5, 0.9), "worst": 3, "groups": True},
}
BY_ROW = ("groups", "sequences", "bytes")
LETTERS = np.array(["a", "b", "c", ""])


def make(task):
    return fl.Evaluation(task=task, **TASKS[task])


@st.composite
def rows(draw, task, most=20, odd=True):
    """What an update takes, for rows of a task: some of them ignored and, if `odd`, some infinite or NaN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, dtype = draw(st.integers(0, most)), draw(st.sampled_from([np.float16, np.float32, np.float64]))
    shape = (count, 5) if task == "tokens" else (count,)
    logits = (draw(st.sampled_from([1e-3, 3.0, 30.0])) * rng.standard_normal(shape)).astype(dtype)
    if odd and count and draw(st.booleans()):
        logits.flat[rng.integers(logits.size)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    if task == "regression":
        labels = rng.standard_normal(count).astype(draw(st.sampled_from([np.float32, np.float64])))
    else:
        labels = rng.integers(-1, 5 if task == "tokens" else 2, count)
    given = {"logits": logits, "labels": labels, "positions": np.arange(count) + draw(st.integers(-9, 9))}
    given["groups"] = rng.integers(-2, 2, count) if draw(st.booleans()) else LETTERS[rng.integers(0, 4, count)]
    if task == "tokens":
        given["sequences"], given["bytes"] = rng.integers(0, 4, count), rng.integers(0, 9, count)
    return given


def cut(given, first, last):
    return {name: values[first:last] for name, values in given.items()}


def evaluated(task, *batches):
    made = make(task)
    for batch in batches:
        made.update(**batch)
    return made


def text(evaluation):
    """All there is to an evaluation: its state, and its figures to the last bit."""
    figures = [evaluation.compute(), evaluation.compute(finite=True)]
    return json.dumps([evaluation.to_dict(), *figures], sort_keys=False, default=str)
