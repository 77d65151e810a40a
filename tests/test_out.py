"""out=: where a gradient is written, also into the input itself, and what is refused."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from cases import CASES
from helpers import DIFFERENTIABLE, DTYPES, NARROW, assert_same, dtype

import fastloss as fl
from fastloss import arrays
from fastloss.loss import LOSSES

CE = fl.cross_entropy


def drawn(name, dtype_name, variant, classes=70):
    shape = (70, classes)
    return CASES[name].draw(CASES[name].variants[variant], np.random.default_rng(5), shape, dtype_name)


@pytest.mark.parametrize("classes", [5, 70, 1500])
@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_out_is_written_and_returned(name, dtype_name, classes):
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, dtype_name, variant, classes)
        value, grad = LOSSES[name].value_and_grad(**arguments)
        out = each_of(grad, lambda grad: np.full_like(grad, 7))
        for _ in range(2):  # fresh, then reused
            got = LOSSES[name].value_and_grad(**arguments, out=out)
            assert all(map(operator.is_, flat(got[1]), flat(out)))
            assert_same(got, (value, grad))
        strided = each_of(grad, gapped)
        got = LOSSES[name].value_and_grad(**arguments, out=strided)
        assert all(map(operator.is_, flat(got[1]), flat(strided)))
        assert_same(got, (value, grad))
        own = {key: arguments[key].copy() for key in LOSSES[name].predictions}
        places = tuple(own.values())
        got = LOSSES[name].value_and_grad(**{**arguments, **own}, out=places if len(own) > 1 else places[0])
        assert all(map(operator.is_, flat(got[1]), places))
        assert_same(got, (value, grad))


@pytest.mark.parametrize("classes", [5, 1500])
@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("name", [name for name in LOSSES if hasattr(LOSSES[name], "grad_hess")])
def test_hessian_in_either_real_dtype(name, dtype_name, classes):
    """What has been computed in float64 is rounded once, which is what LightGBM wants of its predictions."""
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, dtype_name, variant, classes)
        want = LOSSES[name].grad_hess(**arguments)
        for *dtypes, layout in (
            (np.float32, np.float32, "F"),
            (np.float64, np.float64, "C"),
            (np.float32, np.float64, "C"),
        ):
            out = tuple(np.full_like(each, 7, to, order=layout) for each, to in zip(want, dtypes, strict=True))
            assert LOSSES[name].grad_hess(**arguments, out=out)[0] is out[0]
            for got, each in zip(out, want, strict=True):
                np.testing.assert_array_equal(got, each.astype(got.dtype))


def gapped(like):
    steps = [..., *[slice(None, None, 2)] * (like.ndim - 1), *[slice(None, None, -2)] * bool(like.ndim)]
    return np.zeros([2 * n for n in like.shape], like.dtype)[tuple(steps)]


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 15, 16])
@pytest.mark.parametrize("size", [1, 63, 64, 200, 1024, 5000])
@pytest.mark.parametrize("name", ["mse_loss", "gaussian_nll_loss", "margin_ranking_loss"])
def test_past_the_cache(name, size, offset, dtype_name, monkeypatch, isa):
    arguments = CASES[name].draw(CASES[name].variants[0], np.random.default_rng(5), (size,), dtype_name)
    value, grad = LOSSES[name].value_and_grad(**arguments)
    monkeypatch.setattr(arrays, "STREAM_BYTES", 0)
    room = each_of(grad, lambda grad: np.full(size + 64, 7, grad.dtype))
    out = each_of(room, lambda room: room[offset : offset + size])
    assert_same(LOSSES[name].value_and_grad(**arguments, out=out), (value, grad))
    for whole in flat(room):
        assert (whole[:offset] == 7).all()
        assert (whole[offset + size :] == 7).all()


@pytest.mark.parametrize("dtype_name", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("offset", [0, 1, 5])
@pytest.mark.parametrize(
    "classes", [2, 3, 10, 17, 64, NARROW - 1, NARROW, NARROW + 1, 1000, 1025, 1087, 1088, 1089, 2100]
)
def test_rows_past_the_cache(classes, offset, dtype_name, monkeypatch, isa):
    """With the target's class on either side of where a step or a block begins; from other memory, and in place."""
    near = np.add.outer([0, 64, 1024, classes - 64, classes], np.arange(-2, 3))
    labels = np.unique(near.clip(0, classes - 1))
    labels = np.resize(labels, max(len(labels), 10007 // classes))
    x = np.random.default_rng(5).normal(size=(len(labels), classes)).astype(dtype(dtype_name))
    expected = CE.value_and_grad(x, labels)
    monkeypatch.setattr(arrays, "STREAM_BYTES", 0)
    room = np.full(x.size + 64, 7, x.dtype)
    out = room[offset : offset + x.size].reshape(x.shape)
    for source in (x, out):
        out[...] = x
        assert_same(CE.value_and_grad(source, labels, out=out), expected)
        assert (room[:offset] == 7).all()
        assert (room[offset + x.size :] == 7).all()


def flat(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def each_of(gradients, function):
    """What a function makes of a gradient, or of each of several."""
    return tuple(map(function, gradients)) if isinstance(gradients, tuple) else function(gradients)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("classes", [5, 200])
def test_in_place_along_any_axis(axis, classes):
    x = np.random.default_rng(0).normal(size=[classes if a == axis else 30 for a in range(3)]).astype(np.float32)
    t = np.random.default_rng(0).integers(0, classes, (30, 30))
    value, grad = CE.value_and_grad(x, t, axis=axis)
    assert_same(CE.value_and_grad(x, t, axis=axis, out=x), (value, grad))


def test_in_place_of_a_strided_input():
    x = np.random.default_rng(0).normal(size=(60, 300))[::-2, ::3]
    t = np.arange(30)
    expected = CE.value_and_grad(x.copy(), t)
    assert_same(CE.value_and_grad(x, t, out=x), expected)


def unless_refused(call):
    """What a call returns, or None when it says that it does not write there."""
    try:
        return call()
    except ValueError as error:
        if "out" not in str(error):
            raise
        return None


@pytest.mark.parametrize("name", ["mse_loss", "cross_entropy"])
@pytest.mark.parametrize("shift", [1, 7, 64, -1, -64])
@pytest.mark.parametrize("length", [50, 3000])
def test_overlapping_but_shifted_is_right_or_refused(name, shift, length):
    rows = 30
    block = np.random.default_rng(0).normal(size=rows * length + 128).astype(np.float32)
    x = block[64 : 64 + rows * length].reshape(rows, length)
    out = block[64 + shift : 64 + shift + rows * length].reshape(rows, length)
    t = np.arange(rows) if name == "cross_entropy" else np.float32(0.5)
    before = block.copy()
    expected = LOSSES[name].value_and_grad(x.copy(), t)
    got = unless_refused(lambda: LOSSES[name].value_and_grad(x, t, out=out))
    assert_same(got or block, expected if got else before)


def test_target_in_out_is_right_or_refused():
    x = np.random.default_rng(0).normal(size=(500, 3000)).astype(np.float32)
    t = np.random.default_rng(1).random((500, 3000)).astype(np.float32)
    for loss in (fl.mse_loss, fl.cross_entropy):
        expected = loss.value_and_grad(x, t)
        out = t.copy()
        got = unless_refused(lambda loss=loss, out=out: loss.value_and_grad(x, out, out=out))
        assert_same(got or out, expected if got else t)


@pytest.mark.parametrize("dtype_name", DTYPES)
def test_what_is_refused(dtype_name):
    x = np.zeros((4, 3), dtype(dtype_name))
    t = np.zeros(4, int)
    locked = np.zeros_like(x)
    locked.flags.writeable = False
    other = np.zeros((4, 3), np.float32 if dtype_name == "float64" else np.float64)
    for out, error in [
        (np.zeros((3, 4), x.dtype), ValueError),
        (np.zeros(12, x.dtype), ValueError),
        (locked, ValueError),
        (other, (TypeError, ValueError)),
        (np.zeros((4, 3), int), (TypeError, ValueError)),
        (x.tolist(), (TypeError, ValueError)),
    ]:
        with pytest.raises(error, match="out"):
            CE.value_and_grad(x, t, out=out)


def test_hessian_out():
    x, t = np.zeros((4, 3), np.float32), np.zeros(4, int)
    expected = CE.grad_hess(x, t)
    out = (np.empty_like(x), np.empty_like(x))
    got = CE.grad_hess(x, t, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    assert_same(got, expected)
