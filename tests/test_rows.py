"""Distances, margins and overlaps of rows: the numerical policy, broadcasting, axes, labels, what is refused."""

from __future__ import annotations

import itertools
from decimal import Decimal, getcontext

import numpy as np
import pytest
from cases import CASES
from helpers import NARROW, assert_same, assert_ulp, dtype, every_isa

import fastloss as fl
from fastloss.loss import LOSSES
from fastloss.run_rowsums import RowSums

INF, NAN = np.inf, np.nan
ROWS, BAD = 40, 7
SUMS = [
    "cosine_similarity",
    "cosine_embedding_loss",
    "pairwise_distance",
    "triplet_margin_loss",
    "multi_margin_loss",
    "multilabel_soft_margin_loss",
    "dice_loss",
    "tversky_loss",
]
EVERY = [(name, variant) for name in [*SUMS, "multilabel_margin_loss"] for variant in range(len(CASES[name].variants))]


def drawn(name, variant, shape, dtype_name="float32"):
    return CASES[name].draw(CASES[name].variants[variant], np.random.default_rng(5), shape, dtype_name)


def per_row(name, arguments):
    """Value and gradients of every row, in one tuple."""
    options = {"reduction": "none"} if name not in ("cosine_similarity", "pairwise_distance") else {}
    value, grads = LOSSES[name].value_and_grad(**arguments, **options)
    only_value = {key: item for key, item in arguments.items() if key != "grad_output"}
    assert_same(value, LOSSES[name](**only_value, **options))
    return value, *(grads if isinstance(grads, tuple) else (grads,))


class TestNaN:
    @pytest.mark.parametrize("classes", [3, NARROW, NARROW + 1, 1500])
    @pytest.mark.parametrize("dtype_name", ["float32", "float64"])
    @pytest.mark.parametrize(("name", "variant"), EVERY)
    def test_stays_in_its_row(self, name, variant, dtype_name, classes, isa):
        arguments = drawn(name, variant, (ROWS, classes), dtype_name)
        clean = per_row(name, arguments)
        if name == "multilabel_margin_loss":
            arguments["target"][BAD, 0] = 0  # a row without labels costs nothing
            clean = per_row(name, arguments)
        for key in LOSSES[name].predictions:
            for place in (0, -1):
                broken = {**arguments, key: arguments[key].copy()}
                broken[key][BAD, place] = NAN
                for got, want in zip(per_row(name, broken), clean, strict=True):
                    assert_same(np.delete(got, BAD, axis=0), np.delete(want, BAD, axis=0))
                    assert np.isnan(got[BAD]).all()


class TestZero:
    def test_norms(self, isa):
        x = np.zeros((2, 5))
        value, grads = fl.cosine_similarity.value_and_grad(x, x)
        assert (value == 0).all()
        assert (np.concatenate(grads) == 0).all()
        value, grads = fl.cosine_similarity.value_and_grad(x, x + 1, eps=0)
        assert (value == 0).all()
        assert (np.concatenate(grads) == 0).all()
        value, grads = fl.cosine_embedding_loss.value_and_grad(x, x, [1, -1], reduction="none")
        np.testing.assert_array_equal(value, [1, 0])
        assert (np.concatenate(grads) == 0).all()

    @pytest.mark.parametrize("classes", [4, 100])
    @pytest.mark.parametrize("p", [2, 1, 3, 0.5, INF, -INF, -1, 0])
    def test_distances(self, p, classes, isa):
        x = np.random.default_rng(0).normal(size=(3, classes))
        value, grads = fl.pairwise_distance.value_and_grad(x, x, p=p, eps=0)
        assert (value == 0).all()
        assert (np.concatenate(grads) == 0).all()
        value, grads = fl.triplet_margin_loss.value_and_grad(x, x, x, p=p, eps=0, swap=True)
        assert value == 1
        assert (np.concatenate(grads) == 0).all()

    def test_overlap_of_empty_sets(self, isa):
        x = np.zeros((2, 5))
        value, grad = fl.dice_loss.value_and_grad(x, x, smooth=0, from_logits=False)
        assert value == 0
        assert (grad == 0).all()
        assert fl.dice_loss(np.full((2, 5), -INF), x, smooth=0) == 0


@every_isa
@pytest.mark.parametrize("scale", [1.0, 2.5, 1e-3])
@pytest.mark.parametrize("step", [1e-1, 1e-4, 1e-6, 1e-8])
def test_cosine_near_1_keeps_its_digits(step: float, scale: float, isa: str) -> None:
    getcontext().prec = 60
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 200)) * 1e3
    y = scale * (x + step * 1e3 * rng.normal(size=x.shape))
    e = Decimal(float(np.float32(1e-12)))
    expected = []
    for row, other in zip(x.tolist(), y.tolist(), strict=True):
        a, b = [Decimal(v) for v in row], [Decimal(v) for v in other]
        dot = sum(u * v for u, v in zip(a, b, strict=True))
        size = ((sum(u * u for u in a) + e) * (sum(v * v for v in b) + e)).sqrt()
        expected.append(float(1 - dot / size))
    loss, rough = fl.cosine_embedding_loss, max(1e-13, 1e-15 / step)  # where x - t y is rounded twice
    rtol = rough if isa == "base" else 1e-13
    np.testing.assert_allclose(loss(x, y, np.ones(5), reduction="none"), expected, rtol=rtol)
    np.testing.assert_allclose(loss.reference(x, y, np.ones(5), reduction="none"), expected, rtol=rough)


@every_isa
@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_powers_neither_overflow_nor_vanish(size: float, isa: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 70)) * size
    for p in (3, 7.5, 0.5, -2):
        value, grads = fl.pairwise_distance.value_and_grad(x, np.zeros(70), p=p, eps=0)
        expected, expected_grads = fl.pairwise_distance.value_and_grad(x / size, np.zeros(70), p=p, eps=0)
        np.testing.assert_allclose(value, expected * size, rtol=1e-13)
        np.testing.assert_allclose(grads[0], expected_grads[0], rtol=1e-11)


def test_infinite_differences(isa):
    x = np.array([[INF, 1.0, 2.0], [1.0, 2.0, 3.0]])
    for p in (2, 1, 3, INF):
        np.testing.assert_array_equal(fl.pairwise_distance(x, np.zeros(3), p=p) == INF, [True, False])
    # A hinge that is met takes no notice of an infinite gradient.
    _, grads = fl.triplet_margin_loss.value_and_grad(np.zeros((1, 3)), np.zeros((1, 3)), x[:1])
    assert (np.concatenate(grads) == 0).all()


def test_scores_of_infinity(isa):
    x = np.array([[INF, 0.0, 1.0], [0.0, -INF, 1.0]])
    value, grad = fl.multi_margin_loss.value_and_grad(x, [0, 0], reduction="none")
    np.testing.assert_array_equal(value, [0, 2 / 3])
    np.testing.assert_allclose(grad, [[0, 0, 0], [-1 / 3, 0, 1 / 3]])
    assert fl.multi_margin_loss(x, [1, 1]) == INF


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [1, 2, 17, NARROW + 1, 1030])
def test_weight_of_a_class_that_is_no_number(classes, dtype, order, isa):
    """Nothing times infinity is nothing, for a row that meets its margin and an element that does; a NaN stays."""
    x = np.zeros((4, classes), dtype, order)
    x[:, 0] = [3, 0.5, 3, 3]
    x[1, 2:] = -3  # one class over
    x[2, -1] = np.nan
    x[3, 1:] = 2.5
    over = [0, INF, np.nan, INF] if classes > 1 else [0, 0, 0, 0]
    for p, each in itertools.product((1, 2), (INF, np.nan)):
        weight = np.ones(classes, dtype)
        weight[0] = each
        options = {"weight": weight, "reduction": "none"}
        value, grad = fl.multi_margin_loss.value_and_grad(x, [0] * 4, p, **options)
        expected, expected_grad = fl.multi_margin_loss.reference.value_and_grad(x, [0] * 4, p, **options)
        if each == INF:
            np.testing.assert_array_equal(value, over)
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_array_equal(grad, expected_grad)
        np.testing.assert_array_equal(fl.multi_margin_loss(x, [0] * 4, p, **options), value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 16, 17, NARROW + 1, 1030])
def test_labels_of_infinity(classes, dtype, isa):
    """A label's own score is in no sum: its distance from itself would be NaN."""
    x = np.random.default_rng(0).normal(size=(4, classes)).astype(dtype)
    t = np.full((4, classes), -1)
    t[:, 0] = [0, classes - 1, classes // 2, 0]
    x[np.arange(4), t[:, 0]] = [-INF, -INF, INF, -INF]
    for p in (1, 2):
        value, grad = fl.multi_margin_loss.value_and_grad(x, t[:, 0], p, reduction="none")
        expected, expected_grad = fl.multi_margin_loss.reference.value_and_grad(x, t[:, 0], p, reduction="none")
        np.testing.assert_array_equal(value, [INF, INF, 0, INF])
        np.testing.assert_array_equal(value, expected)
        assert_ulp(grad, expected_grad)
    t[3, 1] = classes - 1  # and one more, in one row
    value, grad = fl.multilabel_margin_loss.value_and_grad(x, t, reduction="none")
    expected, expected_grad = fl.multilabel_margin_loss.reference.value_and_grad(x, t, reduction="none")
    np.testing.assert_array_equal(value, [INF, INF, 0, INF if classes > 2 else 0])
    np.testing.assert_array_equal(value, expected)
    assert_ulp(grad, expected_grad)


# --- axes and layouts


@every_isa
@pytest.mark.parametrize("dtype_name", ["float32", "float64", "float16"])
@pytest.mark.parametrize("classes", [63, 64, 85, 86, 100, NARROW - 1, NARROW, NARROW + 1, 200, 1000, 1025, 2100])
@pytest.mark.parametrize("name", SUMS)
def test_same_bits_whatever_the_layout(name: str, classes: int, dtype_name: str, isa: str) -> None:
    """Rows one by one and rows together."""
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, variant, (70, classes), dtype_name)
        across = {
            key: np.asfortranarray(item) if np.shape(item) == (70, classes) else item for key, item in arguments.items()
        }
        for got, want in zip(per_row(name, across), per_row(name, arguments), strict=True):
            assert_same(np.ascontiguousarray(got), np.ascontiguousarray(want))


@every_isa
@pytest.mark.parametrize("axis", [(0, 2, 3), (2, 3), (1, 3), (0, 1), (3, 0), None, (0, 1, 2, 3), -1, 1])
@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (2, 3, 40, 50), (3, 1, 4, 2)])
@pytest.mark.parametrize("dtype_name", ["float32", "bfloat16"])
def test_overlap_along_any_axes(axis: object, shape: tuple[int, ...], dtype_name: str, isa: str) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=shape).astype(dtype(dtype_name)), rng.random(shape) < 0.4
    for images, target in ((x, t), (x[::-1, :, ::-1], t), (np.asfortranarray(x), t)):
        value, grad = fl.dice_loss.value_and_grad(images, target, axis=axis, reduction="none")
        expected, expected_grad = fl.dice_loss.reference.value_and_grad(images, target, axis=axis, reduction="none")
        assert_ulp(value, expected, 5)
        assert_ulp(grad, expected_grad, 6)
        axes = range(4) if axis is None else np.atleast_1d(axis)
        last = range(4 - len(axes), 4)
        flat = [np.moveaxis(each, sorted(axes), last).copy().reshape(*np.shape(value), -1) for each in (images, target)]
        assert_same(fl.dice_loss(*flat, reduction="none"), value)
    own = x.copy()
    _, expected = fl.tversky_loss.value_and_grad(x, t, axis=axis)
    assert fl.tversky_loss.value_and_grad(own, t, axis=axis, out=own)[1] is own
    assert_same(own, expected)


@every_isa
@pytest.mark.parametrize("classes", [3, 64, 100])
@pytest.mark.parametrize(
    ("left", "right"),
    [((7, 1), (1, 9)), ((), (9,)), ((7, 9), (9,)), ((7, 1, 1), (4, 9)), ((1,), (40,)), ((33, 2), (2,))],
)
def test_broadcast_pairs(left: tuple[int, ...], right: tuple[int, ...], classes: int, isa: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(*left, classes)), rng.normal(size=(*right, classes))
    shape = np.broadcast_shapes(x.shape, y.shape)
    full = [np.broadcast_to(each, shape).copy() for each in (x, y)]
    g = rng.normal(size=shape[:-1])
    for loss in (fl.cosine_similarity, fl.pairwise_distance):
        assert_same(loss(x, y), loss(*full))
        value, grads = loss.value_and_grad(x, y, grad_output=g)
        expected, expected_grads = loss.reference.value_and_grad(x, y, grad_output=g)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
        for got, want, of in zip(grads, expected_grads, (x, y), strict=True):
            assert got.shape == of.shape
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


def test_broadcast_along_the_rows():
    x, y = np.random.default_rng(0).normal(size=(5, 70)), np.random.default_rng(1).normal(size=(5, 1))
    assert_same(fl.pairwise_distance(x, y), fl.pairwise_distance(x, np.repeat(y, 70, 1)))
    with pytest.raises(ValueError, match=r"length 1.*anchor \(5, 1\)"):
        fl.triplet_margin_loss(y, y, x)


def test_mixed_dtypes():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 70))
    for left, right in ((np.float32, np.float64), (np.float16, np.float32), (np.float64, np.float16)):
        a, b = x.astype(left), y.astype(right)
        value, (by_a, by_b) = fl.cosine_similarity.value_and_grad(a, b)
        assert value.dtype == (np.float64 if np.float64 in (left, right) else np.float32)
        assert (by_a.dtype, by_b.dtype) == (left, right)
        np.testing.assert_allclose(value, fl.cosine_similarity.reference(a, b), rtol=1e-5)


def test_numbers_are_rows():
    assert fl.cosine_similarity(2.0, -3.0) == -1
    assert np.shape(fl.pairwise_distance(2.0, 3.0)) == ()
    assert np.shape(fl.pairwise_distance([2.0], [3.0], keepdim=True)) == (1,)
    assert fl.triplet_margin_loss(1.0, 2.0, 1.5, eps=0.0) == 1.5
    assert fl.multi_margin_loss(1.0, 0) == 0
    assert fl.multi_margin_loss([1.0, 3.0], [0], reduction="none").shape == (1,)


@pytest.mark.parametrize("shape", [(5, 70), (5, 70, 1), (5,)])
def test_upstream_gradient_of_another_shape(shape):
    x = np.zeros((5, 70))
    for loss in (fl.cosine_similarity, fl.pairwise_distance):
        if shape == (5,):
            loss.value_and_grad(x, x, grad_output=np.ones(shape))
        else:
            with pytest.raises(ValueError, match="grad_output"):
                loss.value_and_grad(x, x, grad_output=np.ones(shape))


# --- labels


@every_isa
@pytest.mark.parametrize("classes", [3, NARROW, NARROW + 1, 2000])
@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_label_out_of_range(dtype_name: str, classes: int, isa: str) -> None:
    rows = 333
    x = np.zeros((rows, classes), dtype(dtype_name))
    for place, label in ((0, classes), (150, -1), (332, 2**40), (31, -(2**62))):
        t = np.arange(rows) % classes
        t[place:] = np.where(np.arange(rows - place) % 7 == 0, label, t[place:])
        for call in (fl.multi_margin_loss, fl.multi_margin_loss.value_and_grad):
            with pytest.raises(IndexError, match=rf"target\[{place}\] is {label}, out of range for {classes} classes"):
                call(x, t)


@every_isa
@pytest.mark.parametrize("classes", [1, 2, 5, 16, 17, NARROW + 1, 1030])
@pytest.mark.parametrize("target_dtype", ["int8", "int16", "int32", "int64"])
def test_lists_of_labels(target_dtype: str, classes: int, isa: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, classes)).astype(np.float32)
    t = rng.integers(0, min(classes, 100), (9, classes)).astype(target_dtype)
    t[np.arange(9), np.arange(9) % classes] = -1  # from no label on, up to eight
    t[8] = np.arange(classes) % 100  # all of them, or the first hundred again and again
    value, grad = fl.multilabel_margin_loss.value_and_grad(x, t, reduction="none")
    expected, expected_grad = fl.multilabel_margin_loss.reference.value_and_grad(x, t, reduction="none")
    assert_ulp(value, expected)
    assert_ulp(grad, expected_grad)
    turned = np.asfortranarray(np.repeat(t, 2, axis=1))[:, ::2]
    assert_same(fl.multilabel_margin_loss.value_and_grad(np.asfortranarray(x), turned, reduction="none")[0], value)


def test_labels_that_no_signed_integer_holds():
    with pytest.raises(IndexError, match=r"target\[0, 0\] is 255, out of range for 3 classes"):
        fl.multilabel_margin_loss(np.zeros((1, 3)), np.array([[255, 0, 0]], np.uint8))


# --- distances that a function computes


class Squared:
    """A distance with a gradient of its own."""

    def __call__(self, x, y):
        return ((x - y) ** 2).sum(-1)

    def value_and_grad(self, x, y, grad_output):
        by_x = 2 * (x - y) * grad_output[..., None]
        return self(x, y), (by_x, -by_x)


class TestDistanceFunction:
    x = np.random.default_rng(0).normal(size=(3, 20, 5))

    @pytest.mark.parametrize("swap", [False, True])
    def test_value(self, swap):
        a, p, n = self.x
        value = fl.triplet_margin_with_distance_loss(
            a, p, n, distance_function=lambda x, y: abs(x - y).max(-1), margin=0.5, swap=swap, reduction="none"
        )
        expected = fl.triplet_margin_loss(a, p, n, 0.5, INF, 0.0, swap, reduction="none")
        np.testing.assert_allclose(value, expected, rtol=1e-14)

    @pytest.mark.parametrize("swap", [False, True])
    @pytest.mark.parametrize("dtype_name", ["float64", "float32", "float16", "bfloat16"])
    def test_gradient(self, dtype_name, swap):
        given = [each.astype(dtype(dtype_name)) for each in self.x]
        options = {"distance_function": Squared(), "swap": swap}
        value, grads = fl.triplet_margin_with_distance_loss.value_and_grad(*given, **options)
        reference = fl.triplet_margin_with_distance_loss.reference
        expected, expected_grads = reference.value_and_grad(*given, **options)
        assert value == pytest.approx(expected, rel=1e-6)
        for got, want, each in zip(grads, expected_grads, given, strict=True):
            assert got.dtype == each.dtype
            np.testing.assert_allclose(got.astype(float), want, rtol=1e-2 if each.itemsize == 2 else 1e-5, atol=1e-6)

    def test_gradient_of_a_function_without(self):
        with pytest.raises(TypeError, match=r"distance_function.*value_and_grad"):
            fl.triplet_margin_with_distance_loss.value_and_grad(
                *self.x, distance_function=lambda x, y: abs(x - y).sum(-1)
            )

    def test_what_is_refused(self):
        with pytest.raises(TypeError, match="distance_function must be callable"):
            fl.triplet_margin_with_distance_loss(*self.x, distance_function=2)
        with pytest.raises(TypeError, match="distance_function"):
            fl.triplet_margin_with_distance_loss(*self.x, distance_function=lambda x, y: np.zeros(20, int))
        lengths = iter((3, 4))
        with pytest.raises(ValueError, match="distance_function"):
            fl.triplet_margin_with_distance_loss(*self.x, distance_function=lambda x, y: np.zeros(next(lengths)))
        with pytest.raises(ValueError, match="same number of axes"):
            fl.triplet_margin_with_distance_loss(self.x[0], self.x[1], self.x[2, 0], distance_function=Squared())

    def test_takes_what_other_losses_take(self):
        lists = [each.tolist() for each in self.x]
        assert_same(
            fl.triplet_margin_with_distance_loss(*lists, distance_function=fl.cosine_similarity),
            fl.triplet_margin_with_distance_loss(*self.x, distance_function=fl.cosine_similarity),
        )


# --- what is refused


X, T = np.zeros((4, 3)), np.zeros(4, int)
BAD_VALUES = {
    "norm": (lambda: fl.pairwise_distance(X, X, p=NAN), ["p", "nan"]),
    "eps": (lambda: fl.pairwise_distance(X, X, eps=INF), ["eps", "inf"]),
    "eps of a cosine": (lambda: fl.cosine_similarity(X, X, eps=-1e-8), ["eps", "-1e-08"]),
    "axis": (lambda: fl.cosine_similarity(X, X, axis=2), ["axis", "2"]),
    "no elements": (lambda: fl.cosine_similarity(X[:, :0], X[:, :0]), ["x1", "(4, 0)"]),
    "margin": (lambda: fl.triplet_margin_loss(X, X, X, 0.0), ["margin", "0.0"]),
    "margin of a distance": (lambda: fl.triplet_margin_with_distance_loss(X, X, X, margin=NAN), ["margin", "nan"]),
    "margin of a cosine": (lambda: fl.cosine_embedding_loss(X, X, T, NAN), ["margin", "nan"]),
    "target of pairs": (lambda: fl.cosine_embedding_loss(X, X, np.ones(3)), ["target", "(3,)", "(4,)"]),
    "margin of classes": (lambda: fl.multi_margin_loss(X, T, margin=INF), ["margin", "inf"]),
    "power": (lambda: fl.multi_margin_loss(X, T, 1.5), ["p", "1.5"]),
    "weight": (lambda: fl.multi_margin_loss(X, T, weight=np.ones(4)), ["weight", "(4,)"]),
    "target": (lambda: fl.multi_margin_loss(X, T[:3]), ["target", "(3,)"]),
    "lists": (lambda: fl.multilabel_margin_loss(X, T), ["target", "(4,)"]),
    "target with more axes": (lambda: fl.multilabel_soft_margin_loss(X[0], X), ["target", "(4, 3)"]),
    "reduction": (lambda: fl.dice_loss(X, X, reduction="median"), ["reduction", "median"]),
    "smooth": (lambda: fl.dice_loss(X, X, smooth=-1), ["smooth", "-1"]),
    "alpha": (lambda: fl.tversky_loss(X, X, alpha=NAN), ["alpha", "nan"]),
    "axes twice": (lambda: fl.dice_loss(X, X, axis=(0, -2)), ["axis", "(0, -2)"]),
    "axes": (lambda: fl.dice_loss(X, X, axis=(0, 2)), ["axis", "(0, 2)"]),
    "shapes": (lambda: fl.dice_loss(X, X[:3]), ["target", "(3, 3)"]),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_value(case):
    call, fragments = BAD_VALUES[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    missing = [each for each in fragments if each not in str(error.value)]
    assert not missing, str(error.value)


@pytest.mark.parametrize("bad", ["x", None, True])
def test_parameter_is_a_number(bad):
    for call in (
        lambda: fl.pairwise_distance(X, X, p=bad),
        lambda: fl.triplet_margin_loss(X, X, X, bad),
        lambda: fl.tversky_loss(X, X, bad),
        lambda: fl.cosine_similarity(X, X, eps=bad),
    ):
        with pytest.raises(TypeError, match="must be a number"):
            call()


# --- the root of a mean along an axis, which rmse_loss is made of


@every_isa
@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 5, NARROW, NARROW + 1, 1030])
def test_root_of_the_mean_square_of_rows(classes: int, dtype_name: str, isa: str) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 40, classes)).astype(dtype_name)
    weight = rng.random(classes).astype(dtype_name)
    x[3] = t[3]

    def rows(weight):
        return RowSums("rmse", "rmse_loss_rows", [("x", x)], [("t", t), ("w", weight)], reduction="none")

    for w in (np.ones(()), weight):
        value, grad = rows(w).value_and_grad()
        full = np.broadcast_to(w, x.shape).astype(float)
        off = x.astype(float) - t
        expected = np.sqrt((full * off**2).sum(-1) / full.sum(-1))
        assert_ulp(value, expected)
        with np.errstate(invalid="ignore"):
            slope = full * off / (full.sum(-1) * expected)[:, None]
        assert_ulp(grad, np.where(off == 0, 0.0, slope))


# --- whether rows are probabilities, which fastloss.sklearn asks


@every_isa
@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 5, NARROW, NARROW + 1, 1030])
def test_total_of_probabilities(classes: int, dtype_name: str, isa: str) -> None:
    rng = np.random.default_rng(0)
    one = np.ones((), dtype_name)
    x = rng.random((40, classes)).astype(dtype_name)
    x[0], x[1], x[2] = 0, 1, -0.0
    wrong = [np.nan, np.inf, -np.inf, np.nextafter(one, 2), -np.nextafter(0 * one, 1), -1]
    for row, each in enumerate(wrong, 3):
        x[row, rng.integers(classes)] = each
    value, grad = RowSums("it", "total_probability", [("x", x)], reduction="none").value_and_grad()
    known = ((x >= 0) & (x <= 1)).all(-1)
    assert list(np.flatnonzero(~known)) == list(range(3, 3 + len(wrong)))
    assert_ulp(value, np.where(known, x.sum(-1, dtype=float), np.nan))
    assert_ulp(grad, np.broadcast_to(np.where(known, 1.0, np.nan)[:, None], x.shape))
