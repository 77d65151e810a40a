"""States of evaluations: merging leaves no trace, JSON brings them back, and garbage is refused."""

from __future__ import annotations

import copy
import enum
import itertools
import json
import pickle
import re

import numpy as np
import pytest
from evaluations import TASKS, cut, evaluated, make, rows, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.evaluation.tokens import BLOCK_ROWS

tasks = pytest.mark.parametrize("task", TASKS)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@tasks
@few
@given(data=st.data())
def test_merging_is_associative_commutative_and_has_an_identity(task, data):
    a, b, c = (evaluated(task, data.draw(rows(task))) for _ in range(3))

    def merged(*parts):
        made = make(task)
        made.merge_state(parts)
        return made

    assert text(merged(merged(a, b), c)) == text(merged(a, merged(b, c))) == text(merged(c, b, a))
    assert text(merged(a, make(task))) == text(merged(make(task), a)) == text(a)


@tasks
@few
@given(data=st.data())
def test_neither_batches_nor_shards_nor_their_order_show(task, data):
    given = data.draw(rows(task, most=30))
    size = len(given["labels"])
    whole = evaluated(task, given)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, size), max_size=4))), size]
    pieces = [cut(given, first, last) for first, last in itertools.pairwise(cuts)]
    order = data.draw(st.permutations(pieces))
    assert text(evaluated(task, *order)) == text(whole)
    total = make(task)
    total.merge_state(evaluated(task, piece).to_dict() for piece in order)
    assert text(total) == text(whole)


@tasks
@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_show(task, threads):
    rng = np.random.default_rng(0)
    size = BLOCK_ROWS + 40_000  # more than a block of every task
    logits = rng.standard_normal((size, 5) if task == "tokens" else size).astype(np.float32)
    labels = logits + 1 if task == "regression" else rng.integers(-1, 2, size)
    extras = {"groups": rng.integers(0, 3, size)}
    if task == "tokens":
        extras |= {"sequences": rng.integers(0, 50, size), "bytes": rng.integers(0, 5, size)}
    with fl.num_threads(threads):
        found = evaluated(task, {"logits": logits, "labels": labels, **extras})
    pieces = [{"logits": logits[i::7], "labels": labels[i::7]} for i in range(7)]
    pieces = [
        piece | {name: each[i::7] for name, each in extras.items()} | {"positions": np.arange(size)[i::7]}
        for i, piece in enumerate(pieces)
    ]
    assert text(evaluated(task, *pieces)) == text(found)


@tasks
@few
@given(data=st.data())
def test_json_and_pickle_bring_everything_back(task, data):
    whole = evaluated(task, data.draw(rows(task)))
    again = fl.Evaluation.from_dict(json.loads(json.dumps(whole.to_dict(), allow_nan=False)))
    assert text(again) == text(pickle.loads(pickle.dumps(whole))) == text(copy.deepcopy(whole)) == text(whole)
    assert repr(again) == repr(whole)
    assert again.options == whole.options
    again.update(**data.draw(rows(task)))
    whole.reset()
    assert text(whole) == text(make(task))


@tasks
def test_an_update_of_no_rows_changes_nothing(task):
    made = make(task)
    before = text(made)
    empty = {"logits": np.zeros((0, 5) if task == "tokens" else 0), "labels": np.zeros(0, int), "groups": []}
    if task == "tokens":
        empty |= {"sequences": [], "bytes": []}
        made.update(np.zeros((1, 5)), [-1], groups=[1], sequences=[1], bytes=[9])
        assert made.compute()["count"] == made.compute()["bytes"] == made.compute()["sequences"] == 0
        made.reset()
    made.update(**empty)
    if task == "tokens":  # but that there are 5 classes
        made._classes = None
    assert text(made) == before


def places(value, path=()):
    """Every place in a nested state, the inner ones too."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def put(state, path, value):
    state = copy.deepcopy(state)
    *way, last = path
    at = state
    for key in way:
        at = at[key]
    if value is Change.DELETED:
        del at[last]
    elif value is Change.ADDED:
        at[last] = {**at[last], "more": 1} if isinstance(at[last], dict) else [at[last], 0]
    else:
        at[last] = value
    return state


class Change(enum.Enum):
    """What becomes of a place, but another value; with a name that is the same in every process."""

    DELETED = 1
    ADDED = 2


garbage = st.one_of(
    st.sampled_from([*Change, None, True, -1, 2**70, 0.5, float("nan"), "", "0x1p0", "x", [], {}, [[1, {}]]]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)


def good(task):
    rng = np.random.default_rng(1)
    shape = (8, 5) if task == "tokens" else (8,)
    given = {"logits": rng.standard_normal(shape), "labels": np.arange(8) % 2, "groups": [0, 1, 2, 3, "a"][:1] * 8}
    if task == "tokens":
        given |= {"sequences": np.arange(8) % 3, "bytes": np.arange(8)}
    return evaluated(task, given).to_dict()


@tasks
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_state_with_anything_else_in_it_is_a_value_error_or_a_state(task, data):
    state = good(task)
    path = data.draw(st.sampled_from([place for place in places(state) if place]))
    changed = put(state, path, data.draw(garbage))
    made = read(changed)
    if made is not None:  # such as another count that could be: it is kept as it is, and can be used
        assert fl.Evaluation.from_dict(made.to_dict()).to_dict() == made.to_dict()
        made.compute()
        if made.options == make(task).options:
            make(task).merge_state(made)


def read(state):
    """The evaluation of a state; None if it was refused."""
    try:
        return fl.Evaluation.from_dict(state)
    except ValueError as error:
        if not str(error).startswith("Evaluation state: "):
            raise
        return None


@given(garbage)
def test_what_is_no_state_at_all_is_a_value_error(value):
    assert read(value) is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "torch", "not of an evaluation"),
        (("version",), 2, "has version 2; this fastloss reads version 1"),
        (("options", "top_k"), 0, "options that cannot be: Evaluation: top_k must be at least 1"),
        (("options", "colour"), 1, "colour"),
        (("classes",), 0, "has 0 classes"),
        (("parts", "brier"), Change.DELETED, "has no 'brier'"),
        (("parts", "more"), {}, "not known: ['more']"),
        (("parts", "plain", "count"), -1, "'plain' has -1 as 'count', must be from 0"),
        (("parts", "plain", "within"), [1, 2], "2 numbers in 'within', must have 3"),
        (("parts", "plain", "within"), [1, 2, 99], "has 99 in 'within'"),
        (("parts", "plain", "loss", "sum"), "0x1", "no exact sum in 'loss': sum cannot be '0x1'"),
        (("parts", "plain", "loss", "nan"), 99, "99 values that are not finite"),
        (("parts", "groups", "groups"), [], "groups of 0 rows"),
        (("parts", "sequences", "sequences"), [], "sequences of 0 rows"),
        (("parts", "worst", "losses"), [float.hex(loss) for loss in (1.0, 2.0, 1.0)], "not in order"),
        (("parts", "calibration", "confidence"), ["g"] * 4, "no hexadecimal numbers"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_state_is_said(path, value, message):
    with pytest.raises(ValueError, match=f"Evaluation state: .*{re.escape(message)}"):
        fl.Evaluation.from_dict(put(good("tokens"), path, value))


def test_a_state_of_other_options_is_not_merged():
    total = fl.Evaluation()
    with pytest.raises(ValueError, match="cannot merge brier=True into brier=None"):
        total.merge_state([fl.Evaluation().to_dict(), fl.Evaluation(brier=True).to_dict()])
    with pytest.raises(ValueError, match="cannot merge task=binary into task=tokens"):
        total.merge_state(fl.Evaluation(task="binary"))
    with pytest.raises(ValueError, match="Evaluation state"):
        total.merge_state({"format": "other"})
