"""The kernels that evaluation reads logits with: as score's reference, for every dtype, width, layout and odd value."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from helpers import NARROW

import fastloss as fl
from fastloss.evaluation.tokens import Reader
from fastloss.exactsum import UNIT

FIELDS = frozenset(["loss", "entropy", "rank", "confidence", "brier", "correct"])
WIDTHS = [1, 2, 7, 10, 16, 17, 33, NARROW, NARROW + 1, 100, 1000, 1024, 1025, 2500, 5000]
DTYPES = ["float16", "float32", "float64"]


def read(logits, labels, fields=FIELDS, axis=-1):
    """The fields of all rows; those of rows that are ignored mean nothing but for their rank."""
    found = {}
    for block, _ in Reader(logits, labels, axis, -100, fields).blocks():
        for name, values in block.items():
            found.setdefault(name, []).append(values.copy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def expected(logits, labels):
    score = fl.score.reference(logits, labels)
    x = np.asarray(logits, np.float64)
    with np.errstate(all="ignore"):
        p = np.exp(x - x.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        truth = np.arange(x.shape[-1]) == np.asarray(labels)[..., None]
        brier = np.square(p - truth).sum(-1)
    return {
        "loss": -score.log_prob,
        "entropy": score.entropy,
        "rank": score.rank,
        "confidence": p.max(-1),
        "brier": brier,
        "correct": score.rank == 0,
    }


def check(found, wanted, kept, double):
    assert (found["rank"] == wanted["rank"].reshape(-1)).all()
    assert (found["correct"] == wanted["correct"].reshape(-1)).all()
    bound = 1e-13 if double else 3e-6
    for name in ("loss", "entropy", "confidence", "brier"):
        close = np.testing.assert_allclose
        close(found[name][kept], wanted[name].reshape(-1)[kept], rtol=bound, atol=bound / 10, err_msg=name)


def batch(rows, classes, dtype, scale=4.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.standard_normal((rows, classes))).astype(dtype)
    labels = rng.integers(0, classes, rows)
    labels[rng.random(rows) < 0.2] = -100
    return logits, labels


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", WIDTHS)
def test_figures_of_rows(classes, dtype, isa):
    logits, labels = batch(150 if classes < 100 else 37, classes, dtype)
    kept = labels != -100
    found = read(logits, labels)
    check(found, expected(logits, labels), kept, dtype == "float64")
    assert (found["rank"][~kept] == -1).all()
    plain = read(logits, labels, FIELDS - {"brier"})
    for name, values in plain.items():
        if name in FIELDS:
            np.testing.assert_array_equal(values[kept], found[name][kept], err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [7, NARROW + 1, 1100])
def test_other_layouts_have_the_same_bits(classes, dtype, isa):
    logits, labels = batch(24, classes, dtype)
    cube, places = logits.reshape(2, 3, 4, classes), labels.reshape(2, 3, 4)
    kept = labels != -100
    whole = read(logits, labels)
    layouts = {
        "further axes": (cube, places, -1),
        "another axis": (np.moveaxis(cube, -1, 1), places, 1),
        "another axis, contiguous": (np.ascontiguousarray(np.moveaxis(cube, -1, 1)), places, 1),
        "the first axis": (np.ascontiguousarray(logits.T), labels, 0),
        "backwards": (logits[:, ::-1][:, ::-1], labels, -1),
        "read-only": (np.frombuffer(logits.tobytes(), logits.dtype).reshape(logits.shape), labels, -1),
    }
    for name, (x, y, axis) in layouts.items():
        found = read(x, y, axis=axis)
        for field in FIELDS:
            np.testing.assert_array_equal(found[field][kept], whole[field][kept], err_msg=f"{name}: {field}")
        assert (found["rank"][~kept] == -1).all()
    one = read(logits[5], labels[5])
    assert one["rank"] == whole["rank"][5]


def sums(values):
    """The exact sum of those that are finite, and how many are NaN, inf and -inf."""
    wide = values.astype(np.float64)
    total = sum((Fraction(each) for each in wide[np.isfinite(wide)].tolist()), Fraction(0))
    return total, *((int(found.sum())) for found in (np.isnan(wide), wide == np.inf, wide == -np.inf))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(1, 7), (64, 64), (1023, 3), (1025, 10), (14000, 10), (70, 1100), (5, 70000)], ids=str
)
def test_sums_are_those_of_the_rows(shape, dtype, isa):
    rows, classes = shape
    logits, labels = batch(rows, classes, dtype, seed=rows)
    labels[0] = 1
    logits[rows // 2, 1] = np.nan
    logits[rows // 3, :2] = np.inf, -np.inf
    found = read(logits, labels)
    kept = labels != -100
    bounds = np.array([1, 3, classes], np.int64)
    wide = np.ascontiguousarray(np.moveaxis(logits[None], -1, 1)), labels[None]
    for threads in (1, 3):
        for x, y, axis in ((logits, labels, -1), (logits[::-1], labels[::-1], -1), (*wide, 1)):
            with fl.num_threads(threads):
                loss, entropy, count, within = Reader(x, y, axis, -100, FIELDS).sums(bounds)
            for total, name in ((loss, "loss"), (entropy, "entropy")):
                told = Fraction(total.total, UNIT), total.nan, total.inf, total.minus_inf
                assert told == sums(found[name][kept]), name
            assert within == [int((found["rank"][kept] < bound).sum()) for bound in bounds]
            assert count == kept.sum()


@pytest.mark.parametrize("classes", [50, 70])
def test_sums_of_more_rows_than_there_are_sums_of_tiles(classes, isa):
    rows = 2 * 16 * fl.get_num_threads() * 65536 // classes + 17
    logits, labels = batch(1, classes, "float32")
    labels[:] = 3
    [loss], [entropy], [rank] = (read(logits, labels)[name] for name in ("loss", "entropy", "rank"))
    many = np.broadcast_to(logits, (rows, classes)), np.broadcast_to(np.int8(3), rows)
    sums = Reader(*many, -1, -100, FIELDS).sums(np.array([rank, rank + 1], np.int64))
    assert [Fraction(total.total, UNIT) for total in sums[:2]] == [rows * Fraction(float(x)) for x in (loss, entropy)]
    assert sums[2:] == (rows, [0, rows])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 40, 64, 70, 1024, 3000])
@pytest.mark.parametrize(
    "values", [(0.0,), (-1.0, 0.0), (1.0, 2.0), (-0.0, 0.0), (1e-7, -1e-7), (-np.inf, 0.0), (0.0, 5.0)]
)
def test_of_equal_logits_the_first_comes_first(values, classes, dtype, isa):
    rng = np.random.default_rng(classes)
    logits = rng.choice(np.array(values), (40, classes)).astype(dtype)
    logits[:, rng.integers(classes)] = max(values)
    labels = rng.integers(0, classes, 40)
    found = read(logits, labels)["rank"]
    np.testing.assert_array_equal(found, fl.score.reference(logits, labels).rank)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [5, 64, 70, 2100])
@pytest.mark.parametrize("scale", [1e-30, 1e3, 1e5, 1e30])
def test_logits_of_any_size(classes, scale, dtype, isa):
    logits, labels = batch(40, classes, dtype, scale=scale)
    for rows in (logits, logits + np.asarray(scale * 100, dtype), -np.abs(logits)):
        kept = labels != -100
        found, wanted = read(rows, labels), expected(rows, labels)
        np.testing.assert_array_equal(found["rank"], wanted["rank"])
        bound = 1e-13 if dtype == "float64" else 3e-6
        for name in ("confidence", "brier"):
            np.testing.assert_allclose(found[name][kept], wanted[name][kept], rtol=bound, atol=bound, err_msg=name)


@pytest.mark.parametrize("classes", [6, 64, 66, 1300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestOddValues:
    def test_masked_classes(self, classes, dtype, isa):
        logits, labels = batch(40, classes, dtype)
        logits[:, :: 2 if classes < 10 else 3] = -np.inf
        labels[:] = 1
        wanted = expected(logits, labels)
        check(read(logits, labels), wanted, np.ones(40, bool), dtype == "float64")
        assert np.isfinite(wanted["entropy"]).all()

    def test_a_nan_spoils_its_row_alone(self, classes, dtype, isa):
        logits, labels = batch(40, classes, dtype)
        clean = read(logits, labels)
        labels[7] = 0
        logits[7, classes - 1] = np.nan
        found = read(logits, labels)
        others = (labels != -100) & (np.arange(40) != 7)
        for name in FIELDS:
            np.testing.assert_array_equal(found[name][others], clean[name][others], err_msg=name)
        assert found["rank"][7] == classes
        for name in ("loss", "entropy", "confidence", "brier"):
            assert np.isnan(found[name][7]), name

    def test_an_infinite_logit_and_nothing_but_masks(self, classes, dtype, isa):
        logits, labels = batch(40, classes, dtype)
        clean = read(logits, labels)
        logits[3, 2], labels[3] = np.inf, 1
        logits[9], labels[9] = -np.inf, 1
        found = read(logits, labels)
        others = (labels != -100) & ~np.isin(np.arange(40), (3, 9))
        for name in FIELDS:
            np.testing.assert_array_equal(found[name][others], clean[name][others], err_msg=name)
        reference = fl.score(logits, labels)
        np.testing.assert_array_equal(found["rank"], reference.rank)
        for row in (3, 9):
            np.testing.assert_array_equal(found["loss"][row], -reference.log_prob[row])
            assert not np.isfinite(found["loss"][row]) or not np.isfinite(found["brier"][row])


@pytest.mark.parametrize("classes", [3, 1000])
def test_confident_rows_keep_their_brier_score(classes, isa):
    gaps = np.linspace(5, 42, 30, dtype=np.float32)
    logits = np.zeros((30, classes), np.float32)
    logits[:, 1] = gaps
    found = read(logits, np.ones(30, int))["brier"]
    others = (classes - 1) * np.exp(-gaps.astype(np.float64))
    wanted = (others**2 + others**2 / (classes - 1)) / (1 + others) ** 2
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
