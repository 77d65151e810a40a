"""fastloss.dask on a real cluster of two processes: the bits of one evaluation, a worker killed on the way or not."""

from __future__ import annotations

import contextlib
import doctest
import os
import signal
import time

import numpy as np
import pytest
from helpers import peer

import fastloss as fl

da = peer("dask.array")
distributed = peer("distributed")
fldask = peer("fastloss.dask")

ROWS, CLASSES = 600, 12
RNG = np.random.default_rng(0)
LOGITS = (3 * RNG.standard_normal((ROWS, CLASSES))).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, ROWS)
LABELS[::9] = -100
OPTIONS = {"top_k": (1, 3), "brier": True, "worst": 5, "standard_error": True}
BY_ROW = {"groups": LABELS % 3, "sequences": np.arange(ROWS) // 40}


@contextlib.contextmanager
def two_workers():
    """A client of a cluster of two processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client():
    with two_workers() as client:
        yield client


def whole():
    made = fl.Evaluation(**OPTIONS, **dict.fromkeys(BY_ROW, True))
    made.update(LOGITS, LABELS, **BY_ROW)
    return made.to_dict()


def lazy(rows, classes=-1, **options):
    given = {name: da.from_array(values, chunks=50) for name, values in BY_ROW.items()}
    logits = da.from_array(LOGITS, chunks=(rows, classes))
    return fldask.evaluate(logits, da.from_array(LABELS, chunks=170), **given, **OPTIONS, **options)


@pytest.mark.parametrize("rows", [7, 100, ROWS])
def test_blocks_of_any_size_give_the_same_bits(rows, client):
    assert lazy(rows).compute().to_dict() == whole()


def test_classes_in_several_blocks_become_one(client):
    assert lazy(100, classes=5, split_every=2).compute().to_dict() == whole()


def test_nothing_is_computed_before_it_is_asked_for():
    def never(block):
        raise RuntimeError("computed")

    logits = da.zeros((4, 3), chunks=2).map_blocks(never, dtype=float, meta=np.zeros((0, 0)))
    found = fldask.evaluate(logits, da.zeros(4, dtype=int, chunks=2))
    with pytest.raises(RuntimeError, match="computed"):
        found.compute(scheduler="sync")


def test_further_axes_and_the_class_axis():
    logits = np.ascontiguousarray(np.moveaxis(LOGITS.reshape(20, 30, CLASSES), -1, 1))
    lazy_logits = da.from_array(logits, chunks=(6, 4, 11))
    found = fldask.evaluate(
        lazy_logits,
        LABELS.reshape(20, 30),
        axis=1,
        **{name: each.reshape(20, 30) for name, each in BY_ROW.items()},
        **OPTIONS,
    )
    assert found.compute(scheduler="sync").to_dict() == whole()


def test_read_only_blocks_are_left_alone():
    LOGITS.flags.writeable = False
    try:
        assert lazy(100).compute(scheduler="sync").to_dict() == whole()
    finally:
        LOGITS.flags.writeable = True


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_other_tasks(task, client):
    labels = np.where(LABELS < 0, LABELS, LABELS % 2) if task == "binary" else LABELS.astype(float)
    made = fl.Evaluation(task=task, groups=True)
    made.update(LOGITS[:, 0], labels, groups=BY_ROW["groups"])
    logits, labels = da.from_array(LOGITS[:, 0], chunks=99), da.from_array(labels, chunks=50)
    assert fldask.evaluate(logits, labels, groups=BY_ROW["groups"], task=task).compute().to_dict() == made.to_dict()


def test_what_does_not_fit_is_said_at_once():
    logits, labels = da.zeros((4, 3)), da.zeros(5, dtype=int)
    with pytest.raises(ValueError, match=r"labels must have the shape of the rows, \(4,\), has \(5,\)"):
        fldask.evaluate(logits, labels)
    with pytest.raises(ValueError, match="axis is 2"):
        fldask.evaluate(logits, labels, axis=2)
    with pytest.raises(ValueError, match="top_k"):
        fldask.evaluate(logits, labels[:4], top_k=0)


def test_a_bad_label_is_an_index_error(client):
    labels = da.from_array(np.where(np.arange(ROWS) == 333, 99, LABELS), chunks=100)
    with pytest.raises(IndexError, match="is 99, out of range for 12 classes"):
        fldask.evaluate(da.from_array(LOGITS, chunks=(100, -1)), labels).compute()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Files of 100 rows each, logits and labels."""
    folder = tmp_path_factory.mktemp("shards")
    for i in range(0, ROWS, 100):
        np.save(folder / f"logits-{i:03}.npy", LOGITS[i : i + 100])
        np.save(folder / f"labels-{i:03}.npy", LABELS[i : i + 100])
        np.save(folder / f"groups-{i:03}.npy", BY_ROW["groups"][i : i + 100])
        np.savez(folder / f"both-{i:03}.npz", x=LOGITS[i : i + 100], y=LABELS[i : i + 100])
    return folder


def test_files_are_read_by_the_workers(shards, client):
    found = fldask.evaluate_files(
        f"{shards}/logits-*.npy",
        f"{shards}/labels-*.npy",
        extras={"groups": f"{shards}/groups-*.npy"},
        groups=True,
        block_bytes=1000,
        worst=3,
    )
    made = fl.Evaluation(groups=True, worst=3)
    for i in range(0, ROWS, 100):
        part = slice(i, i + 100)
        given = {"groups": BY_ROW["groups"][part], "positions": i // 100 << 40}
        made.update(LOGITS[part], LABELS[part], **given)
    assert found.compute().to_dict() == made.to_dict()


def test_files_of_several_arrays(shards, client):
    found = fldask.evaluate_files(f"{shards}/both-*.npz", keys={"logits": "x", "labels": "y"})
    made = fl.Evaluation()
    made.update(LOGITS, LABELS)
    assert found.compute().to_dict() == made.to_dict()


def test_files_that_are_not_there_or_not_as_many(shards):
    with pytest.raises(ValueError, match="nothing"):
        fldask.evaluate_files(f"{shards}/nothing-*.npy")
    with pytest.raises(ValueError, match="1 files of labels, and 6 of logits"):
        fldask.evaluate_files(f"{shards}/logits-*.npy", f"{shards}/labels-000.npy")


def slow(block):
    time.sleep(0.05)
    return block


def test_a_worker_that_is_killed_leaves_no_trace():
    with two_workers() as client:
        logits = da.from_array(LOGITS, chunks=(10, -1)).map_blocks(slow)
        given = {name: da.from_array(values, chunks=50) for name, values in BY_ROW.items()}
        found = client.compute(fldask.evaluate(logits, da.from_array(LABELS, chunks=170), **given, **OPTIONS))
        first, second = client.run(os.getpid).values()
        while not any(client.run(done).values()):
            time.sleep(0.05)
        assert not found.done()
        os.kill(first, signal.SIGKILL)
        assert found.result(timeout=120).to_dict() == whole()
        assert first not in client.run(os.getpid).values() or second not in client.run(os.getpid).values()


def done(dask_worker):
    """Whether a worker keeps the evaluation of a block."""
    return any(isinstance(each, fl.Evaluation) for each in dict(dask_worker.data).values())


def test_examples():
    assert doctest.testmod(fldask).failed == 0
