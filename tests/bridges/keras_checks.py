"""Keras's classes by fastloss against Keras's own, on the backend that KERAS_BACKEND names: test_keras.py runs this."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import zlib

import keras
import numpy as np
import pytest
from keras.src.backend import set_keras_mask

import fastloss.keras

BACKEND = keras.backend.backend()
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", None)


# --- what to try


def numbers(rng, shape):
    return rng.normal(0, 3, shape)


def positives(rng, shape):
    return rng.uniform(0.1, 2, shape)


def some_small(rng, shape):
    return rng.choice([-0.5, 0.0, 1e-9, 0.3, 2.0], shape)


def fractions(rng, shape):
    return rng.uniform(0.01, 0.99, shape)


def saturated(rng, shape):
    """Probabilities, some of which Keras clips."""
    return rng.choice([0.0, 1e-9, 0.2, 0.7, 1 - 1e-9, 1.0], shape)


def bits(rng, shape):
    return rng.integers(0, 2, shape)


def signs(rng, shape):
    return rng.choice([-1, 1], shape)


def one_hot(rng, shape):
    return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def distributions(rng, shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def labels(rng, shape):
    return rng.integers(0, shape[-1], shape[:-1])


def padded(rng, shape):
    """Targets of CTC, of no more than a third of the steps."""
    steps, classes = shape[-2:]
    found = rng.integers(1, classes, (shape[0], steps // 3))
    return np.where(np.arange(steps // 3) < rng.integers(1, steps // 3 + 1, (shape[0], 1)), found, 0)


ROWS, IMAGES = [(7, 4), (1, 1), (3, 4, 5)], [(2, 5, 3)]
LOGITS = {"from_logits": True}
CASES = [
    *((name, {}, numbers, numbers, ROWS) for name in ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")),
    ("Huber", {"delta": 0.3}, numbers, numbers, ROWS),
    ("MeanAbsolutePercentageError", {}, some_small, numbers, ROWS),
    ("MeanSquaredLogarithmicError", {}, some_small, positives, ROWS),
    ("MeanSquaredLogarithmicError", {}, positives, some_small, ROWS),
    ("Poisson", {}, bits, positives, ROWS),
    *((name, {}, targets, numbers, ROWS) for name in ("Hinge", "SquaredHinge") for targets in (bits, signs)),
    *(("CosineSimilarity", {"axis": axis}, numbers, numbers, IMAGES) for axis in (-1, 1)),
    *(("BinaryCrossentropy", {"label_smoothing": e, "axis": a, **LOGITS}, t, numbers, IMAGES)
      for e in (0.0, 0.1) for a in (-1, 1) for t in (bits, fractions)),
    ("BinaryCrossentropy", {}, bits, fractions, ROWS),
    ("BinaryCrossentropy", {"label_smoothing": 0.2}, fractions, saturated, ROWS),
    *(("BinaryFocalCrossentropy", {"apply_class_balancing": b, "alpha": 0.3, "gamma": g, **o}, bits, p, ROWS)
      for b in (False, True) for g in (2.0, 0.5) for o, p in ((LOGITS, numbers), ({}, fractions))),
    *(("CategoricalCrossentropy", {"label_smoothing": e, **o}, t, p, [(7, 4), (3, 4, 5)])
      for e in (0.0, 0.1) for t in (one_hot, distributions) for o, p in ((LOGITS, numbers), ({}, distributions))),
    ("CategoricalCrossentropy", {"axis": 1, **LOGITS}, lambda rng, s: one_hot(rng, (s[0], s[2], s[1])).swapaxes(1, 2),
     numbers, IMAGES),
    *(("SparseCategoricalCrossentropy", {"ignore_class": i, **o}, labels, p, [(7, 4), (3, 4, 5)])
      for i in (None, 0) for o, p in ((LOGITS, numbers), ({}, distributions))),
    ("SparseCategoricalCrossentropy", LOGITS, lambda rng, s: labels(rng, s)[..., None], numbers, [(7, 4)]),
    *(("Dice", {"axis": a}, bits, fractions, IMAGES) for a in (None, -1, (1, 2))),
    *(("Tversky", {"alpha": 0.3, "beta": 0.9, "axis": a}, bits, fractions, IMAGES) for a in (None, (1, 2))),
    ("CTC", {}, padded, numbers, [(3, 12, 5)]),
]  # fmt: skip


def drawn(sampler, shape, seed):
    """`seed` may be a generator."""
    found = np.asarray(sampler(np.random.default_rng(seed), shape))
    return found.astype("float32" if found.dtype.kind == "f" else "int32")


def values_and_grads(functions, x, compiled=BACKEND == "jax"):
    """Of each function the value, and the gradient of its sum."""
    if BACKEND == "jax":
        import jax

        def total(function):
            return lambda x: (lambda value: (value.sum(), value))(function(x))

        def run(x):
            found = [jax.value_and_grad(total(function), has_aux=True)(x) for function in functions]
            return [(value, grad) for (_, value), grad in found]

        found = (jax.jit(run) if compiled else run)(x)
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        def run(x):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                values = [function(x) for function in functions]
            return [(value, tape.gradient(value, x)) for value in values]

        found = (tf.function(run) if compiled else run)(tf.constant(x))
    else:
        import torch

        leaf = torch.tensor(x, requires_grad=True)
        values = [function(leaf) for function in functions]
        found = [(value.detach(), *torch.autograd.grad(value.sum(), leaf)) for value in values]
    return [tuple(map(keras.ops.convert_to_numpy, each)) for each in found]


def both(name, options):
    return getattr(fastloss.keras, name)(**options), getattr(keras.losses, name)(**options)


def assert_alike(found):
    """Ours and theirs, in turn."""
    for ours, theirs in zip(found[::2], found[1::2], strict=True):
        for got, want in zip(ours, theirs, strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-6 * max(1, np.abs(want).max(initial=0)))


def calls(name, options, reductions, *arguments):
    """Functions of the predictions: ours and theirs, of each reduction."""
    t, *weight = arguments
    losses = [loss for reduction in reductions for loss in both(name, {**options, "reduction": reduction})]
    return [lambda x, loss=loss: loss(t, x, *weight) for loss in losses]


# --- the losses

FIRST = {case[0]: number for number, case in reversed(list(enumerate(CASES)))}
TRIED = CASES if BACKEND == "torch" else [CASES[i] for i in sorted({*FIRST.values(), *range(0, len(CASES), 4)})]
"""The others compile for long what differs in arguments alone."""


@pytest.mark.parametrize(("name", "options", "targets", "predictions", "shapes"), TRIED)
def test_values_and_gradients(name, options, targets, predictions, shapes):
    seed = zlib.crc32(f"{name} {options} {targets.__name__}".encode())
    shape = shapes[seed % len(shapes)]
    t, x = drawn(targets, shape, seed), drawn(predictions, shape, seed + 1)
    made = calls(name, options, ("sum_over_batch_size", "sum", None), t)
    assert_alike(values_and_grads(made, x))
    if BACKEND == "tensorflow" and name in ("MeanSquaredError", "SparseCategoricalCrossentropy"):
        assert_alike(values_and_grads(made, x, compiled=True))


WEIGHTED = [
    ("MeanSquaredError", {}, numbers, numbers, (7, 4)),
    ("BinaryCrossentropy", LOGITS, bits, numbers, (7, 4)),
    ("CategoricalCrossentropy", LOGITS, one_hot, numbers, (3, 4, 5)),
    ("SparseCategoricalCrossentropy", LOGITS, labels, numbers, (3, 4, 5)),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0, **LOGITS}, labels, numbers, (3, 4, 5)),
]


@pytest.mark.parametrize(("name", "options", "targets", "predictions", "shape"), WEIGHTED)
def test_weights_and_masks(name, options, targets, predictions, shape):
    rng = np.random.default_rng(zlib.crc32(f"{name} {options}".encode()))
    t, x = drawn(targets, shape, rng), drawn(predictions, shape, rng)
    weight, mask = rng.uniform(0, 2, shape[:-1]).astype("float32"), rng.integers(0, 2, shape[:-1]).astype(bool)

    def masked(x):
        x = keras.ops.convert_to_tensor(x) * 1.0
        set_keras_mask(x, keras.ops.convert_to_tensor(mask))
        return x

    weighted = calls(name, options, REDUCTIONS, t, weight)
    plain = calls(name, options, REDUCTIONS, t)
    assert_alike(values_and_grads([*weighted, *[lambda x, call=call: call(masked(x)) for call in plain]], x))


@pytest.mark.parametrize(("targets", "predictions"), [((5,), (5, 1)), ((5, 1), (5,)), ((3, 4), (3, 4, 1))])
def test_missing_last_axis(targets, predictions):
    t, x = drawn(numbers, targets, 1), drawn(numbers, predictions, 2)
    assert_alike(values_and_grads(calls("MeanSquaredError", {}, ("mean", None), t), x))


def test_targets_that_are_broadcast_are_keras_own():
    t, x = drawn(numbers, (1, 4), 1), drawn(numbers, (3, 4), 2)
    assert_alike(values_and_grads(calls("MeanSquaredError", {}, ("mean",), t), x))


def test_what_fastloss_computes_is_asked_of_it(monkeypatch):
    """So that none of this compares Keras with itself; and a reduced loss is asked for as such."""
    asked = []
    for name, function in fastloss.keras._FUNCTIONS.items():
        monkeypatch.setitem(
            fastloss.keras._FUNCTIONS, name,
            lambda *args, name=name, function=function, **more: (
                asked.append((name, more.get("reduction"))), function(*args, **more),
            )[1],
        )  # fmt: skip
    unreduced = {"CosineSimilarity", "CTC", "MeanAbsolutePercentageError"}
    for name, options, targets, predictions, shapes in TRIED:
        asked.clear()
        ours = getattr(fastloss.keras, name)(**options)
        ours(drawn(targets, shapes[0], 1), drawn(predictions, shapes[0], 2))
        probabilities = "Crossentropy" in name and not options.get("from_logits") and name != "BinaryCrossentropy"
        assert len(asked) == (0 if probabilities else 1), (name, options)
        if asked and name not in unreduced and options.get("ignore_class") != 0:
            assert asked[0][1] == "mean", name


def test_examples():
    assert doctest.testmod(fastloss.keras).failed == 0


def test_labels_out_of_range():
    loss = fastloss.keras.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(Exception, match=r"target\[1\] is 5, out of range for 5 classes"):
        float(loss(np.array([1, 5]), np.zeros((2, 5), "float32")))


# --- as Keras's classes


@pytest.mark.parametrize("name", fastloss.keras.__all__)
def test_configuration(name):
    ours, theirs = both(name, {"reduction": "sum"})
    assert isinstance(ours, getattr(keras.losses, name))
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))
    assert ours.get_config() == theirs.get_config()
    saved = keras.saving.serialize_keras_object(ours)
    assert saved["registered_name"] == f"fastloss>{name}"
    restored = keras.saving.deserialize_keras_object(saved)
    assert type(restored) is type(ours)
    assert restored.get_config() == ours.get_config()


# --- training


def network(outputs, activation=None):
    keras.utils.set_random_seed(7)
    width = [20, 10, 10]
    return keras.Sequential(
        [keras.Input((width[0],)), *(keras.layers.Dense(n, "relu") for n in width[1:]),
         keras.layers.Dense(outputs, activation)]
    )  # fmt: skip


def trained(loss, outputs, activation, y, weight=None, run_eagerly=False):
    """The losses of the epochs, and one of evaluation where there are weights; and the network's weights."""
    x = np.random.default_rng(3).normal(size=(len(y), 20)).astype("float32")
    model = network(outputs, activation)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, run_eagerly=run_eagerly)
    history = model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0, sample_weight=weight)
    evaluated = [] if weight is None else [model.evaluate(x, y, batch_size=50, verbose=0)]
    return np.array([*history.history["loss"], *evaluated]), model.get_weights()


FITS = [
    ("BinaryCrossentropy", LOGITS, 1, None, (100,), 2),
    ("SparseCategoricalCrossentropy", {"ignore_class": 3, **LOGITS}, 5, None, (100,), 5),
]


@pytest.mark.parametrize(("name", "options", "outputs", "activation", "shape", "classes"), FITS)
def test_fit(name, options, outputs, activation, shape, classes):
    y = np.random.default_rng(4).integers(0, classes, shape)
    ours, theirs = both(name, options)
    got, weights = trained(ours, outputs, activation, y)
    want, expected = trained(theirs, outputs, activation, y)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="takes long with JAX, and is how torch trains anyway")
def test_fit_eagerly():
    y = np.random.default_rng(4).integers(0, 2, 100)
    got, want = [trained(loss, 1, None, y, run_eagerly=True)[0] for loss in both("BinaryCrossentropy", LOGITS)]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_fit_with_weights():
    y, weight = np.random.default_rng(4).integers(0, 5, 100), np.random.default_rng(5).uniform(0, 2, 100)
    ours, theirs = both("SparseCategoricalCrossentropy", LOGITS)
    got, want = [trained(loss, 5, None, y, weight)[0] for loss in (ours, theirs)]
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others do not know")
@pytest.mark.parametrize(("name", "activation", "asked"), [
    ("SparseCategoricalCrossentropy", "softmax", "cross_entropy"),
    ("BinaryCrossentropy", "sigmoid", "binary_cross_entropy_with_logits"),
])  # fmt: skip
def test_logits_of_probabilities(monkeypatch, name, activation, asked):
    """As Keras's own losses, those here see what the last activation was made of."""
    found = []
    own = fastloss.keras._FUNCTIONS[asked]
    monkeypatch.setitem(
        fastloss.keras._FUNCTIONS, asked, lambda *args, **more: (found.append(1), own(*args, **more))[1]
    )
    y = np.random.default_rng(4).integers(0, 2, 100)
    outputs = 2 if activation == "softmax" else 1
    got, want = [trained(loss, outputs, activation, y)[0] for loss in both(name, {})]
    assert found
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="torch.compile")
def test_torch_compile():
    import torch

    loss = fastloss.keras.SparseCategoricalCrossentropy(from_logits=True)
    x, t = torch.zeros(2, 5, requires_grad=True), torch.tensor([1, 4])
    with contextlib.suppress(AttributeError):
        torch._dynamo.reset()
    value = torch.compile(lambda x: loss(t, x * 2), backend="eager")(x)
    value.backward()
    assert float(value.detach()) == pytest.approx(np.log(5), rel=1e-6)
    np.testing.assert_allclose(x.grad[0].numpy(), [0.2, -0.8, 0.2, 0.2, 0.2], rtol=1e-5)
