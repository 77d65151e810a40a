"""What bridges are told of a call before there are numbers, against what the call then does; for every loss."""

from __future__ import annotations

import inspect
import zlib

import numpy as np
import pytest
from cases import CASES

from fastloss.bridge import BRIDGED, Call, split
from fastloss.loss import LOSSES

SHAPES = {"pointwise": (5, 4), "rowwise": (5, 4), "sequence": (7, 4, 3), "linear": (5, 6), "embedding": (6, 5)}
VARIANTS = [(name, number) for name in BRIDGED for number in range(len(CASES[name].variants))]


def drawn(name, variant, seed=0):
    """The arguments of a case."""
    case, rng = CASES[name], np.random.default_rng(zlib.crc32(f"{name} {variant} {seed}".encode()))
    found = case.draw(case.variants[variant], rng, SHAPES[BRIDGED[name].family], "float64")
    found.pop("grad_output", None)
    return found


def taken(name, arguments):
    call, arrays = split(name, (), arguments)
    return call, [np.asarray(each) for each in arrays]


def reductions(name):
    """What may be added to the arguments of a case."""
    parameters = inspect.signature(BRIDGED[name]).parameters
    return [{"reduction": each} for each in ("none", "mean", "sum")] if "reduction" in parameters else [{}]


def test_what_is_bridged():
    assert set(LOSSES) - set(BRIDGED) == {"score", "triplet_margin_with_distance_loss"}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_shape_of_the_value(name, variant):
    for reduction in reductions(name):
        call, arrays = taken(name, {**drawn(name, variant), **reduction})
        shapes = [each.shape for each in arrays]
        call.check(shapes, [each.dtype for each in arrays])
        value = call.value(arrays)
        assert call.shape(shapes) == np.shape(value)
        assert call.reduced == isinstance(value, float) or np.shape(value) == ()
        hash(call)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_upstream_gradient(name, variant):
    """One number of the value is made of the predictions that its upstream gradient would be multiplied with alone."""
    call, arrays = taken(name, {**drawn(name, variant), **reductions(name)[0]})
    shapes = [each.shape for each in arrays]
    if BRIDGED[name].family in ("linear", "embedding") and not call.pulls:
        with pytest.raises(ValueError, match='reduction="none" has no gradient here'):
            call.check_gradient(shapes)
        return
    call.check_gradient(shapes)
    if call.pulls or call.reduced:
        return
    others = taken(name, {**drawn(name, variant, 1), **reductions(name)[0]})[1]
    value = np.asarray(call.value(arrays))
    for place in {0, value.size // 2, value.size - 1}:
        upstream = np.zeros(value.shape)
        upstream.flat[place] = 1
        mixed = list(arrays)
        for i in call.predictions:
            own = np.expand_dims(upstream, call.upstream_axes(arrays[i].ndim))
            mixed[i] = np.where(own, arrays[i], others[i])
            assert mixed[i].shape == arrays[i].shape
        np.testing.assert_array_equal(np.asarray(call.value(mixed)).flat[place], value.flat[place])


@pytest.mark.parametrize("name", BRIDGED)
def test_lengths_that_are_not_known(name):
    """The value's shape is then known as far as it does not depend on them."""
    call, arrays = taken(name, {**drawn(name, 0), **reductions(name)[0]})
    shapes = [each.shape for each in arrays]
    first = shapes[0][0]
    unknown = [tuple(None if length == first else length for length in shape) for shape in shapes]
    known, found = call.shape(shapes), call.shape(unknown)
    assert len(found) == len(known)
    assert all(length in (None, wanted) for length, wanted in zip(found, known, strict=True))


def test_errors_before_there_are_numbers():
    logits, labels, dtypes = (3, 5), (3,), [np.dtype("float32"), np.dtype("int64")]
    call = Call("cross_entropy", ("input", "target"))
    with pytest.raises(ValueError, match=r"cross_entropy: target must have shape \(3,\)"):
        call.check([logits, (4,)], dtypes)
    with pytest.raises(TypeError, match="cross_entropy: input must be float"):
        call.check([logits, labels], [np.dtype("int32"), np.dtype("int64")])
    with pytest.raises(ValueError, match="label_smoothing"):
        Call("cross_entropy", ("input", "target"), (("label_smoothing", 2.0),)).check([logits, labels], dtypes)
    call = Call("margin_ranking_loss", ("input1", "input2", "target"), (("reduction", "none"),))
    with pytest.raises(ValueError, match=r"margin_ranking_loss: .*\(4,\), has \(1,\); broadcast it before"):
        call.check_gradient([(4,), (1,), (4,)])


def test_arguments_are_arrays_or_constants():
    x = np.zeros((3, 5))
    call, arrays = split("cross_entropy", (x, [0, 1, 2]), {"weight": None, "label_smoothing": np.float32(0.5)})
    assert call == Call("cross_entropy", ("input", "target"), (("label_smoothing", 0.5),))
    assert arrays == [x, [0, 1, 2]]
    assert split("poisson_nll_loss", (x, 1), {})[0].arrays == ("input",)
    assert split("clip_loss", (x, x, 3.0), {})[0].arrays == ("image", "text", "scale")
    assert split("dice_loss", (x, x), {"axis": [0, 1]})[0].options == (("axis", (0, 1)),)
    with pytest.raises(TypeError, match="cross_entropy: missing a required argument: 'target'"):
        split("cross_entropy", (x,), {})
    with pytest.raises(TypeError, match="cross_entropy: label_smoothing must be a Python constant"):
        split("cross_entropy", (x, x), {"label_smoothing": x})
