"""fastloss.tensorflow: every loss eagerly and in graphs, against fastloss itself and TensorFlow's own."""

from __future__ import annotations

import doctest
import os

import bridged
import numpy as np
import pytest
from bridged import TOLERANCES, drawn
from helpers import peer

from fastloss.bridge import BRIDGED, Call

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = peer("tensorflow")
ft = peer("fastloss.tensorflow")


def differentiated(function, *tensors):
    """The value, and the gradients of its sum by the tensors."""
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return value, tape.gradient(value, tensors)


def compiled(function, *tensors):
    return tf.function(lambda *given: differentiated(function, *given))(*tensors)


def close(actual, expected, *tolerance):
    bridged.close(tf.nest.flatten(actual), tf.nest.flatten(expected), *tolerance)


def logits_and_labels(seed, shape=(9, 40)):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(0, 5, shape), tf.float32), tf.constant(rng.integers(0, shape[-1], shape[:-1]))


# --- all losses, against fastloss


@pytest.mark.parametrize("name", BRIDGED)
def test_every_loss(name):
    """The same bits as from NumPy, for the value and for gradients times an upstream gradient; in either mode.

    But for subnormal numbers, which TensorFlow has its threads take for 0.
    """
    of = drawn(name, ft.FUNCTIONS[name])

    def run(*predictions):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = ft.FUNCTIONS[name](**{**of.arguments, **dict(zip(of.predictions, predictions, strict=True))})
        return value, tape.gradient(value, predictions, tf.constant(of.upstream))

    for step in (run, tf.function(run)):
        value, found = step(*map(tf.constant, of.predictions.values()))
        np.testing.assert_array_equal(value, of.value)
        for got, grad in zip(found, of.grads, strict=True):
            np.testing.assert_allclose(got, grad, rtol=0, atol=2.0**-126)


def test_names():
    assert set(ft.__all__) == set(BRIDGED)
    assert ft.huber_loss.__name__ == "huber_loss"
    assert doctest.testmod(ft).failed == 0


# --- against TensorFlow's own


def own_cross_entropy(x, t):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(t, x)


@pytest.mark.parametrize("run", [differentiated, compiled])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_parity(dtype, run):
    tolerance = TOLERANCES[dtype]
    for seed in range(3):
        x, t = logits_and_labels(seed)
        x, y = tf.cast(x, dtype), tf.cast(tf.random.stateless_uniform(x.shape, [seed, 1]), dtype)
        for ours, theirs in [
            (lambda x: ft.cross_entropy(x, t, reduction="none"), lambda x: own_cross_entropy(x, t)),  # noqa: B023
            (lambda x: ft.binary_cross_entropy_with_logits(x, y),  # noqa: B023
             lambda x: tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(y, x.dtype), x))),  # noqa: B023
            (lambda x: ft.softmax(x)[:, 0], lambda x: tf.nn.softmax(x)[:, 0]),
        ]:  # fmt: skip
            value, [grad] = differentiated(theirs, tf.cast(x, tf.float64))
            close(run(ours, x), (tf.cast(value, dtype), [tf.cast(grad, dtype)]), tolerance)


def test_the_gradient_of_a_float16_mean_is_scaled_before_it_is_rounded():
    x, t = tf.zeros((70_000, 2), tf.float16), tf.zeros(70_000, tf.int32)
    _, [grad] = differentiated(lambda x: 2.0**14 * tf.cast(ft.cross_entropy(x, t), tf.float32), x)
    np.testing.assert_allclose(np.asarray(grad[0], np.float64), [-(2**13) / 7e4, 2**13 / 7e4], rtol=1e-3)


# --- tapes and graphs


def test_batches_of_any_length():
    specs = [tf.TensorSpec((None, 40)), tf.TensorSpec((None,), tf.int64)]
    shapes = []

    @tf.function(input_signature=specs)
    def step(x, t):
        value, [grad] = differentiated(lambda x: ft.cross_entropy(x, t, reduction="none"), x)
        shapes.append((value.shape.as_list(), grad.shape.as_list()))
        return value, grad

    for rows in (9, 4):
        x, t = logits_and_labels(rows, (rows, 40))
        value, [grad] = differentiated(lambda x: own_cross_entropy(x, t), x)  # noqa: B023
        close(step(x, t), (value, grad))
    assert shapes == [([None], [None, 40])]


def test_tape_around_a_function_and_around_nothing():
    x, t = logits_and_labels(1)
    expected = differentiated(lambda x: tf.reduce_mean(own_cross_entropy(x, t)), x)
    function = tf.function(lambda x: ft.cross_entropy(x, t))
    close(function(x), expected[0])
    close(differentiated(function, x), expected)
    close(function(x), expected[0])


def test_persistent_tape_and_variables():
    x, t = logits_and_labels(2)
    w = tf.Variable(tf.eye(40))
    with tf.GradientTape(persistent=True) as tape:
        value = ft.cross_entropy(x @ w, t)
        twice = 2 * value
    close(tape.gradient(twice, w), 2 * tape.gradient(value, w))


def test_no_second_derivatives_and_none_by_targets():
    x, _ = logits_and_labels(3)

    def second(function):
        with tf.GradientTape() as outer:
            outer.watch(x)
            _, [grad] = differentiated(function, x)
        return outer.gradient(grad, x)

    for function in (lambda x: ft.mse_loss(x, 0.0), tf.function(lambda x: ft.mse_loss(x, 0.0)), ft.logsumexp):
        with pytest.raises(NotImplementedError, match="second derivatives"):
            second(function)
    assert differentiated(ft.mse_loss, x, x + 1)[1][1] is None


# --- what is refused, and when


def test_refused():
    x, t = logits_and_labels(4)
    for function, error, message in [
        (lambda x: ft.cross_entropy(x, t[:3]), ValueError, r"target must have shape \(9,\)"),
        (lambda x: ft.cross_entropy(t, t), TypeError, "input must be float16"),
        (lambda x: ft.cross_entropy(x, t, label_smoothing=x[0, 0]), TypeError, "must be a Python constant"),
        (lambda x: ft.supcon_loss(x, t, reduction="none"), ValueError, 'reduction="none" has no gradient here'),
    ]:
        for run in (differentiated, compiled):
            with pytest.raises(error, match=message):
                run(function, x)
    assert ft.supcon_loss(x, t, reduction="none").shape == 9


def test_labels_out_of_range():
    x, t = logits_and_labels(5)
    message = r"cross_entropy: target\[0\] is 4\d, out of range for 40 classes"
    with pytest.raises(IndexError, match=message):
        ft.cross_entropy(x, t * 0 + 40)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        compiled(lambda x: ft.cross_entropy(x, t * 0 + 41), x)


# --- how it is called


@pytest.mark.parametrize("run", [differentiated, compiled])
def test_arrays_are_not_copied(monkeypatch, run):
    seen = {}
    own = Call.value_and_grad

    def spied(call, arrays, out, upstream=None):
        seen.update(input=arrays[0].ctypes.data, grad=out[0].ctypes.data)
        return own(call, arrays, out, upstream)

    monkeypatch.setattr(Call, "value_and_grad", spied)
    x, t = logits_and_labels(6, (256, 1000))
    _, [grad] = run(lambda x: ft.cross_entropy(x, t), x)
    assert seen["input"] == np.asarray(x).ctypes.data
    if run is differentiated:  # a graph multiplies by its upstream gradient
        assert seen["grad"] == np.asarray(grad).ctypes.data
