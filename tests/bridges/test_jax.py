"""fastloss.jax: every loss under jax's transformations, against fastloss itself, optax and jax.nn."""

from __future__ import annotations

import doctest
import functools
import re
from pathlib import Path

import bridged
import numpy as np
import pytest
from bridged import TOLERANCES, drawn
from helpers import peer

from fastloss.bridge import BRIDGED, Call

jax = peer("jax")
optax = peer("optax")
fj = peer("fastloss.jax")
jnp = jax.numpy


def enable_x64():
    return (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64(True)


def close(actual, expected, *tolerance):
    bridged.close(jax.tree.leaves(actual), jax.tree.leaves(expected), *tolerance)


def logits_and_labels(seed, shape=(9, 40)):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(0, 5, shape), jnp.float32), jnp.asarray(rng.integers(0, shape[-1], shape[:-1]))


# --- all losses, against fastloss


@pytest.mark.parametrize("name", BRIDGED)
def test_every_loss(name):
    """The same bits as from NumPy, for the value and for gradients times an upstream gradient.

    But for subnormal numbers, which XLA has its threads take for 0.
    """
    of = drawn(name, fj.FUNCTIONS[name])

    def function(*predictions):
        return fj.FUNCTIONS[name](**{**of.arguments, **dict(zip(of.predictions, predictions, strict=True))})

    value, pull = jax.vjp(jax.jit(function), *map(jnp.asarray, of.predictions.values()))
    np.testing.assert_array_equal(value, of.value)
    for got, grad in zip(pull(jnp.asarray(of.upstream)), of.grads, strict=True):
        np.testing.assert_allclose(got, grad, rtol=0, atol=2.0**-126)


def test_names():
    assert set(fj.__all__) == set(BRIDGED)
    assert fj.cross_entropy.__name__ == "cross_entropy"
    assert "differentiable by `input1`, `input2`" in fj.margin_ranking_loss.__doc__
    assert doctest.testmod(fj).failed == 0


# --- against JAX's own


def softmax_cross_entropy(x, t):
    return optax.softmax_cross_entropy_with_integer_labels(x, t).mean()


PEERS = {
    "cross_entropy": softmax_cross_entropy,
    "binary_cross_entropy_with_logits": lambda x, t: optax.sigmoid_binary_cross_entropy(x, t).mean(),
    "huber_loss": lambda x, t: optax.huber_loss(x, t).mean(),
    "log_softmax": lambda x: jax.nn.log_softmax(x)[:, 0].sum(),
    "cosine_similarity": lambda x, t: optax.cosine_similarity(x, t).sum(),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("name", PEERS)
def test_optax(name, dtype):
    function, theirs = fj.FUNCTIONS[name], PEERS[name]
    ours = {
        "log_softmax": lambda x: function(x)[:, 0].sum(), "cosine_similarity": lambda x, t: function(x, t).sum(),
    }.get(name, function)  # fmt: skip
    tolerance = TOLERANCES[dtype]
    with enable_x64():
        step, own = jax.jit(jax.value_and_grad(ours)), jax.jit(jax.value_and_grad(theirs))
        for seed in range(5):
            rng = np.random.default_rng(seed)
            arrays = [jnp.asarray(rng.normal(size=(9, 40)), dtype)]
            if name != "log_softmax":
                arrays.append(jnp.asarray(rng.random((9, 40)), dtype))
            if name == "cross_entropy":
                arrays[1] = jnp.asarray(rng.integers(0, 40, 9))
            wide = [each.astype(jnp.float64) if each.dtype == dtype else each for each in arrays]
            close(step(*arrays), [each.astype(dtype) for each in own(*wide)], tolerance)


def test_the_gradient_of_a_float16_mean_is_scaled_before_it_is_rounded():
    x, t = jnp.zeros((70_000, 2), jnp.float16), jnp.zeros(70_000, jnp.int32)
    grad = jax.grad(lambda x: 2.0**14 * fj.cross_entropy(x, t).astype(jnp.float32))(x)
    np.testing.assert_allclose(np.asarray(grad[0], np.float64), [-(2**13) / 7e4, 2**13 / 7e4], rtol=1e-3)


def test_upstream_gradients_by_row():
    x, t = logits_and_labels(0)

    def found(loss):
        weighted = jax.grad(lambda x: (loss(x, t) * jnp.linspace(-1, 2, 9)).sum())
        return jax.jit(lambda x: (weighted(x), jax.jacrev(loss)(x, t)))(x)

    own = optax.softmax_cross_entropy_with_integer_labels
    close(found(functools.partial(fj.cross_entropy, reduction="none")), found(own))


# --- transformations


def test_vmap():
    x, t = logits_and_labels(0, (3, 2, 9, 40))
    step, own = jax.value_and_grad(fj.cross_entropy), jax.jit(jax.value_and_grad(softmax_cross_entropy))
    close(jax.jit(jax.vmap(jax.vmap(step)))(x, t), jax.vmap(jax.vmap(own))(x, t))
    close(jax.vmap(step, (0, None))(x[0], t[0, 0]), jax.vmap(own, (0, None))(x[0], t[0, 0]))
    close(
        jax.vmap(jax.vmap(step, (None, 0)), (0, None))(x[0], t[0]),
        jax.vmap(jax.vmap(own, (None, 0)), (0, None))(x[0], t[0]),
    )
    close(jax.vmap(step, (-1, 0))(jnp.moveaxis(x[0], 0, -1), t[0]), jax.vmap(own)(x[0], t[0]))
    close(jax.vmap(fj.logsumexp)(x[0]), jax.nn.logsumexp(x[0], axis=-1))


def test_scan_checkpoint_and_a_network():
    x, t = logits_and_labels(1, (4, 9, 16))
    w = jnp.eye(16)

    def total(loss):
        def over(w):
            step = jax.checkpoint(lambda carry, each: (carry + loss(each[0] @ w, each[1]), None))
            return jax.lax.scan(step, 0.0, (x, t))[0]

        return jax.jit(jax.value_and_grad(over))(w)

    close(total(fj.cross_entropy), total(softmax_cross_entropy))


def test_unused_and_constant_arguments():
    x, t = logits_and_labels(2)
    close(jax.grad(lambda s: fj.cross_entropy(x, t) * s)(2.0), fj.cross_entropy(x, t))
    constant = jax.lax.stop_gradient
    grad = jax.grad(lambda w: fj.mse_loss(w * x, constant(w * x + 1), constant(jnp.abs(w * x))))(1.5)
    assert np.isfinite(grad)
    assert jax.grad(fj.cross_entropy, 0)(x, t.astype(jnp.int8)).shape == x.shape


# --- what is refused, and when


def test_refused_when_traced():
    x, t = logits_and_labels(3)
    for call, error, message in [
        (lambda: fj.cross_entropy(x, t[:3]), ValueError, r"target must have shape \(9,\)"),
        (lambda: fj.cross_entropy(t, t), TypeError, "input must be float16"),
        (lambda: fj.cross_entropy(x, t, reduction="meen"), ValueError, "reduction must be one of"),
        (lambda: fj.cross_entropy(x), TypeError, "missing a required argument: 'target'"),
        (lambda: jax.jit(lambda s: fj.cross_entropy(x, t, label_smoothing=s))(0.1), TypeError, "Python constant"),
        (lambda: jax.grad(fj.mse_loss, 1)(x, x), ValueError, "no gradient by target; .*stop_gradient"),
        (lambda: jax.grad(lambda w: fj.mse_loss(x, x, w))(x), ValueError, "no gradient by weight"),
        (lambda: jax.grad(lambda x: fj.supcon_loss(x, t, reduction="none").sum())(x), ValueError, "no gradient here"),
        (lambda: jax.jacfwd(fj.mse_loss)(x, x), TypeError, "forward-mode"),
        (lambda: jax.hessian(fj.mse_loss)(x, x), ValueError, "cannot be differentiated"),
        (lambda: jax.grad(lambda x: jax.grad(fj.logsumexp)(x[0]).sum())(x), ValueError, "cannot be differentiated"),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_labels_out_of_range():
    x, t = logits_and_labels(4)
    bad = t.at[3].set(40)
    for function in (fj.cross_entropy, jax.jit(jax.grad(fj.cross_entropy)), jax.vmap(fj.cross_entropy)):
        arrays = (x, bad) if function is not jax.vmap else (x[None], bad[None])
        with pytest.raises(Exception, match=r"cross_entropy: target(\[3\])? is 40, out of range for 40 classes"):
            jax.block_until_ready(function(*arrays))
    jax.block_until_ready(fj.cross_entropy(x, t))  # nothing is left broken


# --- how it is called


def test_arrays_are_not_copied(monkeypatch):
    seen = {}
    own = Call.value_and_grad

    def spied(call, arrays, out, upstream=None):
        seen.update(input=arrays[0].ctypes.data, grad=out[0].ctypes.data)
        return own(call, arrays, out, upstream)

    monkeypatch.setattr(Call, "value_and_grad", spied)
    x, t = logits_and_labels(5, (256, 1000))
    _, grad = jax.jit(jax.value_and_grad(fj.cross_entropy))(x, t)
    assert seen == {"input": x.unsafe_buffer_pointer(), "grad": grad.unsafe_buffer_pointer()}


def test_large_arrays_in_a_row_do_not_hang():
    """As they may in jax.pure_callback, which waits for copies that are made by the thread that waits."""
    w, (x, t) = jnp.eye(64, 5000), logits_and_labels(6, (500, 64))
    step = jax.jit(jax.grad(lambda w: fj.cross_entropy(jax.nn.relu(x @ w), t)))
    for _ in range(20):
        w = w - step(w)
    assert float(fj.cross_entropy(jax.nn.relu(x @ w), t)) < 8


FIELDS = {
    "XLA_FFI_Extension_Base": ["struct_size", "type", "next"],
    "XLA_FFI_Api_Version": ["struct_size", "extension_start", "major_version", "minor_version"],
    "XLA_FFI_Metadata": ["struct_size", "api_version"],
    "XLA_FFI_Metadata_Extension": ["extension_base", "metadata"],
    "XLA_FFI_Error_Create_Args": ["struct_size", "extension_start", "message", "errc"],
    "XLA_FFI_Api": ["struct_size", "extension_start", "api_version", "internal_api", "XLA_FFI_Error_Create"],
    "XLA_FFI_Buffer": ["struct_size", "extension_start", "dtype", "data", "rank", "dims"],
    "XLA_FFI_Args": ["struct_size", "extension_start", "size", "types", "args"],
    "XLA_FFI_Rets": ["struct_size", "extension_start", "size", "types", "rets"],
    "XLA_FFI_ByteSpan": ["ptr", "len"],
    "XLA_FFI_Attrs": ["struct_size", "extension_start", "size", "types", "names", "attrs"],
    "XLA_FFI_CallFrame": ["struct_size", "extension_start", "api", "ctx", "stage", "args", "rets", "attrs"],
}
"""What fastloss/xla.py has of XLA's structures, in order."""


@pytest.mark.parametrize("name", FIELDS)
def test_structures_are_those_of_this_xla(name):
    text = (Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h").read_text()
    text = re.sub(r"//.*", "", text).replace("_XLA_FFI_API_STRUCT_FIELD(", "field ").replace(");", ";")
    body = re.search(rf"struct {name} {{(.*?)}}", text, re.DOTALL)
    found = [re.search(r"(\w+)$", field.strip())[1] for field in body[1].split(";") if field.strip()]
    assert found[: len(FIELDS[name])] == FIELDS[name]
