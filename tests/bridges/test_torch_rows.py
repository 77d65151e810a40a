"""Distances and margins of rows as torch.nn.functional has them: values, gradients by autograd, what is refused."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss.loss import LOSSES

torch = peer("torch")
F = torch.nn.functional

REDUCTIONS = st.sampled_from(["none", "mean", "sum"])
DTYPES = st.sampled_from(["float32", "float64"])
SEEDS = st.integers(0, 2**32 - 1)
CLASSES = st.sampled_from([1, 2, 3, 5, 16, 17, 64, 65, 130])
NORMS = st.sampled_from([2.0, 1.0, 0.5, 1.5, 3.0, 7.0, math.inf, -math.inf, -1.0, 0.0])
EXAMPLES = settings(max_examples=200, deadline=None)


@st.composite
def shapes(draw, count, most=5, same_axes=False):
    """Shapes that broadcast, the last axis of all of the same length."""
    classes, ndim = draw(CLASSES), draw(st.integers(0, most - 1))
    full = [draw(st.sampled_from([0, 1, 2, 3, 4, 33])) for _ in range(min(ndim, 2))]
    full += [draw(st.integers(1, 3)) for _ in range(ndim - len(full))]
    made = []
    for _ in range(count):
        shape = [draw(st.sampled_from([length, length, 1])) for length in full]
        made.append((*shape[0 if same_axes else draw(st.integers(0, ndim)) :], classes))
    return made


def drawn(seed, dtype, *shapes):
    """Arrays of these shapes; now and then the same rows, or parallel ones."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.normal(0, rng.choice([0.1, 1, 20]), shape)).astype(dtype) for shape in shapes]
    if len({each.shape for each in arrays}) == 1 and arrays[0].ndim > 1:
        for each in arrays[1:]:
            some = rng.random(each.shape[:-1]) < 0.2
            each[some] = arrays[0][some] * rng.choice([1, 2.5]).astype(dtype)
    return arrays


def close(actual, expected, dtype, scale=1.0):
    tolerance = {"float32": 2e-6, "float64": 1e-11}[dtype]
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def in_double(item):
    """What torch is given: its own rounding is not what is looked at."""
    if isinstance(item, np.ndarray):
        return torch.tensor(item.astype(np.float64) if item.dtype.kind == "f" else item)
    return item


def torch_of(function, arrays, *more, upstream=None, **options):
    """Torch's value, and its gradients by the arrays, of the sum or of what comes from upstream."""
    leaves = [in_double(each).requires_grad_() for each in arrays]
    value = function(*leaves, *map(in_double, more), **{key: in_double(item) for key, item in options.items()})
    if value.requires_grad:
        value.backward(torch.ones_like(value) if upstream is None else in_double(upstream).reshape(value.shape))
    grads = [leaf.new_zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in leaves]
    return value.detach().numpy(), [grad.numpy() for grad in grads]


def compare(loss, function, arrays, *more, dtype, scale=1.0, upstream=None, theirs=None, **options):
    """Value and gradients are torch's, and the value alone is the same."""
    theirs = options if theirs is None else theirs
    expected, expected_grads = torch_of(function, arrays, *more, upstream=upstream, **theirs)
    given = {} if upstream is None else {"grad_output": upstream}
    value, grads = loss.value_and_grad(*arrays, *more, **options, **given)
    close(value, expected, dtype, scale)
    for array, got, want in zip(arrays, grads if isinstance(grads, tuple) else (grads,), expected_grads, strict=True):
        assert got.dtype == array.dtype
        close(got, want, dtype, scale * max(1.0, np.abs(want).max(initial=0)))
    np.testing.assert_array_equal(loss(*arrays, *more, **options), value)


@EXAMPLES
@given(pair=shapes(2), dtype=DTYPES, seed=SEEDS, eps=st.sampled_from([1e-8, 0.5, 3.0]), data=st.data())
def test_cosine_similarity(pair, dtype, seed, eps, data):
    x, y = drawn(seed, dtype, *pair)
    shape = np.broadcast_shapes(*pair)
    axis = data.draw(st.sampled_from([a for a in range(-len(shape), len(shape)) if shape[a]]))
    upstream = np.random.default_rng(seed).normal(size=np.delete(shape, axis)).astype(dtype)
    norms = [np.linalg.norm(each, axis=axis) for each in np.broadcast_arrays(x, y)]
    scale = 3 / max(eps, np.min(norms, initial=1))  # of the terms of a gradient
    compare(
        fl.cosine_similarity, F.cosine_similarity, [x, y], dtype=dtype, upstream=upstream, axis=axis, eps=eps,
        theirs={"dim": axis, "eps": eps}, scale=scale,
    )  # fmt: skip


@EXAMPLES
@given(pair=shapes(2), dtype=DTYPES, seed=SEEDS, p=NORMS, eps=st.sampled_from([1e-6, 0.0, 0.1]), keepdim=st.booleans())
def test_pairwise_distance(pair, dtype, seed, p, eps, keepdim):
    x, y = drawn(seed, dtype, *pair)
    upstream = np.random.default_rng(seed).normal(size=np.broadcast_shapes(*pair)[:-1]).astype(dtype)
    upstream = upstream[..., None] if keepdim else upstream
    compare(
        fl.pairwise_distance, F.pairwise_distance, [x, y], dtype=dtype, upstream=upstream, p=p, eps=eps, keepdim=keepdim
    )


@EXAMPLES
@given(
    three=shapes(3, same_axes=True),
    dtype=DTYPES,
    seed=SEEDS,
    reduction=REDUCTIONS,
    margin=st.sampled_from([1.0, 0.1, 30.0]),
    p=st.sampled_from([2, 1.0, 3.0, math.inf]),
    swap=st.booleans(),
)
def test_triplet_margin_loss(three, dtype, seed, reduction, margin, p, swap):
    arrays = drawn(seed, dtype, *three)
    options = {"margin": margin, "swap": swap, "reduction": reduction}
    scale = 20.0  # of the distances
    nothing = 0 in np.broadcast_shapes(*three)
    if reduction == "mean" and nothing:
        assert math.isnan(fl.triplet_margin_loss(*arrays, **options))
        return
    compare(fl.triplet_margin_loss, F.triplet_margin_loss, arrays, dtype=dtype, scale=scale, p=p, **options)
    compare(
        fl.triplet_margin_with_distance_loss, F.triplet_margin_with_distance_loss, arrays, dtype=dtype, scale=scale,
        **options,
    )  # fmt: skip
    options["swap"] = False  # distances that are handed on are rounded: which of two that nearly tie is less, is chance
    for ours, theirs in (
        (fl.pairwise_distance, F.pairwise_distance),
        (fl.cosine_similarity, lambda x, y: F.cosine_similarity(x, y, dim=-1)),
    ):
        scale = 20.0 * max(1, math.prod(np.broadcast_shapes(*three)[:-1]))  # each distance is rounded
        compare(
            fl.triplet_margin_with_distance_loss, F.triplet_margin_with_distance_loss, arrays, dtype=dtype,
            scale=scale, distance_function=ours, theirs={**options, "distance_function": theirs}, **options,
        )  # fmt: skip


@EXAMPLES
@given(
    rows=st.sampled_from([None, 0, 1, 2, 33, 70]),
    classes=CLASSES,
    dtype=DTYPES,
    seed=SEEDS,
    reduction=REDUCTIONS,
    margin=st.sampled_from([0.0, 0.3, -0.5]),
    data=st.data(),
)
def test_cosine_embedding_loss(rows, classes, dtype, seed, reduction, margin, data):
    if rows is None:
        pair, many = [(classes,)] * 2, ()
    else:
        lengths = [data.draw(st.sampled_from([rows, rows, 1])) for _ in range(3)]
        pair, many = [(n, classes) for n in lengths[:2]], (lengths[2],)
    x, y = drawn(seed, dtype, *pair)
    t = np.asarray(np.random.default_rng(seed).choice([-1, 1, 1, 0], many))
    options = {"margin": margin, "reduction": reduction}
    if reduction == "mean" and 0 in np.broadcast_shapes(pair[0], pair[1], (*many, 1)):
        assert math.isnan(fl.cosine_embedding_loss(x, y, t, **options))
        return
    compare(fl.cosine_embedding_loss, F.cosine_embedding_loss, [x, y], t, dtype=dtype, **options)


@EXAMPLES
@given(
    rows=st.sampled_from([None, 0, 1, 2, 33, 70]),
    classes=CLASSES,
    dtype=DTYPES,
    seed=SEEDS,
    reduction=REDUCTIONS,
    p=st.sampled_from([1, 2]),
    margin=st.sampled_from([1.0, 0.25, -1.0]),
    weighted=st.booleans(),
    kept=st.booleans(),
)
def test_margins(rows, classes, dtype, seed, reduction, p, margin, weighted, kept):
    rng = np.random.default_rng(seed)
    shape = (classes,) if rows is None else (rows, classes)
    [x] = drawn(seed, dtype, shape)
    t = np.asarray(rng.integers(0, classes, (1,) if rows is None and kept else shape[:-1]))
    lists = np.where(rng.random(shape) < 0.3, -1, rng.integers(0, classes, shape))
    soft = rng.random(shape).astype(dtype)
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if weighted else None
    if reduction == "mean" and rows == 0:
        assert math.isnan(fl.multi_margin_loss(x, t))
        assert math.isnan(fl.multilabel_margin_loss(x, lists))
        assert math.isnan(fl.multilabel_soft_margin_loss(x, soft))
        return
    options = {"weight": weight, "reduction": reduction}
    if reduction == "sum" and rows == 0:  # torch's sum of no rows is memory nobody wrote
        for loss, labels in ((fl.multi_margin_loss, t), (fl.multilabel_margin_loss, lists)):
            value, grad = loss.value_and_grad(x, labels, reduction="sum")
            assert value == loss(x, labels, reduction="sum") == 0
            assert grad.shape == x.shape
    else:
        compare(fl.multi_margin_loss, F.multi_margin_loss, [x], t, dtype=dtype, p=p, margin=margin, **options)
        compare(fl.multilabel_margin_loss, F.multilabel_margin_loss, [x], lists, dtype=dtype, reduction=reduction)
    compare(fl.multilabel_soft_margin_loss, F.multilabel_soft_margin_loss, [x], soft, dtype=dtype, **options)


@EXAMPLES
@given(
    shape=st.sampled_from([(3,), (5, 3), (2, 5, 3), (2, 3, 4, 70), (0, 3), (5, 1)]),
    dtype=DTYPES,
    seed=SEEDS,
    reduction=REDUCTIONS,
    data=st.data(),
)
def test_multilabel_soft_margin_broadcasts(shape, dtype, seed, reduction, data):
    rng = np.random.default_rng(seed)
    given = [tuple(data.draw(st.sampled_from([n, 1])) if n else n for n in shape) for _ in range(2)]
    given = [each[data.draw(st.integers(0, len(shape))) :] for each in given]
    [x] = drawn(seed, dtype, shape)
    t, weight = rng.random(given[0]).astype(dtype), np.asarray(rng.uniform(0.1, 2, given[1])).astype(dtype)
    if reduction == "mean" and not x.size:
        return
    options = {"weight": weight, "reduction": reduction}
    compare(fl.multilabel_soft_margin_loss, F.multilabel_soft_margin_loss, [x], np.asarray(t), dtype=dtype, **options)


def test_targets_as_large_as_the_loss():
    x, t = np.random.default_rng(0).normal(size=(1, 3)), np.random.default_rng(1).random((5, 3))
    compare(fl.multilabel_soft_margin_loss, F.multilabel_soft_margin_loss, [x], t, dtype="float64", reduction="none")
    compare(fl.multilabel_soft_margin_loss, F.multilabel_soft_margin_loss, [x[:, :1].repeat(5, 0)], t, dtype="float64")


ROWS = [
    "cosine_similarity",
    "cosine_embedding_loss",
    "pairwise_distance",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
]


@pytest.mark.parametrize("name", ROWS)
def test_names_order_and_defaults_are_torchs(name):
    ours = inspect.signature(LOSSES[name]).parameters
    if inspect.isbuiltin(getattr(F, name)):
        expected = {
            "cosine_similarity": {
                "x1": inspect.Parameter.empty,
                "x2": inspect.Parameter.empty,
                "axis": -1,
                "eps": 1e-8,
            },
            "pairwise_distance": {
                "x1": inspect.Parameter.empty,
                "x2": inspect.Parameter.empty,
                "p": 2.0,
                "eps": 1e-6,
                "keepdim": False,
            },
        }[name]
    else:
        theirs = inspect.signature(getattr(F, name)).parameters
        expected = {key: each.default for key, each in theirs.items() if key not in ("size_average", "reduce")}
    assert {key: each.default for key, each in ours.items()} == expected
    assert list(ours) == list(expected)


T = torch.zeros
REFUSED = {
    "cosine axis": lambda m, z: m.cosine_similarity(z(3), z(3), 1),
    "cosine shapes": lambda m, z: m.cosine_similarity(z(2, 3), z(2, 4), -1),
    "cosine eps": lambda m, z: m.cosine_similarity(z(2, 3), z(2, 3), -1, -1.0),
    "distance shapes": lambda m, z: m.pairwise_distance(z(2, 3), z(2, 4)),
    "embedding of a number for rows": lambda m, z: m.cosine_embedding_loss(z(2, 3), z(2, 3), z(())),
    "embedding of numbers for a row": lambda m, z: m.cosine_embedding_loss(z(3), z(3), z(2)),
    "embedding of a column": lambda m, z: m.cosine_embedding_loss(z(2, 3), z(2, 3), z(2, 1)),
    "embedding of matrices": lambda m, z: m.cosine_embedding_loss(z(2, 2, 3), z(2, 2, 3), z(2, 2)),
    "embedding of a matrix and a row": lambda m, z: m.cosine_embedding_loss(z(2, 3), z(3), z(2)),
    "embedding of too many": lambda m, z: m.cosine_embedding_loss(z(2, 3), z(2, 3), z(3)),
    "triplet axes": lambda m, z: m.triplet_margin_loss(z(2, 3), z(3), z(2, 3)),
    "triplet shapes": lambda m, z: m.triplet_margin_loss(z(2, 3), z(2, 3), z(4, 3)),
    "triplet margin 0": lambda m, z: m.triplet_margin_loss(z(2, 3), z(2, 3), z(2, 3), 0.0),
    "triplet margin below 0": lambda m, z: m.triplet_margin_loss(z(2, 3), z(2, 3), z(2, 3), -1.0),
    "triplet with distance axes": lambda m, z: m.triplet_margin_with_distance_loss(z(2, 3), z(3), z(2, 3)),
    "triplet with distance margin": lambda m, z: m.triplet_margin_with_distance_loss(
        z(2, 3), z(2, 3), z(2, 3), margin=0.0
    ),
    "margin of 3": lambda m, z: m.multi_margin_loss(z(2, 3), z(2).long(), 3),
    "margin of matrices": lambda m, z: m.multi_margin_loss(z(2, 2, 3), z(2, 2).long()),
    "margin of no classes": lambda m, z: m.multi_margin_loss(z(2, 0), z(2).long()),
    "margin target too long": lambda m, z: m.multi_margin_loss(z(2, 3), z(3).long()),
    "margin target too deep": lambda m, z: m.multi_margin_loss(z(2, 3), z(2, 1).long()),
    "margin weight too long": lambda m, z: m.multi_margin_loss(z(2, 3), z(2).long(), weight=z(4)),
    "margin weight too deep": lambda m, z: m.multi_margin_loss(z(2, 3), z(2).long(), weight=z(3, 1)),
    "lists of another shape": lambda m, z: m.multilabel_margin_loss(z(2, 3), z(2, 2).long()),
    "lists for a row": lambda m, z: m.multilabel_margin_loss(z(3), z(1, 3).long()),
    "a list for rows": lambda m, z: m.multilabel_margin_loss(z(1, 3), z(3).long()),
    "lists of matrices": lambda m, z: m.multilabel_margin_loss(z(2, 2, 3), z(2, 2, 3).long()),
    "soft margin of a number": lambda m, z: m.multilabel_soft_margin_loss(z(()), z(())),
    "soft margin shapes": lambda m, z: m.multilabel_soft_margin_loss(z(2, 3), z(2, 4)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_refuses(case):
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        REFUSED[case](F, torch.zeros)
    with pytest.raises(ValueError):  # noqa: PT011
        REFUSED[case](fl, torch.zeros)


@pytest.mark.parametrize("label", [3, -1])
def test_labels_out_of_range(label):
    with pytest.raises(IndexError, match=rf"target\[1\] is {label}"):
        fl.multi_margin_loss(torch.zeros(2, 3), torch.tensor([0, label]))


@pytest.mark.parametrize("label", [3, -2])
@pytest.mark.parametrize("place", [0, 2])
def test_lists_of_labels_out_of_range(label, place):
    lists = torch.full((2, 3), -1)
    lists[1, place] = label
    with pytest.raises(RuntimeError):
        F.multilabel_margin_loss(torch.zeros(2, 3), lists)
    for call in (fl.multilabel_margin_loss, fl.multilabel_margin_loss.value_and_grad):
        with pytest.raises(IndexError, match=rf"target\[1, {place}\] is {label}, out of range for 3 classes"):
            call(torch.zeros(2, 3), lists)


def test_gradients_where_torch_defines_them():
    """Zero distances and norms, ties, and hinges at their corner."""
    zeros, ones = np.zeros((2, 3)), np.arange(6.0).reshape(2, 3) + 1
    for p in (1.0, 2.0, 3.0, 0.5, math.inf, -1.0):
        for x, y in ((zeros, zeros), (zeros, np.float64([[3, -3, 0], [0, 0, 1]]))):
            compare(fl.pairwise_distance, F.pairwise_distance, [x, y], dtype="float64", p=p, eps=0.0)
    for x, y in ((zeros, ones), (ones, zeros), (zeros, zeros), (ones * 1e-9, ones)):
        compare(fl.cosine_similarity, F.cosine_similarity, [x, y], dtype="float64", theirs={"dim": -1})
        compare(fl.cosine_embedding_loss, F.cosine_embedding_loss, [x, y], np.array([1, -1]), dtype="float64")
    x, y = np.float64([[1, 0]]), np.float64([[0, 1]])
    compare(fl.cosine_embedding_loss, F.cosine_embedding_loss, [x, y], np.array([-1]), dtype="float64")
    for three in ([zeros[:1]] * 3, [zeros[:1, :2], zeros[:1, :2], x], [x, y, zeros[:1, :2]]):
        compare(fl.triplet_margin_loss, F.triplet_margin_loss, three, dtype="float64", swap=True, eps=0.0)
