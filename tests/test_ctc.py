"""ctc_loss: the forms its arguments take, the numerical policy, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import DTYPES, assert_same, assert_ulp, dtype, every_isa, owed

import fastloss as fl

CTC = fl.ctc_loss
INF, NAN = np.inf, np.nan
STEPS, COUNT, CLASSES = 13, 5, 9
TARGETS = np.array([[1, 2, 2], [3, 3, 3], [4, 1, 8], [5, 6, 7], [2, 1, 2]])
LENGTHS = np.array([13, 12, 11, 0, 1])
LABELS = np.array([3, 2, 0, 0, 1])
PARTS = [target[:length] for target, length in zip(TARGETS, LABELS, strict=True)]


@pytest.fixture
def x():
    return log_probs((STEPS, COUNT, CLASSES))


def log_probs(shape, name="float64", spread=2.0):
    logits = np.random.default_rng(0).normal(0, spread, shape)
    return fl.log_softmax.reference(logits).astype(dtype(name))


def each(x, targets=TARGETS, lengths=LENGTHS, labels=LABELS, **options):
    return CTC.value_and_grad(x, targets, lengths, labels, reduction="none", **options)


def expected(x, targets=TARGETS, lengths=LENGTHS, labels=LABELS, **options):
    return CTC.reference.value_and_grad(x, targets, lengths, labels, reduction="none", **options)


# --- forms


@pytest.mark.parametrize("target_dtype", [*np.typecodes["AllInteger"], ">i2"])
def test_targets_and_lengths_of_every_integer_dtype(x, target_dtype):
    wanted = each(x)
    arrays = [given.astype(target_dtype) for given in (TARGETS, LENGTHS, LABELS)]
    assert_same(each(x, *arrays), wanted)
    assert_same(each(x, TARGETS.tolist(), LENGTHS.tolist(), tuple(LABELS)), wanted)
    assert_same(each(x, np.concatenate(PARTS).astype(target_dtype), *arrays[1:]), wanted)
    assert_same(each(x, np.asfortranarray(TARGETS)[::1], LENGTHS[::-1][::-1], LABELS), wanted)


def test_boolean_targets(x):
    assert_same(each(x, TARGETS > 2), each(x, (TARGETS > 2).astype(int)))


@pytest.mark.parametrize("name", DTYPES)
def test_a_sequence_alone_is_the_same(name, isa):
    x = log_probs((STEPS, COUNT, CLASSES), name)
    value, grad = each(x)
    for i in range(COUNT):
        alone = x[:, i], PARTS[i], LENGTHS[i], LABELS[i]
        assert_same(each(*alone), (value[i, ...], grad[:, i].copy()))
        assert_same(each(alone[0], alone[1], int(LENGTHS[i]), int(LABELS[i])), (value[i, ...], grad[:, i].copy()))
        assert_same(each(alone[0], TARGETS[i : i + 1], [LENGTHS[i]], (LABELS[i],)), (value[i, ...], grad[:, i].copy()))
        only = slice(i, i + 1)
        assert_same(each(x[:, only], TARGETS[only], LENGTHS[only], LABELS[only]), (value[only], grad[:, only].copy()))
        assert CTC(*alone, reduction="sum") == CTC(*alone) * max(LABELS[i], 1) or value[i] == INF


def test_means(x):
    lengths = np.maximum(LENGTHS, 9)
    value, grad = each(x, lengths=lengths)
    mean, mean_grad = CTC.value_and_grad(x, TARGETS, lengths, LABELS)
    divisors = np.maximum(LABELS, 1)
    assert mean == pytest.approx((value / divisors).mean(), rel=1e-14)
    np.testing.assert_allclose(mean_grad, grad / (divisors * COUNT)[:, None], rtol=1e-13, atol=1e-16)


def test_what_lies_past_the_lengths_is_not_read(x):
    wanted = each(x)
    targets = TARGETS.copy()
    for i in range(COUNT):
        targets[i, LABELS[i] :] = 99
        x[LENGTHS[i] :, i] = NAN
    assert_same(each(x, targets), wanted)
    assert (wanted[1][np.isnan(x)] == 0).all()


def test_blank_among_the_labels(x):
    # Not a use of it, but what it means is clear.
    assert_ulp(each(x, TARGETS % 3)[1], expected(x, TARGETS % 3)[1], scale=1.0)


@pytest.mark.parametrize("name", DTYPES)
def test_in_place(name):
    x = log_probs((60, 4, 40), name)
    arguments = np.arange(1, 33).reshape(4, 8), [60, 50, 31, 8], [8, 7, 8, 4]
    wanted = each(x, *arguments)
    own = x.copy()
    assert_same(CTC.value_and_grad(own, *arguments, reduction="none", out=own), wanted)
    assert_same(own, wanted[1])
    batch_first = np.ascontiguousarray(x.transpose(1, 0, 2))
    view = batch_first.transpose(1, 0, 2)
    assert_same(CTC.value_and_grad(view, *arguments, reduction="none", out=view), wanted)
    with pytest.raises(ValueError, match="out"):
        CTC.value_and_grad(x, *arguments, out=batch_first)


# --- accuracy


@every_isa
@pytest.mark.parametrize("spread", [0.1, 3, 60])
@pytest.mark.parametrize("name", DTYPES)
def test_long_sequences(spread, name, isa):
    x = log_probs((700, 2, 40), name, spread)
    targets = np.random.default_rng(1).integers(1, 40, (2, 150))
    arguments = x, targets, [700, 650], [150, 149]
    (value, grad), (wanted, wanted_grad) = each(*arguments), expected(*arguments)
    coarse = np.finfo(np.longdouble).eps > 1e-18
    assert_ulp(value, wanted, owed(isa))
    p = np.exp(x.astype(float))
    assert_ulp(grad, wanted_grad, owed(isa), scale=(2 * p - wanted_grad) * (1 + 100 * coarse))


@every_isa
def test_float32_gradients_keep_their_digits(isa):
    """The share is formed in float64: of a difference of nearly equal numbers float32 would keep few."""
    x = log_probs((200, 1, 5), "float32", 8)
    target = x[:, 0].argmax(-1)[::4]
    target = target[target > 0][:40]
    arguments = x, target, [200], [len(target)]
    (_, grad), (_, wanted) = each(*arguments), expected(*arguments)
    assert (np.abs(wanted) < 1e-4).any()
    np.testing.assert_allclose(grad, wanted, rtol=4e-7, atol=1e-12)


@every_isa
@pytest.mark.parametrize("gap", [12, 17.6, 25, 40])
def test_confident_sequences_keep_their_loss(gap, isa):
    logits = np.zeros((6, 4))
    logits[np.arange(6), [0, 1, 1, 0, 2, 0]] = gap
    for name in ("float32", "float64"):
        x = fl.log_softmax.reference(logits).astype(name)
        value, _ = each(x, [1, 2], 6, 2)
        wanted, _ = expected(x, [1, 2], 6, 2)
        assert 0 < value < 1e-3
        assert_ulp(value, wanted, owed(isa))


@every_isa
def test_numbers_out_of_range(isa):
    for lowest in (-1e4, -1e9, np.finfo(np.float32).min):
        x = np.full((4, 5), lowest, np.float32)
        x[[0, 1, 3], [1, 0, 2]] = -0.5
        value, grad = each(x, [1, 2], 4, 2)
        assert_ulp(value, 1.5 - float(lowest) - np.log(2), owed(isa))
        assert np.isfinite(grad).all()
    x = np.full((300, 3), 80, np.float32)  # no probabilities, and their product is beyond any range
    value, grad = each(x, [1, 2], 300, 2)
    assert_ulp(value, expected(x, [1, 2], 300, 2)[0], owed(isa))
    assert_ulp(grad, np.exp(x.astype(float)), owed(isa))


def test_by_heart():
    x = np.log(np.full((3, 4), 0.25))
    assert CTC(x, [1], 3, 1) == pytest.approx(math.log(64 / 6), rel=1e-15)
    assert CTC(x, [1, 1], 3, 2, reduction="sum") == pytest.approx(math.log(64), rel=1e-15)
    assert CTC(x, [1, 2], 3, 2, reduction="sum") == pytest.approx(math.log(64 / 5), rel=1e-15)
    assert CTC(x, [], 3, 0) == pytest.approx(math.log(64), rel=1e-15)


# --- policy


def test_no_alignment(x, isa):
    clean = each(x, lengths=np.full(COUNT, STEPS), labels=np.full(COUNT, 3))
    short = np.full(COUNT, STEPS)
    short[1] = 4  # three equal labels take five steps
    value, grad = each(x, lengths=short, labels=np.full(COUNT, 3))
    assert value[1] == INF
    assert (grad[:, 1] == 0).all()
    assert_same(np.delete(value, 1), np.delete(clean[0], 1))
    assert_same(np.delete(grad, 1, 1), np.delete(clean[1], 1, 1))
    value, grad = each(x, lengths=short, labels=np.full(COUNT, 3), zero_infinity=True)
    assert value[1] == 0
    assert (grad[:, 1] == 0).all()
    assert CTC(x, TARGETS, short, np.full(COUNT, 3)) == INF
    value, grad = CTC.value_and_grad(x, TARGETS, short, np.full(COUNT, 3), zero_infinity=True)
    assert math.isfinite(value)
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("steps", [0, 4])
def test_no_steps_and_no_labels(steps):
    x = log_probs((steps, 3, 4))
    value, grad = each(x, np.zeros((3, 2), int), [0, 0, 0], [0, 1, 0])
    assert value.tolist() == [0, INF, 0]
    assert not np.signbit(value).any()
    assert (grad == 0).all()
    value, grad = each(x, [], [steps] * 3, [0, 0, 0])
    np.testing.assert_allclose(value, -x[..., 0].sum(0))
    np.testing.assert_allclose(grad, np.exp(x) - (np.arange(4) == 0))


def test_no_sequences():
    for targets in (np.zeros((0, 3), int), np.zeros(0, int), []):
        x = np.zeros((4, 0, 3))
        value, grad = CTC.value_and_grad(x, targets, [], ())
        assert math.isnan(value)
        assert grad.shape == x.shape
        assert CTC(x, targets, [], (), reduction="sum") == 0.0
        assert CTC(x, targets, [], (), reduction="none").shape == (0,)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_nan_stays_in_its_sequence(bad, x, isa):
    lengths = np.full(COUNT, STEPS - 1)
    clean = each(x, lengths=lengths)
    x[4, 0, 2] = bad
    value, grad = each(x, lengths=lengths)
    assert math.isnan(value[0])
    assert np.isnan(grad[:-1, 0]).all()
    assert (grad[-1, 0] == 0).all()
    assert_same(np.delete(value, 0), np.delete(clean[0], 0))
    assert_same(np.delete(grad, 0, 1), np.delete(clean[1], 0, 1))
    wanted, wanted_grad = expected(x, lengths=lengths)
    assert_ulp(value, wanted)
    assert_ulp(grad, wanted_grad, scale=1.0)


def test_nan_of_another_class_stays_in_its_element(x, isa):
    clean = each(x)
    x[4, 0, 5] = NAN
    value, grad = each(x)
    assert_same(value, clean[0])
    assert np.argwhere(np.isnan(grad)).tolist() == [[4, 0, 5]]


def test_masked_classes(x, isa):
    x[4, 0, 2] = x[6, :, 7] = -INF
    (value, grad), (wanted, wanted_grad) = each(x), expected(x)
    assert np.isfinite(value[:2]).all()
    assert np.isfinite(grad).all()
    assert grad[4, 0, 2] == 0
    assert (grad[6, :, 7] == 0).all()
    assert_ulp(value, wanted)
    assert_ulp(grad, wanted_grad, scale=1.0)
    x[:, 0, 1] = -INF
    value, grad = each(x)
    assert value[0] == INF
    assert (grad[:, 0] == 0).all()


# --- what is refused

SHAPED = np.zeros((6, 3, 4), np.float32)
GOOD = {"targets": [[1, 2], [3, 3], [1, 1]], "input_lengths": [6, 5, 4], "target_lengths": [2, 2, 1]}

BAD_VALUES = {
    "one dimension": ({"log_probs": np.zeros(4)}, ["log_probs", "(4,)"]),
    "four dimensions": ({"log_probs": SHAPED[None]}, ["log_probs", "(1, 6, 3, 4)"]),
    "no classes": ({"log_probs": SHAPED[..., :0]}, ["classes", "(6, 3, 0)"]),
    "blank too large": ({"blank": 4}, ["blank", "4"]),
    "blank below 0": ({"blank": -1}, ["blank", "-1"]),
    "unknown reduction": ({"reduction": "batchmean"}, ["reduction", "batchmean"]),
    "targets of another batch": ({"targets": [[1, 2], [3, 3]]}, ["targets", "(2, 2)"]),
    "targets of three dimensions": ({"targets": np.zeros((1, 3, 2), int)}, ["targets", "(1, 3, 2)"]),
    "a scalar target": ({"targets": 3, "target_lengths": [1, 0, 0]}, ["targets", "()"]),
    "targets too short": ({"targets": [1, 2, 3, 3], "target_lengths": [2, 2, 1]}, ["targets", "(4,)", "(5,)"]),
    "targets too long": ({"targets": [1, 2, 3, 3, 1, 1]}, ["targets", "(6,)", "(5,)"]),
    "too few input_lengths": ({"input_lengths": [6, 5]}, ["input_lengths", "(2,)", "(3,)"]),
    "too many target_lengths": ({"target_lengths": [2, 2, 1, 1]}, ["target_lengths", "(4,)", "(3,)"]),
    "one length for a batch": ({"input_lengths": 6}, ["input_lengths", "()", "(3,)"]),
    "lengths as a column": ({"input_lengths": [[6], [5], [4]]}, ["input_lengths", "(3, 1)"]),
    "input_lengths too large": ({"input_lengths": [6, 7, 4]}, ["input_lengths[1]", "7", "6"]),
    "input_lengths below 0": ({"input_lengths": [6, 5, -1]}, ["input_lengths[2]", "-1"]),
    "target_lengths too large": ({"target_lengths": [2, 2, 3]}, ["target_lengths[2]", "3", "2"]),
    "target_lengths below 0": ({"target_lengths": [-1, 2, 2]}, ["target_lengths[0]", "-1"]),
    "lengths beyond int64": ({"input_lengths": np.full(3, 2**64 - 1, np.uint64)}, ["input_lengths[0]", str(2**64 - 1)]),
}
BAD_TYPES = {
    "integers": ({"log_probs": np.zeros((6, 3, 4), int)}, ["log_probs", "int64"]),
    "complex": ({"log_probs": np.zeros((6, 3, 4), complex)}, ["log_probs", "complex128"]),
    "nothing": ({"log_probs": None}, ["log_probs"]),
    "floating targets": ({"targets": np.ones((3, 2))}, ["targets", "float64"]),
    "floating lengths": ({"input_lengths": [6.0, 5.0, 4.0]}, ["input_lengths", "float64"]),
    "boolean lengths": ({"target_lengths": [True, True, False]}, ["target_lengths", "bool"]),
    "floating blank": ({"blank": 1.0}, ["blank", "1.0"]),
}


@pytest.mark.parametrize(
    ("error", "case"), [(ValueError, case) for case in BAD_VALUES] + [(TypeError, case) for case in BAD_TYPES]
)
def test_what_is_refused(error, case):
    changed, fragments = (BAD_VALUES if error is ValueError else BAD_TYPES)[case]
    arguments = {"log_probs": SHAPED, **GOOD, **changed}
    for call in (CTC, CTC.value_and_grad):
        with pytest.raises(error) as raised:
            call(**arguments)
        missing = [part for part in ["ctc_loss", *fragments] if part not in str(raised.value)]
        assert not missing, str(raised.value)


@pytest.mark.parametrize("label", [CLASSES, -1, 2**40, -(2**62)])
def test_label_out_of_range(label, x, isa):
    before = x.copy()
    for row, column in ((0, 2), (1, 1), (4, 0)):
        targets = TARGETS.copy()
        targets[row, column] = label
        targets[4, 0] = label  # a later one is not the first
        parts = np.concatenate([target[:n] for target, n in zip(targets, LABELS, strict=True)])
        place = LABELS[:row].sum() + column
        for call in (CTC, CTC.value_and_grad):
            with pytest.raises(IndexError, match=rf"targets\[{row}, {column}\] is {label}, out of range for 9 classes"):
                call(x, targets, LENGTHS, LABELS)
            with pytest.raises(IndexError, match=rf"targets\[{place}\] is {label}, out of range for 9 classes"):
                call(x, parts, LENGTHS, LABELS)
    assert_same(x, before)
