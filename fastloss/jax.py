"""The losses as functions of JAX arrays: ``fastloss.jax.cross_entropy`` and all others, under jit, grad and vmap.

Every function has the arguments of fastloss's own; what is no array is a constant of the program. A differentiated call
computes the value and its gradient in one pass, and runs on XLA's memory: nothing is copied. The value has the dtype of
the first prediction, a gradient that of its own.

Shapes, dtypes and constants are checked when the program is traced. What only numbers tell, as a label that is out of
range, is an error of the program when it runs, with the message that fastloss has for it.

There are first derivatives by the predictions, in reverse mode. To differentiate by a target or a weight is refused,
not taken as 0: ``jax.lax.stop_gradient`` says that it is a constant. Forward mode and second derivatives are refused by
JAX. With ``reduction="none"`` losses over pairs of a batch, and ``linear_cross_entropy``, have values alone.

Arrays have to be on the CPU: there is no such custom call for other devices. JAX's own functions under ``jax.jit`` are
faster where arrays are small, as a call takes some 0.1 ms, and under ``jax.vmap``, where the loss runs once for each
element of the batch: one call with ``reduction="none"`` does not. docs/frameworks.md has figures.

>>> import jax, jax.numpy as jnp
>>> import fastloss.jax as fl
>>> step = jax.jit(jax.value_and_grad(fl.cross_entropy))
>>> value, grad = step(jnp.zeros((2, 5)), jnp.array([1, 4]))
>>> print(grad[0])
[ 0.1 -0.4  0.1  0.1  0.1]
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from . import bridge, xla
from .bridge import BRIDGED, Call

Arrays = Sequence[Any]
_Struct: Any = jax.ShapeDtypeStruct
_TARGET = "fastloss"


# --- what XLA calls


def _run(text: str, arguments: list[Any], results: list[Any]) -> None:
    """Run what a custom call's attribute says; under vmap, for each element of a batch."""
    said = json.loads(text)
    options = tuple([(key, tuple(one) if isinstance(one, list) else one) for key, one in said["options"]])
    call = Call(said["name"], tuple(said["arrays"]), options)
    batch = results[0].shape[: results[0].ndim - said["ndim"]]
    for place in np.ndindex(batch):
        taken = [_at(each, place) for each in arguments]
        written = [_at(each, place) for each in results]
        if said["mode"] == "value":
            written[0][...] = call.value(taken)
        elif said["mode"] == "value_and_grad":
            written[0][...] = call.value_and_grad(taken, written[1:])
        else:
            call.value_and_grad(taken[:-1], written, taken[-1])


def _at(array: Any, place: tuple[int, ...]) -> Any:
    """An element of a batch; what is not batched has length 1 there."""
    return array[(*(0 if length == 1 else i for i, length in zip(place, array.shape, strict=False)), ...)]


jax.ffi.register_ffi_target(_TARGET, xla.capsule(_run), platform="cpu")


def _call(call: Call, mode: str, arrays: Arrays, results: list[Any]) -> list[Any]:
    said = {
        "name": call.name,
        "arrays": call.arrays,
        "options": call.options,
        "mode": mode,
        "ndim": len(results[0].shape),
    }
    return [*jax.ffi.ffi_call(_TARGET, results, vmap_method="expand_dims")(*arrays, call=json.dumps(said))]


# --- the differentiable function


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _loss(call: Call, *arrays: Any) -> Any:
    """The value."""
    shape = call.shape([each.shape for each in arrays])
    return _call(call, "value", arrays, [_Struct(shape, _dtype(call, arrays))])[0]


def _dtype(call: Call, arrays: Arrays) -> Any:
    """The value's dtype."""
    return arrays[call.predictions[0]].dtype


def _forward(call: Call, *primals: Any) -> tuple[Any, Any]:
    """The value, and what the backward pass needs: gradients, or the arrays to make them from."""
    for i, each in enumerate(primals):
        if each.perturbed and i not in call.predictions:
            raise ValueError(
                f"{call.name}: there is no gradient by {call.arrays[i]}; if it is a constant, pass "
                f"jax.lax.stop_gradient({call.arrays[i]})"
            )
    arrays = [each.value for each in primals]
    shapes = [each.shape for each in arrays]
    call.check_gradient(shapes)
    if call.pulls:
        return _loss(call, *arrays), arrays
    dtype = _dtype(call, arrays)
    # In float16 a mean's gradient may be too small before it is multiplied by the upstream one.
    wide = [each.astype(np.float32) if each.dtype == np.float16 else each for each in arrays]
    value = _Struct(call.shape(shapes), _dtype(call, wide))
    grads = [_Struct(wide[i].shape, wide[i].dtype) for i in call.predictions]
    found, *made = _call(call, "value_and_grad", wide, [value, *grads])
    likes = [jnp.zeros((), arrays[i].dtype) for i in call.predictions]
    return found.astype(dtype), (made, likes)


def _backward(call: Call, kept: Any, upstream: Any) -> tuple[Any, ...]:
    """The gradients, times the upstream one."""
    if isinstance(upstream, SymbolicZero):
        upstream = jnp.zeros(upstream.shape, upstream.dtype)
    if call.pulls:
        results = [_Struct(kept[i].shape, kept[i].dtype) for i in call.predictions]
        grads = _call(call, "pull", [*kept, upstream], results)
    else:
        made, likes = kept
        upstream = jnp.expand_dims(upstream, call.upstream_axes(made[0].ndim))
        grads = [
            (grad * upstream.astype(grad.dtype)).astype(like.dtype) for grad, like in zip(made, likes, strict=True)
        ]
    by = dict(zip(call.predictions, grads, strict=True))
    return tuple([by.get(i) for i in range(len(call.arrays))])


_loss.defvjp(_forward, _backward, symbolic_zeros=True)
_compiled: Callable[..., Any] = jax.jit(_loss, static_argnums=0)


# --- the functions


def _checked(call: Call, given: list[Any]) -> Any:
    """The loss of arrays, if they are ones that it takes."""
    arrays = [jnp.asarray(each) for each in given]
    call.check([each.shape for each in arrays], [np.dtype(each.dtype) for each in arrays])
    return _compiled(call, *arrays)


FUNCTIONS = {name: bridge.function(name, __name__, _checked, "JAX arrays") for name in BRIDGED}
"""The functions by their names."""

globals().update(FUNCTIONS)

__all__ = [*FUNCTIONS]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...
