"""What arrays may look like: any strides, alignment, byte order or kind of object gives the same bits."""

from __future__ import annotations

import array
import inspect

import numpy as np
import pytest
from cases import CASES
from helpers import DTYPES, NARROW, assert_same, assert_ulp, dtype, every_isa, everything
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastloss as fl
from fastloss import arrays
from fastloss.loss import LOSSES

CE, BCE, MSE = fl.cross_entropy, fl.binary_cross_entropy_with_logits, fl.mse_loss


def drawn(name, dtype_name="float32", variant=0, shape=None):
    by_family = {
        "pointwise": (70, 40),
        "rowwise": (5, 70),
        "sequence": (9, 4, 70),
        "linear": (5, 70),
        "embedding": (40, 7),
    }
    shape = shape or by_family[LOSSES[name].family]
    return CASES[name].draw(CASES[name].variants[variant], np.random.default_rng(5), shape, dtype_name)


def reversed_copy(x):
    axes = (slice(None, None, -1),) * x.ndim
    return x[axes].copy()[axes]


def gapped(x):
    wide = np.zeros([2 * n + 1 for n in x.shape], x.dtype)
    view = wide[(slice(1, None, 2),) * x.ndim]
    view[...] = x
    return view


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def swapped(x):
    return x if x.dtype.name == "bfloat16" else x.astype(x.dtype.newbyteorder())


def native(answer):
    """An answer in this machine's byte order: a gradient has the byte order of its input."""
    if isinstance(answer, tuple):
        return tuple(native(each) for each in answer)
    return answer.astype(answer.dtype.newbyteorder("=")) if isinstance(answer, np.ndarray) else answer


LAYOUTS = {
    "fortran": np.asfortranarray,
    "reversed": reversed_copy,
    "gapped": gapped,
    "unaligned": unaligned,
    "read-only": read_only,
    "big-endian": swapped,
    "transposed twice": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0),
}


@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LOSSES)
def test_layouts(name, layout, dtype_name):
    for variant in range(len(CASES[name].variants)):
        # Wider rows whose classes lie apart are added up in another order: see below.
        shape = (5, 64) if layout in ("fortran", "transposed twice") else None
        plain = drawn(name, dtype_name, variant, shape)
        turned = {key: LAYOUTS[layout](item) if np.ndim(item) else item for key, item in plain.items()}
        expected = everything(name, **plain)
        before = {key: np.copy(item) for key, item in turned.items()}
        assert_same(native(everything(name, **turned)), native(expected))
        assert all(np.array_equal(turned[key], item) for key, item in before.items())


@pytest.mark.parametrize("name", LOSSES)
def test_zero_strides(name):
    plain = drawn(name)
    views = {key: np.broadcast_to(item[:1], item.shape) if np.ndim(item) else item for key, item in plain.items()}
    copies = {key: np.copy(view) if np.ndim(view) else view for key, view in views.items()}
    assert_same(everything(name, **views), everything(name, **copies))


def test_zero_class_stride():
    x = np.broadcast_to(np.float32([[1], [2]]), (2, 3000))
    assert_same(
        everything("cross_entropy", input=x, target=[5, 6]),
        everything("cross_entropy", input=x.copy(), target=[5, 6]),
    )


@pytest.mark.parametrize("name", LOSSES)
def test_memory_mapped(name, tmp_path):
    plain = drawn(name)
    mapped = {}
    for key, item in plain.items():
        np.save(tmp_path / f"{key}.npy", item)
        mapped[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="r") if np.ndim(item) else item
    expected = everything(name, **plain)
    assert_same(everything(name, **mapped), expected)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, loss in LOSSES.items()
        if loss.family != "pointwise" and "axis" in inspect.signature(loss).parameters
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -3, -4])
@pytest.mark.parametrize("classes", [3, 40, 1100])
def test_class_axis(name, axis, classes):
    """The same bits along any axis; of wide rows the same but for the order of additions."""
    shape = (4, 2, 3, classes)
    compare = assert_same if classes <= 64 else assert_alike
    for variant in range(len(CASES[name].variants)):
        last = drawn(name, variant=variant, shape=shape)
        moved = {
            key: np.ascontiguousarray(np.moveaxis(item, -1, axis)) if np.shape(item) == shape else item
            for key, item in last.items()
        }
        if last.get("keepdims"):
            moved["grad_output"] = np.moveaxis(moved["grad_output"], -1, axis)
        for got, want in zip(everything(name, axis=axis, **moved), everything(name, **last), strict=True):
            compare(back(got, axis), back(want, -1))


@every_isa
@pytest.mark.parametrize("dtype_name", ["float32", "float64", "float16"])
@pytest.mark.parametrize("stream", [False, True])
def test_narrow_rows_are_transposed(dtype_name, stream, isa, monkeypatch):
    """Whole groups of rows and a rest, side by side in memory as they are walked, and one after another."""
    if stream:
        monkeypatch.setattr(arrays, "STREAM_BYTES", 0)
    rng = np.random.default_rng(0)
    for classes in range(1, NARROW + 2):
        rows = rng.normal(size=(165, classes)).astype(dtype_name)
        y = rng.integers(classes, size=165)
        columns = np.ascontiguousarray(rows.T)
        value, grad = CE.value_and_grad(rows, y, reduction="none", out=np.empty_like(rows))
        expected, expected_grad = CE.value_and_grad(columns, y, axis=0, reduction="none", out=np.empty_like(columns))
        assert_same(value, expected)
        assert_same(grad, expected_grad.T.copy())
        assert_same(CE(rows, y, reduction="none"), value)


@every_isa
@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16"])
@pytest.mark.parametrize("classes", [NARROW + 1, 160, 1000, 1023, 1024, 1025, 1056, 2100])
def test_halves_are_widened(dtype_name, classes, isa):
    """Side by side, so that they are widened on the way, and apart; ignored rows between others; a NaN."""
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(70, classes)).astype(dtype(dtype_name))
    halves[9, -1], halves[40, :5] = np.nan, np.inf
    y = rng.integers(classes, size=70)
    y[[3, 30, 31, 69]] = -100
    wide = halves.astype(np.float32)
    expected = CE(wide, y, reduction="none"), *fl.score(wide, np.abs(y) % classes)
    for each in (halves, gapped(halves), swapped(halves)):
        got = CE(each, y, reduction="none"), *fl.score(each, np.abs(y) % classes)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)


def assert_alike(actual, expected):
    if isinstance(expected, tuple):
        for got, want in zip(actual, expected, strict=True):
            assert_alike(got, want)
    else:
        assert np.asarray(actual).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-4)


def back(answer, axis):
    """An answer with its class axis last."""
    if isinstance(answer, tuple):
        return tuple(back(each, axis) for each in answer)
    return np.moveaxis(answer, axis, -1).copy() if np.ndim(answer) == 4 else answer


@pytest.mark.parametrize("target_dtype", ["bool", *np.typecodes["AllInteger"]])
def test_targets_of_every_integer_dtype(target_dtype):
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    t = np.random.default_rng(0).integers(0, 2, 50)
    for name in ("cross_entropy", "nll_loss", "selective_log_softmax", "score", "perplexity"):
        assert_same(everything(name, input=x, target=t.astype(target_dtype)), everything(name, input=x, target=t))


@pytest.mark.parametrize("target_dtype", ["int8", "int16", "int32", "int64"])
def test_ignored_targets_of_every_signed_dtype(target_dtype):
    x = np.random.default_rng(0).normal(size=(50, 7))
    t = np.where(np.arange(50) % 3 == 0, -100, np.arange(50) % 7).astype(target_dtype)
    assert CE(x, t) == pytest.approx(CE(x[t >= 0], t[t >= 0]), rel=1e-14)


def test_ignore_index_in_range_and_unsigned():
    x = np.random.default_rng(0).normal(size=(9, 255))
    t = np.arange(9, dtype=np.uint8)
    t[4] = 255
    keep = np.arange(9) != 4
    assert CE(x, t, ignore_index=255) == pytest.approx(CE(x[keep], t[keep]), rel=1e-14)
    assert CE(x, np.arange(9), ignore_index=4) == pytest.approx(CE(x[keep], np.arange(9)[keep]), rel=1e-14)


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize(
    ("left", "right"),
    [((), ()), ((3, 4), ()), ((3, 4), (4,)), ((3, 4), (3, 1)), ((2, 3, 4), (3, 1)), ((70000,), (1,))],
)
def test_broadcast_targets(name, left, right):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=left).astype(np.float32), np.asarray(rng.random(right) < 0.5, np.float32)
    weight = np.asarray(rng.random(right), np.float32)
    full = {"target": np.broadcast_to(t, left).copy(), "weight": np.broadcast_to(weight, left).copy()}
    assert_same(everything(name, input=x, target=t, weight=weight), everything(name, input=x, **full))


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize(("left", "right"), [((), (3,)), ((4,), (3, 4)), ((3, 1), (3, 4)), ((1,), (1000,))])
def test_broadcast_input_has_its_own_gradient(name, left, right):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=left), rng.integers(0, 2, right).astype(float)
    value, grad = LOSSES[name].value_and_grad(x, t)
    expected, expected_grad = LOSSES[name].reference.value_and_grad(x, t)
    assert value == pytest.approx(expected, rel=1e-13)
    assert grad.shape == left
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-12)


def test_pos_weight_per_class():
    rng = np.random.default_rng(0)
    x, t, pos = rng.normal(size=(6, 5)), rng.random((6, 5)), rng.random(5)
    assert_ulp(BCE(x, t, pos_weight=pos, reduction="none"), BCE.reference(x, t, pos_weight=pos, reduction="none"))


@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", DTYPES)
def test_mixed_dtypes(left, right):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 70)).astype(dtype(left))
    t = rng.random((30, 70)).astype(dtype(right))
    # A target is computed in the compute dtype of the input.
    computed = t if left == "float64" else t.astype(np.float32)
    for name in ("mse_loss", "binary_cross_entropy_with_logits", "cross_entropy"):
        value, grad = LOSSES[name].value_and_grad(x, t, reduction="none")
        expected, expected_grad = LOSSES[name].reference.value_and_grad(x, computed, reduction="none")
        assert value.dtype == (np.float64 if left == "float64" else np.float32)
        assert grad.dtype == x.dtype
        assert_ulp(value, expected)
        assert_ulp(grad, expected_grad, scale=1.0 + t.astype(float).sum(-1, keepdims=True) / 10)


class Exporter:
    """An array known only by one protocol."""

    def __init__(self, x, *protocol):
        for name in protocol:
            setattr(type(self), name, lambda self, *args, name=name, **kwargs: getattr(x, name)(*args, **kwargs))


def dlpack(x):
    return type("OnlyDLPack", (Exporter,), {})(x, "__dlpack__", "__dlpack_device__")


def test_objects():
    x = np.float32([[1, 2, 3], [4, 5, 7]])
    t = np.array([0, 2])
    expected = CE.value_and_grad(x, t)
    assert_same(CE.value_and_grad(dlpack(x), dlpack(t)), expected)
    assert_same(CE.value_and_grad(memoryview(x), memoryview(t)), expected)
    assert_same(CE.value_and_grad(x, [0, 2]), expected)
    assert_same(CE.value_and_grad(x, (0, 2)), expected)
    assert_same(CE.value_and_grad(x, array.array("q", [0, 2])), expected)
    assert_same(CE.value_and_grad(x.tolist(), t), CE.value_and_grad(x.astype(float), t))
    assert_same(CE.value_and_grad(x[0], 0), CE.value_and_grad(x[0], np.int8(0)))
    assert_same(MSE(array.array("d", [1, 2]), [1.0, 4.0]), 2.0)


def test_scalars():
    assert MSE(1.0, 3.0) == 4.0
    value, grad = MSE.value_and_grad(np.float32(1), np.float32(3), reduction="none")
    assert np.shape(value) == grad.shape == ()
    assert (float(value), float(grad)) == (4.0, -4.0)
    assert CE([0.0, 0.0], 1) == pytest.approx(np.log(2))
    assert np.shape(CE([0.0, 0.0], 1, reduction="none")) == ()
    assert np.shape(fl.logsumexp([0.0, 0.0])) == ()
    assert fl.logsumexp([0.0, 0.0], keepdims=True).shape == (1,)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (name, shape)
        for name, loss in LOSSES.items()
        for shape in [(0, 3), (0, 100), (2, 0, 3), (0, 2, 70)]
        if loss.family == "rowwise" and len(shape) <= CASES[name].axes
    ],
)
def test_no_rows(name, shape):
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, variant=variant, shape=shape)
        for answer in everything(name, **arguments):
            for each in flattened(answer):
                assert isinstance(each, float) or each.size == 0


def flattened(answer):
    return [one for each in answer for one in flattened(each)] if isinstance(answer, tuple) else [answer]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_layout_of_any_shape(data):
    """A random view of a random block of memory, classes along any axis."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    block = (
        np.random.default_rng(0)
        .normal(0, 5, [4 * n for n in shape])
        .astype(data.draw(st.sampled_from(["f4", "f8", "f2"])))
    )
    steps = [data.draw(st.sampled_from([1, 2, 3, -1, -2, -3])) for _ in shape]
    view = block[tuple(slice(None, None, step) for step in steps)][tuple(slice(0, n) for n in shape)]
    order = data.draw(st.permutations(range(len(shape))))
    view = view.transpose(order)
    classes = view.shape[axis]
    target = np.arange(view.size // classes).reshape(np.delete(view.shape, axis)) % classes
    for name in ("cross_entropy", "softmax", "score", "entropy"):
        arguments = {"input": view, "axis": axis}
        if "target" in inspect.signature(LOSSES[name]).parameters:
            arguments["target"] = target
        assert_same(everything(name, **arguments), everything(name, **{**arguments, "input": view.copy(order="C")}))
    assert_same(
        everything("mse_loss", input=view, target=view[..., :1]),
        everything("mse_loss", input=view.copy(), target=view[..., :1].copy()),
    )
