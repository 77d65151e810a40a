"""linear_cross_entropy: as cross_entropy of the logits that it never holds, in tiles of every shape."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from helpers import DTYPES, NARROW, assert_same, dtype, every_isa, spacing

import fastloss as fl
from fastloss import products, run_linear

LCE, CE = fl.linear_cross_entropy, fl.cross_entropy
MB = 2**20


@pytest.fixture(params=["ample", "pieces", "rows and pieces", "copies"])
def room(request, monkeypatch):
    """How much there is of it: all at once; rows in pieces; several tiles of those; and little for copies too."""
    if request.param != "ample":
        monkeypatch.setattr(run_linear, "BUFFER", 1024 * 8)
    if request.param in ("rows and pieces", "copies"):
        monkeypatch.setattr(run_linear, "TALL", 7)
    if request.param == "copies":
        monkeypatch.setattr(run_linear, "LEAST", 5)
        monkeypatch.setattr(products, "ROOM", 64)
        monkeypatch.setattr(products, "PANEL", 150)
    return request.param


def drawn(rows, classes, features=5, name="float32", ignored=0.0):
    rng = np.random.default_rng(rows + classes)
    target = rng.integers(classes, size=rows)
    target[rng.random(rows) < ignored] = -100
    shapes = (rows, features), (classes, features), (classes,)
    hidden, weight, bias = (rng.normal(size=shape).astype(dtype(name)) for shape in shapes)
    return {"hidden": hidden, "weight": weight, "target": target, "bias": bias}


def wide(arguments):
    """The same numbers as float64."""
    return {key: each.astype(float) if np.asarray(each).dtype.kind in "fV" else each for key, each in arguments.items()}


def assert_near(got, want, allowed, name=None):
    """Relative to the largest; with `name` rounded once to that dtype besides."""
    got, want = np.asarray(got).astype(float), np.asarray(want)
    assert got.shape == want.shape
    error = np.abs(got - want) - allowed * np.abs(want).max(initial=0)
    assert (error <= (0 if name is None else 0.5 * spacing(np.maximum(np.abs(want), np.abs(got)), name))).all()


PARAMETERS = {
    "plain": {},
    "ignored": {"ignore_index": 0},
    "class weights": {"class_weight": lambda classes: np.linspace(0.5, 2, classes)},
    "smoothed": {"label_smoothing": 0.2},
    "smoothed, with class weights": {
        "label_smoothing": 0.2,
        "class_weight": lambda classes: np.linspace(0, 2, classes),
    },
    "z_loss": {"z_loss": 0.01},
    "softcap": {"softcap": 2.0},
}


def options_of(case, classes):
    return {key: each(classes) if callable(each) else each for key, each in PARAMETERS[case].items()}


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "classes"), [(0, 9), (1, 1), (33, 3), (20, 1024), (15, 1025), (8, 2047), (17, 5000)])
def test_is_the_reference(rows, classes, name, room):
    allowed = 1e-12 if name == "float64" else 1e-5
    for case, bias in itertools.product(PARAMETERS, [True, False]):
        arguments = drawn(rows, classes, name=name, ignored=0.3)
        if not bias:
            del arguments["bias"]
        for reduction in ("none", "sum", "mean"):
            options = {**options_of(case, classes), "reduction": reduction}
            if case == "ignored":
                arguments["target"] = np.maximum(arguments["target"], 0)
            value, grads = LCE.value_and_grad(**arguments, **options)
            expected, expected_grads = LCE.reference.value_and_grad(**arguments, **options)
            np.testing.assert_allclose(value, expected, rtol=allowed, atol=allowed)
            np.testing.assert_allclose(LCE(**arguments, **options), value, rtol=allowed)
            assert len(grads) == len(expected_grads) == 2 + bias
            for got, want in zip(grads, expected_grads, strict=True):
                assert got.dtype == name
                assert_near(got, want, allowed)


def as_products(x):
    """Hidden states and weights whose logits are exactly the columns of a matrix, and the gradient by them the rows."""
    return np.eye(x.shape[0], dtype=x.dtype), np.ascontiguousarray(x.T)


@every_isa
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("classes", [3, 65, NARROW, NARROW + 1, 1023, 1024, 1025, 3000, 5000])
def test_same_bits_as_cross_entropy(classes, name, room, isa):
    """Of logits that their product gives exactly."""
    rng = np.random.default_rng(classes)
    x = rng.normal(0, 3, (24, classes))
    t = rng.integers(classes, size=24)
    x[4:8] += np.linspace(0, 300, classes)
    x[8:12] += np.linspace(300, 0, classes)
    x[12:14] = 2.0
    x[14:18, : classes // 2] = -1e30  # masks of whole pieces; with 0 as its product
    x[np.arange(18, 24), t[18:]] = 60
    x = x.astype(name)
    hidden, weight = as_products(x)
    for case in ("plain", "class weights", "z_loss", "softcap"):
        options = {**options_of(case, classes), "reduction": "none"}
        plain = {"weight" if key == "class_weight" else key: each for key, each in options.items()}
        value, (_, by_weight) = LCE.value_and_grad(hidden, weight, t, **options)
        expected, grad = CE.value_and_grad(x, t, **plain)
        assert_same(value, expected)
        assert_same(LCE(hidden, weight, t, **options), expected)
        assert_same(by_weight + 0, grad.T + 0)  # no signs of zeros: matmul adds zeros to each


@every_isa
def test_smoothing_in_pieces_is_exact_where_its_sums_are(room, isa):
    x = np.random.default_rng(0).integers(-4, 5, (20, 5000)).astype(np.float32)
    x[3] += np.arange(5000) // 50
    t = np.arange(20) * 250
    value, (_, by_weight) = LCE.value_and_grad(*as_products(x), t, label_smoothing=0.1, reduction="none")
    expected, grad = CE.value_and_grad(x, t, label_smoothing=0.1, reduction="none")
    assert_same(value, expected)
    assert_same(by_weight, grad.T)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("classes", [40, 1500])
def test_gradients_are_rounded_once(classes, name, room):
    arguments = drawn(40, classes, name=name)
    for given in (arguments, {**arguments, "target": np.where(np.arange(40) % 3 == 0, -100, arguments["target"])}):
        value, grads = LCE.value_and_grad(**given, reduction="none")
        expected, expected_grads = LCE.reference.value_and_grad(**given, reduction="none")
        assert value.dtype == (np.float64 if name == "float64" else np.float32)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        for got, want, of in zip(grads, expected_grads, ("hidden", "weight", "bias"), strict=True):
            assert got.dtype == given[of].dtype
            assert_near(got, want, 2e-6, name)


def test_bfloat16_without_ml_dtypes(room):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    known = drawn(30, 1100, name="bfloat16", ignored=0.2)
    bits = {
        key: each.view([("bfloat16", "u2")]) if each.dtype == ml_dtypes.bfloat16 else each
        for key, each in known.items()
    }
    value, grads = LCE.value_and_grad(**bits)
    expected, expected_grads = LCE.value_and_grad(**known)
    assert value == expected
    for got, want in zip(grads, expected_grads, strict=True):
        np.testing.assert_array_equal(got.view("u2"), want.view("u2"))


@pytest.mark.parametrize("names", [*itertools.permutations(["float16", "float32", "float64"], 2)])
def test_mixed_dtypes(names, room):
    """Computed in the widest of float32 and the predictions' dtypes."""
    arguments = drawn(30, 1100)
    arguments["hidden"], arguments["weight"] = (
        arguments[key].astype(name) for key, name in zip(("hidden", "weight"), names, strict=True)
    )
    value, grads = LCE.value_and_grad(**arguments, reduction="none")
    expected, expected_grads = LCE.reference.value_and_grad(**arguments, reduction="none")
    assert value.dtype == ("float64" if "float64" in names else "float32")
    np.testing.assert_allclose(value, expected, rtol=1e-12 if "float64" in names else 1e-5)
    for got, want, name in zip(grads, expected_grads, (*names, "float32"), strict=True):
        assert got.dtype == name
        assert_near(got, want, 1e-6, name)


# --- shapes and layouts


def test_any_leading_shape(room):
    flat = drawn(24, 1500, ignored=0.2)
    value, (by_hidden, *others) = LCE.value_and_grad(**flat, reduction="none")
    for lead in [(24,), (2, 12), (4, 1, 3, 2)]:
        shaped = {**flat, "hidden": flat["hidden"].reshape(*lead, 5), "target": flat["target"].reshape(lead)}
        got = LCE.value_and_grad(**shaped, reduction="none")
        assert_same(got, (value.reshape(lead), (by_hidden.reshape(*lead, 5), *others)))
    rows = {**flat, "hidden": flat["hidden"][1], "target": 77}
    value, (by_hidden, *_) = LCE.value_and_grad(**rows, reduction="none")
    assert value.shape == ()
    assert by_hidden.shape == (5,)
    np.testing.assert_allclose(value, LCE.reference(**rows, reduction="none"), rtol=1e-6)


@pytest.mark.parametrize("name", DTYPES)
def test_layouts_of_several_axes(name, room):
    plain = drawn(24, 1100, name=name, ignored=0.2)
    plain["hidden"], plain["target"] = plain["hidden"].reshape(2, 3, 4, 5), plain["target"].reshape(2, 3, 4)
    turned = {key: np.asfortranarray(each)[::1] for key, each in plain.items()}
    turned["weight"] = np.repeat(plain["weight"], 2, axis=1)[:, ::2]
    for each in turned.values():
        each.flags.writeable = False
    expected = LCE.value_and_grad(**plain)
    got = LCE.value_and_grad(**turned)
    if room != "copies":
        assert_same(got, expected)
    for one, other in zip(got[1], expected[1], strict=True):  # copied in parts, they are added up in another order
        assert_near(one, other.astype(float), 1e-6, name)
    out = tuple(np.zeros_like(turned[key], order="K") for key in ("hidden", "weight", "bias"))
    into = LCE.value_and_grad(**turned, out=out)
    assert all(one is other for one, other in zip(into[1], out, strict=True))
    assert_same(into, got)


def test_no_features():
    hidden, weight = np.zeros((6, 0), np.float32), np.zeros((7, 0), np.float32)
    value, (by_hidden, by_weight) = LCE.value_and_grad(hidden, weight, np.arange(6))
    assert value == pytest.approx(np.log(7))
    assert (by_hidden.shape, by_weight.shape) == ((6, 0), (7, 0))


@pytest.mark.parametrize("target_dtype", ["bool", "int8", "uint8", "int32", "uint64"])
def test_targets_of_every_integer_dtype(target_dtype):
    arguments = drawn(20, 3)
    arguments["target"] %= 2
    expected = LCE.value_and_grad(**arguments)
    arguments["target"] = arguments["target"].astype(target_dtype)
    assert_same(LCE.value_and_grad(**arguments), expected)


# --- the numerical policy


def test_rows_that_do_not_count_are_not_looked_at(room):
    arguments = drawn(30, 1100, ignored=0.4)
    counted = arguments["target"] >= 0
    arguments["hidden"][~counted] = np.nan
    value, (by_hidden, *others) = LCE.value_and_grad(**arguments, reduction="none")
    assert (value[~counted] == 0).all()
    assert (by_hidden[~counted] == 0).all()
    some = {**arguments, "hidden": arguments["hidden"][counted], "target": arguments["target"][counted]}
    expected, (by_some, *by_others) = LCE.value_and_grad(**some, reduction="none")
    np.testing.assert_allclose(value[counted], expected, rtol=1e-6)
    np.testing.assert_allclose(by_hidden[counted], by_some, rtol=1e-5, atol=1e-6)
    for got, want in zip(others, by_others, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 5])
def test_no_row_counts(rows, room):
    arguments = {**drawn(rows, 1100), "target": np.full(rows, -100)}
    for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
        value, grads = LCE.value_and_grad(**arguments, reduction=reduction)
        assert_same(value, expected)
        assert all((grad == 0).all() for grad in grads)


def test_nan_stays_in_its_row(room):
    arguments = drawn(30, 1100)
    whole, (by_whole, *_) = LCE.value_and_grad(**arguments, reduction="none")
    arguments["hidden"][7, 2] = np.nan
    value, (by_hidden, by_weight, by_bias) = LCE.value_and_grad(**arguments, reduction="none")
    assert np.isnan(value[7])
    assert np.isnan(by_hidden[7]).all()
    assert_same(np.delete(value, 7), np.delete(whole, 7))
    assert_same(np.delete(by_hidden, 7, axis=0), np.delete(by_whole, 7, axis=0))
    assert np.isnan(by_weight).all()
    assert np.isnan(by_bias).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_masks(smoothing, room):
    """A bias of -inf takes a class out."""
    arguments = drawn(30, 2500)
    arguments["bias"][:1500] = -np.inf
    arguments["target"] = 1500 + arguments["target"] % 1000
    given = {**arguments, "class_weight": (np.arange(2500) >= 1500).astype(float), "label_smoothing": smoothing}
    value, grads = LCE.value_and_grad(**given, reduction="none")
    expected, expected_grads = LCE.reference.value_and_grad(**given, reduction="none")
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for got, want in zip(grads, expected_grads, strict=True):
        assert_near(got, want, 1e-5)
    assert (grads[1][:1500] == 0).all()
    arguments["bias"][...] = -np.inf
    assert np.isnan(LCE(**arguments, reduction="none")).all()


def test_confident_rows_keep_their_loss(room):
    hidden, weight = np.ones((1, 1), np.float32), np.zeros((3000, 1), np.float32)
    weight[100] = 25.0
    assert LCE(hidden, weight, [100]) == pytest.approx(2999 * np.exp(-25.0), rel=1e-5)


# --- out= and errors


def test_out(room):
    arguments = drawn(30, 1100, ignored=0.2)
    keys = "hidden", "weight", "bias"
    expected = LCE.value_and_grad(**arguments)
    out = tuple(np.full_like(arguments[key], 7) for key in keys)
    value, grads = LCE.value_and_grad(**arguments, out=out)
    assert all(got is one for got, one in zip(grads, out, strict=True))
    assert_same((value, grads), expected)
    own = {key: arguments[key].copy() for key in keys}
    assert_same(LCE.value_and_grad(**{**arguments, **own}, out=tuple(own.values())), expected)
    with pytest.raises(ValueError, match="out must be 3 arrays, has 2"):
        LCE.value_and_grad(**arguments, out=out[:2])


def test_label_out_of_range_writes_nothing(room):
    arguments = drawn(30, 1100)
    arguments["target"][[11, 20]] = 1100, -3
    out = tuple(np.full_like(arguments[key], 7) for key in ("hidden", "weight", "bias"))
    for call in (lambda: LCE(**arguments), lambda: LCE.value_and_grad(**arguments, out=out)):
        with pytest.raises(IndexError, match=r"linear_cross_entropy: target\[11\] is 1100, out of range for 1100"):
            call()
    assert all((each == 7).all() for each in out)


H, W, T, B = np.zeros((4, 3), np.float32), np.zeros((6, 3), np.float32), np.zeros(4, int), np.zeros(6, np.float32)
BAD = {
    "widths": (lambda: LCE(H, np.zeros((6, 5), np.float32), T), ValueError, ["weight", "(6, 5)", "(4, 3)"]),
    "transposed": (lambda: LCE(H, W.T, T), ValueError, ["weight", "(3, 6)", "weight.T"]),
    "weight's axes": (lambda: LCE(H, W[0], T), ValueError, ["weight", "(3,)"]),
    "no classes": (lambda: LCE(H, W[:0], T), ValueError, ["weight", "no classes", "(0, 3)"]),
    "no features' axis": (lambda: LCE(np.float32(1), W, 0), ValueError, ["hidden", "()"]),
    "target's length": (lambda: LCE(H, W, T[:3]), ValueError, ["target", "(4,)", "(3,)"]),
    "bias's length": (lambda: LCE(H, W, T, B[:5]), ValueError, ["bias", "(6,)", "(5,)"]),
    "class weights": (lambda: LCE(H, W, T, None, B[:5]), ValueError, ["class_weight", "(6,)", "(5,)"]),
    "reduction": (lambda: LCE(H, W, T, reduction="mode"), ValueError, ["reduction", "mode"]),
    "smoothing": (lambda: LCE(H, W, T, label_smoothing=2.0), ValueError, ["label_smoothing", "2.0"]),
    "z_loss": (lambda: LCE(H, W, T, z_loss=-1.0), ValueError, ["z_loss", "-1"]),
    "softcap": (lambda: LCE(H, W, T, softcap=0.0), ValueError, ["softcap", "0"]),
    "probabilities": (lambda: LCE(H, W, np.zeros((4, 6))), TypeError, ["target", "class indices", "float64"]),
    "integers": (lambda: LCE(H, W.astype(int), T), TypeError, ["weight", "int64"]),
    "integer bias": (lambda: LCE(H, W, T, B.astype(int)), TypeError, ["bias", "int64"]),
    "ignore_index": (lambda: LCE(H, W, T, ignore_index=1.5), TypeError, ["ignore_index", "1.5"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(case):
    call, error, fragments = BAD[case]
    with pytest.raises(error) as raised:
        call()
    assert not [part for part in ["linear_cross_entropy", *fragments] if part not in str(raised.value)]


# --- sums, threads, memory


def test_sum_does_not_depend_on_the_tiles(monkeypatch):
    """Of rows whose logits do not either."""
    x = np.random.default_rng(0).normal(size=(300, 700)).astype(np.float32)
    arguments = (*as_products(x), np.arange(300))
    expected = LCE(*arguments, reduction="sum")
    assert expected == pytest.approx(CE(x, np.arange(300), reduction="sum"), rel=1e-15)
    for tall in (7, 100):
        monkeypatch.setattr(run_linear, "TALL", tall)
        monkeypatch.setattr(run_linear, "BUFFER", 1024)
        assert LCE(*arguments, reduction="sum") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize(("rows", "classes", "features"), [(1100, 100_000, 16), (400, 256_000, 32), (3000, 20_000, 32)])
def test_memory(rows, classes, features, name):
    """The peak of a whole process: less than 64 MB beside the arrays, where the logits would take 240 to 440."""
    code = f"""
    import resource, sys
    import numpy as np, fastloss as fl
    def peak():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    rng = np.random.default_rng(0)
    def arrays(rows, classes):
        made = [rng.random(shape, np.float32).astype("{name}") for shape in ((rows, {features}), (classes, {features}))]
        return *made, rng.integers(classes, size=rows), tuple(np.full_like(each, 1) for each in made)
    def run(hidden, weight, target, out):
        fl.linear_cross_entropy(hidden, weight, target)
        fl.linear_cross_entropy.value_and_grad(hidden, weight, target, out=out)
    run(*arrays(100, 300))
    given = arrays({rows}, {classes})
    before = peak()
    run(*given)
    print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) < 60 * MB
