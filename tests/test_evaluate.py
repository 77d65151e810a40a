"""fl.evaluate: batches of any kind, read ahead by a thread that ends, with errors where they belong."""

from __future__ import annotations

import collections
import itertools
import threading
import time

import numpy as np
import pytest

import fastloss as fl


def batches(count=5, rows=6, classes=4):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.standard_normal((rows, classes)).astype(np.float32), rng.integers(0, classes, rows)


def whole(**options):
    made = fl.Evaluation(**options)
    for logits, labels in batches():
        made.update(logits, labels)
    return made.to_dict()


def idle():
    """Whether the thread that reads ahead has ended."""
    for _ in range(100):
        if not any(thread.name == "fastloss-ahead" for thread in threading.enumerate()):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("kind", [tuple, list, dict, collections.UserDict])
def test_pairs_and_mappings(kind):
    def told():
        for logits, labels in batches():
            yield (
                kind(logits=logits, labels=labels, more=0)
                if kind in (dict, collections.UserDict)
                else kind((logits, labels))
            )

    assert fl.evaluate(told(), top_k=2).to_dict() == whole(top_k=2)
    assert fl.evaluate(list(told()), top_k=2).to_dict() == whole(top_k=2)
    assert idle()


def test_columns_extras_and_axis():
    made = (
        {"x": logits.T, "y": labels, "groups": labels % 2, "positions": 6 * i}
        for i, (logits, labels) in enumerate(batches())
    )
    found = fl.evaluate(made, columns={"logits": "x", "labels": "y"}, axis=0, groups=True, worst=4)
    wanted = fl.Evaluation(groups=True, worst=4)
    for logits, labels in batches():
        wanted.update(logits, labels, groups=labels % 2)
    assert found.compute().keys() == wanted.compute().keys()
    assert found.compute()["loss"] == pytest.approx(wanted.compute()["loss"], rel=1e-6)
    assert [each["position"] for each in found.compute()["worst"]] == [
        each["position"] for each in wanted.compute()["worst"]
    ]


def test_other_tasks_and_nothing_at_all():
    assert fl.evaluate([]).compute()["count"] == 0
    assert fl.evaluate([([0.5], [1])], task="binary").compute()["accuracy"] == 1.0
    assert fl.evaluate([([0.5], [1.0])], task="regression").compute()["mae"] == 0.5


def test_an_error_of_the_pipeline_comes_through_as_it_is():
    def broken():
        yield from batches(2)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match=r"^the disk is gone$"):
        fl.evaluate(broken())
    assert idle()


def test_an_interrupt_of_the_pipeline_comes_through():
    def interrupted():
        yield from batches(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fl.evaluate(interrupted())
    assert idle()


def test_the_thread_ends_where_an_update_fails():
    endless = itertools.cycle([(np.zeros((2, 3)), np.array([0, 3]))])
    with pytest.raises(IndexError, match=r"target\[1\] is 3, out of range for 3 classes \(batch 0\)"):
        fl.evaluate(endless)
    assert idle()


def test_batches_are_made_while_others_are_evaluated():
    names = set()

    def told():
        names.add(threading.current_thread().name)
        yield from batches()

    fl.evaluate(told())
    assert names == {"fastloss-ahead"}


def test_no_more_than_two_batches_wait():
    ahead, used = [], []

    def told():
        for i, batch in enumerate(batches(20)):
            ahead.append(i - len(used))
            yield batch

    class Slow(fl.Evaluation):
        pass

    original = fl.Evaluation.update

    def update(self, *args, **kwargs):
        time.sleep(0.005)
        used.append(0)
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fl.Evaluation, "update", update)
        fl.evaluate(told())
    assert max(ahead) <= 3


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (np.zeros((2, 3)), TypeError, "batch 1 is a ndarray"),
        ((np.zeros((2, 3)),), TypeError, "batch 1 is a tuple of 1"),
        ({"logits": np.zeros((2, 3))}, ValueError, "batch 1 has no 'labels', but 'logits'"),
        ((np.zeros((2, 3)), [0, 1]), ValueError, r"logits have 3 classes, those before had 4 \(batch 1\)"),
    ],
    ids=str,
)
def test_what_is_no_batch(batch, error, message):
    with pytest.raises(error, match=message):
        fl.evaluate([next(batches()), batch])


def test_options_and_columns_are_checked_first():
    def never():
        pytest.fail("a batch was asked for")
        yield

    with pytest.raises(ValueError, match="task must be one of"):
        fl.evaluate(never(), task="vision")
    with pytest.raises(ValueError, match="columns must be of logits, labels"):
        fl.evaluate(never(), columns={"input": "x"})
