"""The losses as functions of TensorFlow tensors: ``fastloss.tensorflow.cross_entropy`` and all others.

Every function has the arguments of fastloss's own; what is no tensor is a Python constant. They work eagerly and in
``tf.function``, whose batches may have any length, and under ``tf.GradientTape``. While a tape records, the value and
its gradient are computed in one pass, on TensorFlow's memory: nothing is copied. The value has the dtype of the first
prediction, a gradient that of its own.

Eager calls raise fastloss's own errors. In ``tf.function`` what shapes tell is refused when the function is traced, if
they are known by then, and the rest, as a label that is out of range, is a ``tf.errors.InvalidArgumentError``.

There are first derivatives by the predictions: by targets and weights a tape has None, second derivatives are refused.
With ``reduction="none"`` losses over pairs of a batch, and ``linear_cross_entropy``, have values alone.

In graphs this is a ``tf.numpy_function``: on the CPU, in this process, not under ``jit_compile=True``, and not in a
SavedModel.

>>> import tensorflow as tf
>>> import fastloss.tensorflow as fl
>>> logits = tf.Variable(tf.zeros((2, 5)))
>>> with tf.GradientTape() as tape:
...     loss = fl.cross_entropy(logits, [1, 4])
>>> tape.gradient(loss, logits)[0].numpy()
array([ 0.1, -0.4,  0.1,  0.1,  0.1], dtype=float32)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from . import bridge
from .bridge import BRIDGED, Call

try:  # no name of TensorFlow's own says whether a tape records
    from tensorflow.python.eager.record import could_possibly_record as _recording
except ImportError:

    def _recording() -> bool:
        return True


Tensors = Sequence[Any]
_ALIGNED = 64
"""Bytes: memory that begins at a multiple of this becomes a tensor without a copy."""


# --- NumPy arrays, in and out


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


def _run(call: Call, mode: str, *arrays: Any) -> list[Any]:
    """The value, the value and the gradients, or with an upstream gradient behind the arrays the gradients."""
    like = arrays[call.predictions[0]]
    if mode == "value":
        return [np.asarray(call.value(arrays), like.dtype)]
    upstream = arrays[-1] if mode == "pull" else None
    arrays = arrays[: len(call.arrays)]
    call.check_gradient([each.shape for each in arrays])
    grads = [_empty(arrays[i].shape, arrays[i].dtype) for i in call.predictions]
    value = call.value_and_grad(arrays, grads, upstream)
    return grads if mode == "pull" else [np.asarray(value, like.dtype), *grads]


def _run_in_graph(call: Call, mode: str, *arrays: Any) -> list[Any]:
    """The same, with errors that are TensorFlow's InvalidArgumentError."""
    try:
        return _run(call, mode, *arrays)
    except IndexError as error:
        raise ValueError(str(error)) from None


def _tensor(array: Any) -> Any:
    """A tensor, on the array's memory where that begins as TensorFlow demands it: of others it ends the process."""
    if array.ctypes.data % _ALIGNED or not array.size:
        return tf.constant(array)
    if array.dtype == tf.bfloat16.as_numpy_dtype:
        return tf.bitcast(_tensor(array.view(np.uint16)), tf.bfloat16)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _call(call: Call, mode: str, tensors: Tensors) -> list[Any]:
    """What `_run` makes, of tensors."""
    if tf.executing_eagerly():
        return [_tensor(each) for each in _run(call, mode, *map(np.asarray, tensors))]
    predictions = [tensors[i] for i in call.predictions]
    dtypes = [each.dtype for each in predictions]
    dtypes = {"value": dtypes[:1], "value_and_grad": [dtypes[0], *dtypes], "pull": dtypes}[mode]
    run = functools.partial(_run_in_graph, call, mode)
    made: list[Any] = tf.numpy_function(run, tensors, dtypes, stateful=False)
    if mode != "pull":
        shapes = _shapes(tensors)
        made[0].set_shape(None if shapes is None else call.shape(shapes))
    if mode != "value":
        for grad, like in zip(made[-len(predictions) :], predictions, strict=True):
            grad.set_shape(like.shape)
    return made


def _shapes(tensors: Tensors) -> list[tuple[int | None, ...]] | None:
    """The shapes, if the number of axes of each is known."""
    if any(each.shape.rank is None for each in tensors):
        return None
    return [tuple(each.shape.as_list()) for each in tensors]


# --- the differentiable function


def _loss(call: Call, given: list[Any]) -> Any:
    tensors = [tf.convert_to_tensor(each) for each in given]
    if all(each.shape.is_fully_defined() for each in tensors):
        call.check([tuple(each.shape) for each in tensors], [np.dtype(each.dtype.as_numpy_dtype) for each in tensors])
    return _differentiable(call)(*tensors)


def _differentiable(call: Call) -> Callable[..., Any]:
    @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def run(*tensors: Any) -> Any:
        wide = _wide(tensors)
        ready: list[Any] = []
        if _recording() and not call.pulls and _has_gradient(call, tensors):
            value, *ready = _call(call, "value_and_grad", wide)
        else:
            value = _call(call, "value", tensors)[0]

        def backward(upstream: Any) -> list[Any]:
            found = dict(zip(call.predictions, _backward(call, tensors, ready, upstream), strict=True))
            return [found.get(i) for i in range(len(tensors))]

        return tf.cast(value, tensors[call.predictions[0]].dtype), backward

    made: Callable[..., Any] = run
    return made


def _wide(tensors: Tensors) -> list[Any]:
    """In float16 a mean's gradient may be too small before it is multiplied by the upstream one."""
    return [tf.cast(each, tf.float32) if each.dtype == tf.float16 else each for each in tensors]


def _has_gradient(call: Call, tensors: Tensors) -> bool:
    try:
        call.check_gradient(_shapes(tensors) or [])
    except (ValueError, IndexError):
        return False
    return True


def _backward(call: Call, tensors: Tensors, ready: list[Any], upstream: Any) -> list[Any]:
    """The gradients, times the upstream one."""
    if call.pulls:
        grads = _call(call, "pull", [*tensors, upstream])
    else:
        call.check_gradient(_shapes(tensors) or [])
        grads = ready or _call(call, "value_and_grad", _wide(tensors))[1:]
        for axis in call.upstream_axes(grads[0].shape.rank or 0):
            upstream = tf.expand_dims(upstream, axis)
        if not (tf.executing_eagerly() and upstream.shape.rank == 0 and upstream == 1):
            grads = [grad * tf.cast(upstream, grad.dtype) for grad in grads]
    return [_final(grad, tensors[i]) for i, grad in zip(call.predictions, grads, strict=True)]


@tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
def _final(grad: Any, prediction: Any) -> Any:
    """A gradient that is not to be differentiated once more: a tape would take it for a constant."""

    def refuse(_: Any) -> None:
        raise NotImplementedError("fastloss.tensorflow: a loss has no second derivatives")

    return tf.cast(grad, prediction.dtype), refuse


# --- the functions

FUNCTIONS = {name: bridge.function(name, __name__, _loss, "TensorFlow tensors") for name in BRIDGED}
"""The functions by their names."""

globals().update(FUNCTIONS)

__all__ = [*FUNCTIONS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...
