"""What is refused, with which error, and that the message names the argument and what it had."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import CASES
from helpers import DTYPES, NARROW, assert_same, dtype

import fastloss as fl
from fastloss.loss import LOSSES

X, T = np.zeros((4, 3), np.float32), np.zeros(4, int)
IMAGES = np.zeros((2, 3, 4, 5), np.float32)
LABELLED = ["cross_entropy", "nll_loss", "selective_log_softmax", "score", "perplexity"]
CE, BCE, MSE = fl.cross_entropy, fl.binary_cross_entropy_with_logits, fl.mse_loss

BAD_VALUES = {
    "target too long": (lambda: CE(X, np.zeros(5, int)), ["target", "(5,)"]),
    "target too deep": (lambda: CE(X, np.zeros((4, 1), int)), ["target", "(4, 1)"]),
    "target along another axis": (
        lambda: CE(IMAGES, np.zeros((2, 4, 5), int)),
        ["target", "(2, 4, 5)", "axis=1"],
    ),
    "scalar target of a batch": (lambda: CE(X, 0), ["target", "()"]),
    "probabilities of another shape": (lambda: CE(X, np.zeros((4, 4), np.float32)), ["target", "(4, 4)"]),
    "weight of another length": (lambda: CE(X, T, np.ones(4, np.float32)), ["weight", "(4,)"]),
    "nll weight of another length": (lambda: fl.nll_loss(X, T, np.ones(4, np.float32)), ["weight", "(4,)"]),
    "unknown reduction": (lambda: CE(X, T, reduction="median"), ["reduction", "median"]),
    "unknown pointwise reduction": (lambda: MSE(X, X, reduction="median"), ["reduction", "median"]),
    "label_smoothing above 1": (lambda: CE(X, T, label_smoothing=1.5), ["label_smoothing", "1.5"]),
    "label_smoothing below 0": (lambda: CE(X, T, label_smoothing=-0.5), ["label_smoothing", "-0.5"]),
    "label_smoothing NaN": (lambda: CE(X, T, label_smoothing=float("nan")), ["label_smoothing", "nan"]),
    "softcap of 0": (lambda: CE(X, T, softcap=0.0), ["softcap", "0"]),
    "softcap below 0": (lambda: CE(X, T, softcap=-1.0), ["softcap", "-1"]),
    "axis too large": (lambda: CE(X, T, axis=2), ["axis", "2"]),
    "axis too small": (lambda: fl.softmax(X, axis=-3), ["axis", "-3"]),
    "no axis at all": (lambda: fl.logsumexp(1.0), ["axis"]),
    "no classes": (lambda: fl.softmax(np.zeros((2, 0))), ["class"]),
    "base of 1": (lambda: fl.entropy(X, base=1), ["base", "1"]),
    "base below 0": (lambda: fl.perplexity(X, T, base=-2), ["base", "-2"]),
    "mse shapes": (lambda: MSE(X, np.zeros((4, 4), np.float32)), ["target", "(4, 4)"]),
    "mse weight": (lambda: MSE(X, X, np.zeros(5, np.float32)), ["weight", "(5,)"]),
    "bce pos_weight": (lambda: BCE(X, X, pos_weight=np.ones(5, np.float32)), ["pos_weight", "(5,)"]),
    "grad_output of another shape": (
        lambda: fl.softmax.value_and_grad(X, grad_output=np.ones((4, 4), np.float32)),
        ["grad_output", "(4, 4)"],
    ),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_value(case):
    call, fragments = BAD_VALUES[case]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    missing = [each for each in fragments if each not in str(error.value)]
    assert not missing, str(error.value)


class Cuda:
    """A tensor in the memory of a GPU, as DLPack shows it."""

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **_):
        raise BufferError("not in host memory")


class CudaInterface:
    __cuda_array_interface__ = {"shape": (4, 3), "typestr": "<f4", "data": (0, False), "version": 3}  # noqa: RUF012


def sparse():
    return pytest.importorskip("scipy.sparse").csr_array(np.eye(3))


BAD_DTYPES = {
    "cuda by dlpack": (Cuda, ["CPU"]),
    "cuda by its interface": (CudaInterface, ["CPU"]),
    "sparse": (sparse, ["sparse", "toarray"]),
    "object": (lambda: np.array([[1, None]], object), ["object"]),
    "complex": (lambda: np.zeros((4, 3), complex), ["complex128"]),
    "string": (lambda: np.array([["a", "b"]]), ["<U1"]),
    "datetime": (lambda: np.zeros((4, 3), "M8[s]"), ["datetime64"]),
    "structured": (lambda: np.zeros((4, 3), [("a", "f4")]), []),
    "none": (lambda: None, []),
}


ARGUMENTS = [
    (name, each)
    for name in LOSSES
    for each in CASES[name].operands
    if each in LOSSES[name].predictions or each == "target"
]
BAD_ARGUMENTS = [
    (*each, case)
    for each in ARGUMENTS
    for case in BAD_DTYPES
    if case != "none" or inspect.signature(LOSSES[each[0]]).parameters[each[1]].default is not None
]


@pytest.mark.parametrize(("name", "argument", "case"), BAD_ARGUMENTS)
def test_bad_dtype(case, name, argument):
    make, fragments = BAD_DTYPES[case]
    shape = (3,) if LOSSES[name].family == "pointwise" else (4, 3)
    arguments = CASES[name].draw({}, np.random.default_rng(0), shape, "float32")
    arguments[argument] = make()
    with pytest.raises(TypeError) as error:
        LOSSES[name](**arguments)
    missing = [each for each in [name, argument, *fragments] if each.lower() not in str(error.value).lower()]
    assert not missing, str(error.value)


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.family == "rowwise"])
def test_integers_are_no_logits(name):
    arguments = CASES[name].draw({}, np.random.default_rng(0), (4, 3), "float32")
    first, *_ = CASES[name].operands
    arguments[first] = np.zeros((4, 3), int)
    with pytest.raises(TypeError, match=rf"{first}.*int64"):
        LOSSES[name](**arguments)


def test_a_class_index_is_an_integer():
    for name in ("nll_loss", "selective_log_softmax", "score", "perplexity"):
        with pytest.raises(TypeError, match=r"target.*float64"):
            LOSSES[name](X, np.zeros(4))


# --- a label out of range


def calls(name):
    loss = LOSSES[name]
    yield loss
    if hasattr(loss, "value_and_grad"):
        yield loss.value_and_grad
    if hasattr(loss, "grad_hess"):
        yield loss.grad_hess


@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("classes", [3, NARROW, NARROW + 1, 2000])
@pytest.mark.parametrize("name", LABELLED)
def test_label_out_of_range(name, classes, dtype_name, isa):
    rows = 333
    x = np.zeros((rows, classes), dtype(dtype_name))
    for place, label in [(0, classes), (150, -1), (332, classes), (332, 2**40), (31, -(2**62)), (32, -101)]:
        t = np.arange(rows) % classes
        t[place:] = np.where(np.arange(rows - place) % 7 == 0, label, t[place:])  # others may follow
        for call in calls(name):
            with pytest.raises(IndexError) as error:
                call(x, t)
            assert name in str(error.value)
            assert f"target[{place}] is {label}, out of range for {classes} classes" in str(error.value)


def test_label_out_of_range_in_several_dimensions(isa):
    t = np.zeros((2, 4, 5), int)
    t[1, 2, 3] = 3
    for call in calls("cross_entropy"):
        with pytest.raises(IndexError, match=r"target\[1, 2, 3\] is 3, out of range for 3 classes"):
            call(IMAGES, t, axis=1)
    with pytest.raises(IndexError, match="target is 3, out of range for 3 classes"):
        CE(X[0], 3)


@pytest.mark.parametrize(("target_dtype", "label"), [("u1", 255), ("i1", -1), ("u8", 2**64 - 1), ("u4", 2**32 - 100)])
def test_label_out_of_range_in_every_width(target_dtype, label, isa):
    t = np.zeros(4, target_dtype)
    t[2] = label
    for call in calls("cross_entropy"):
        with pytest.raises(IndexError, match=rf"target\[2\] is {label},"):
            call(X, t)


def test_ignored_label_is_in_range_and_others_are_not():
    with pytest.raises(IndexError, match=r"target\[1\] is -100"):
        CE(X, [-5, -100, 0, 0], ignore_index=-5)
    assert CE(X, [7, 0, 0, 0], ignore_index=7) == pytest.approx(np.log(3))


@pytest.mark.parametrize("classes", [3, 100, 3000])
@pytest.mark.parametrize("dtype_name", DTYPES)
def test_nothing_but_out_changes(classes, dtype_name, isa):
    rows, margin = 70, 64
    x = np.random.default_rng(0).normal(size=(rows, classes)).astype(dtype(dtype_name))
    block = np.full(rows * classes + 2 * margin, 3, x.dtype)
    out = block[margin:-margin].reshape(x.shape)
    t = np.arange(rows) % classes
    t[rows // 2] = classes
    before = x.copy(), t.copy()
    with pytest.raises(IndexError):
        CE.value_and_grad(x, t, out=out)
    assert_same((x, t), before)
    assert (block[:margin] == 3).all()
    assert (block[-margin:] == 3).all()
