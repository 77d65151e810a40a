"""Corners that generated inputs rarely reach, each with the way a kernel could get it wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import NARROW, assert_same, assert_ulp, every_isa
from helpers import dtype as dtype_called

import fastloss as fl

INF = np.inf
ROW_LOSSES = ("logsumexp", "softmax", "log_softmax", "entropy")


@every_isa
@pytest.mark.parametrize("masked", [1, 64, 65, NARROW, NARROW + 1, 1024, 1025])
@pytest.mark.parametrize("name", ROW_LOSSES)
def test_masked_classes_come_first_along_another_axis(name: str, masked: int, isa: str) -> None:
    # They equal the running maximum, -inf, until a larger logit comes: they must not be counted with it.
    x = np.zeros((1500, 4), np.float32)
    x[:masked] = -INF
    x[0, 3] = -1
    function = getattr(fl, name)
    assert_ulp(function(x, axis=0), function.reference(x, axis=0))
    assert_ulp(function.value_and_grad(x, axis=0)[1], function.reference.value_and_grad(x, axis=0)[1], scale=1.0)


@every_isa
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [1 << 16, 65535, 47, 31, 15])
def test_every_half_is_read_and_rounded_as_numpy_does(name: str, size: int, isa: str) -> None:
    rng = np.random.default_rng(size)
    half = dtype_called(name)
    every = np.arange(1 << 16, dtype=np.uint16)
    x, far = rng.permutation(every)[:size], rng.permutation(every)[:size]
    near = x ^ rng.integers(0, 1 << 12, size, np.uint16)
    for y in (far, near):
        with np.errstate(invalid="ignore", over="ignore"):
            slope = np.float32(2) * (x.view(half).astype(np.float32) - y.view(half).astype(np.float32))
            expected = slope.astype(half)
        _, grad = fl.mse_loss.value_and_grad(x.view(half), y.view(half), reduction="none")
        numbers = ~np.isnan(slope)
        np.testing.assert_array_equal(grad.view(np.uint16)[numbers], expected.view(np.uint16)[numbers])
        assert np.isnan(grad[~numbers].astype(np.float32)).all()


@every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [65, 100, NARROW + 1, 200, 1000, 1025, 2100])
def test_same_bits_whatever_the_layout(classes: int, dtype: type, isa: str) -> None:
    rng = np.random.default_rng(classes)
    rows = (rng.normal(size=(40, classes)) * 8).astype(dtype)
    rows[3] += 400
    rows[5, : classes // 2] = -INF
    rows[7] = np.sort(rows[7]) * 60
    target = rng.integers(0, classes, 40)
    weight = rng.random(classes)
    across = np.asfortranarray(rows)
    for arguments in ({}, {"weight": weight, "label_smoothing": 0.1}):
        together = fl.cross_entropy.value_and_grad(rows, target, reduction="none", **arguments)
        for value, grad in (
            fl.cross_entropy.value_and_grad(across, target, reduction="none", **arguments),
            fl.cross_entropy.value_and_grad(rows.T, target, axis=0, reduction="none", **arguments),
        ):
            assert_same(value, together[0])
            assert_same(grad if grad.shape == rows.shape else grad.T, together[1])
        for i in (0, 3, 5, 7, 39):
            one = fl.cross_entropy.value_and_grad(across[i : i + 1], target[i : i + 1], reduction="none", **arguments)
            assert_same(one[0], together[0][i : i + 1])
            assert_same(one[1], together[1][i : i + 1])
    assert_same(fl.score(rows, target), fl.score(across, target))
    probabilities = np.asfortranarray(rng.random(rows.shape))
    assert_same(
        fl.cross_entropy.value_and_grad(rows, probabilities, reduction="none"),
        fl.cross_entropy.value_and_grad(across, probabilities, reduction="none"),
    )


@every_isa
@pytest.mark.parametrize("classes", [2, NARROW + 1, 1500])
@pytest.mark.parametrize("name", ROW_LOSSES)
def test_logits_far_from_zero(name: str, classes: int, isa: str) -> None:
    # Numbers next to one another are 64 apart, and n ln 2 is no longer exact.
    x = np.full((3, classes), 1e9, np.float32)
    x[0, 1:] -= 128
    x[1, ::2] -= 64 * np.arange((classes + 1) // 2, dtype=np.float32)
    x[2, 0] = -1e9
    function = getattr(fl, name)
    assert_ulp(function(x), function.reference(x))
    assert_ulp(function.value_and_grad(x)[1], function.reference.value_and_grad(x)[1], scale=1.0)


@every_isa
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("first", [0, 2000])
def test_a_row_with_infinity_has_no_softmax(first: int, dtype: type, isa: str) -> None:
    x = np.zeros((2, 3000), dtype)
    x[0, 5], x[0, first], x[0, 2500] = 1e30, INF, 1e3
    assert fl.logsumexp(x)[0] == INF
    assert np.isnan(fl.softmax(x)[0]).all()
    assert np.isnan(fl.entropy(x)[0])
    assert np.isnan(fl.cross_entropy(x, [1, 1], reduction="none")[0])
    assert_ulp(fl.softmax(x)[1], fl.softmax.reference(x)[1])


def test_weight_zero_loses_to_nan_alone() -> None:
    value, grad = fl.mse_loss.value_and_grad([np.nan, INF, 1.0], [0, 0, 0], [0, 0, 1], reduction="none")
    assert math.isnan(value[0])
    assert math.isnan(grad[0])
    assert list(value[1:]) == [0, 1]
    assert list(grad[1:]) == [0, 2]
    logits = np.array([[np.nan, 0.0], [-INF, 0.0]])
    value = fl.cross_entropy(logits, [0, 0], weight=[0.0, 1.0], reduction="none")
    assert math.isnan(value[0])
    assert value[1] == 0
    assert fl.binary_cross_entropy_with_logits([INF], [0.0], [0.0], reduction="none")[0] == 0


def test_label_beyond_int64() -> None:
    labels = np.array([2**64 - 100, 1], np.uint64)
    with pytest.raises(IndexError, match=r"target\[0\] is 18446744073709551516"):
        fl.cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize("bad", [1.5, math.nan, "1", None])
def test_ignore_index_is_an_integer(bad: object) -> None:
    if bad is not None:
        with pytest.raises(TypeError, match="ignore_index"):
            fl.cross_entropy(np.zeros((2, 3)), [0, 1], ignore_index=bad)


def test_ignore_index_no_label_can_equal() -> None:
    assert fl.cross_entropy(np.zeros((2, 3)), [0, 1], ignore_index=2**63) == pytest.approx(math.log(3))


@pytest.mark.parametrize("key", ["label_smoothing", "z_loss", "softcap"])
@pytest.mark.parametrize("bad", ["x", [0.1], True])
def test_parameter_is_a_number(key: str, bad: object) -> None:
    with pytest.raises(TypeError, match=key):
        fl.cross_entropy(np.zeros((2, 3)), [0, 1], **{key: bad})


@pytest.mark.parametrize("bad", [None, (0, 1), 1.0])
def test_axis_is_an_integer(bad: object) -> None:
    with pytest.raises(TypeError, match="axis"):
        fl.logsumexp(np.zeros((2, 3)), axis=bad)


def test_grad_output_has_the_shape_of_the_value() -> None:
    x = np.zeros((2, 3, 2))
    with pytest.raises(ValueError, match="grad_output"):
        fl.logsumexp.value_and_grad(x, grad_output=np.arange(6.0).reshape(3, 2))
    kept = fl.logsumexp.value_and_grad(x, keepdims=True, grad_output=np.arange(6.0).reshape(2, 3, 1))[1]
    assert_same(kept, fl.logsumexp.value_and_grad(x, grad_output=np.arange(6.0).reshape(2, 3))[1])


def test_out_that_would_be_a_copy() -> None:
    with pytest.raises(TypeError, match="out"):
        fl.mse_loss.value_and_grad(np.zeros(3), np.ones(3), out=([1.0, 2.0, 3.0],))


def test_out_holds_an_operand() -> None:
    x = np.arange(200_000, dtype=np.float32) + 5
    expected = fl.mse_loss.value_and_grad(x.copy(), x[0].copy(), reduction="sum")
    actual = fl.mse_loss.value_and_grad(x, x[0, ...], out=x, reduction="sum")
    assert_same(actual, expected)
    logits, grad = np.ones((3, 4)), np.zeros((3, 4))
    upstream = grad[:, 0]
    upstream[:] = [1.0, 2.0, 3.0]
    expected = fl.logsumexp.value_and_grad(logits, grad_output=upstream.copy())
    assert_same(fl.logsumexp.value_and_grad(logits, grad_output=upstream, out=grad), expected)


def test_overlapping_rows_of_probabilities() -> None:
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(300, dtype=np.float16) / 300, 200)
    x = np.asfortranarray(np.random.default_rng(0).normal(size=windows.shape).astype(np.float32))
    assert_same(fl.cross_entropy(x, windows), fl.cross_entropy(x, windows.copy()))
