"""How a loss is run on tensors: the value with its gradient in one pass, for autograd and for torch.compile.

In eager mode a loss is an ``autograd.Function``; under torch.compile it is an operator, ``torch.ops.fastloss.<name>``,
which costs more per call. Both share what is kept for the backward pass and what is done there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .. import arrays
from ..loss import LOSSES
from .memory import empty_like
from .table import TABLE, Bridge

__all__ = ["Differentiable", "compute", "operator", "own"]

Tensors = tuple[Any, ...]
own = {name: getattr(torch.nn.functional, name) for name in TABLE}
"""Torch's own functions, whatever torch.nn.functional has by these names later."""


def _array(tensor: Any) -> arrays.Array:
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return arrays.array(tensor, "torch", "tensor")
    found: arrays.Array = tensor.numpy()
    return found


def _tensor(value: Any, dtype: Any) -> Any:
    if isinstance(value, float):
        return torch.scalar_tensor(value, dtype=dtype)
    return torch.from_numpy(np.asarray(value)).to(dtype)


def _arguments(bridge: Bridge, options: tuple[Any, ...], reduction: str) -> dict[str, Any]:
    """The arguments that are no tensors, by torch's names."""
    found = dict(zip(bridge.options, options, strict=True))
    if bridge.reductions:
        found["reduction"] = reduction
    return found


def _gradients(bridge: Bridge, tensors: Tensors, reduction: str, make: Any = empty_like) -> list[Any]:
    """Tensors to write gradients into; None for what has been left out.

    A mean's gradient is held as float32 for float16, in whose range it would not be before a GradScaler's factor.
    """
    wide = tensors[0].dtype is torch.float16 and "mean" in reduction
    dtype = torch.float32 if wide else tensors[0].dtype
    found = [tensors[i] for i in bridge.predictions]
    return [None if each is None else make(each, dtype=dtype) for each in found]


def compute(
    bridge: Bridge, tensors: Tensors, options: tuple[Any, ...], reduction: str, with_grad: bool
) -> tuple[Any, list[Any]]:
    """The value, and with `with_grad` its gradient by each prediction."""
    given = {bridge.names.get(name, name): each for name, each in _arguments(bridge, options, reduction).items()}
    names = [bridge.names.get(name, name) for name in bridge.tensors]
    for name, each in zip(names, tensors, strict=True):
        if each is not None:
            given[name] = _array(each)
    if bridge.row == "class":
        given["axis"] = bridge.axis(tensors, options)
    dtype = tensors[0].dtype
    if not with_grad:
        return _tensor(_declared(bridge, given).value(), dtype), []
    grads = _gradients(bridge, tensors, reduction)
    if grads[0].dtype is not dtype:
        for i, grad in zip(bridge.predictions, grads, strict=True):
            if grad is not None:
                given[names[i]] = grad.copy_(tensors[i].detach()).numpy()
    written = [_array(grad) for grad in grads if grad is not None]
    value, _ = _declared(bridge, given).value_and_grad(written[0] if len(written) == 1 else tuple(written))
    return _tensor(value, dtype), grads


def _declared(bridge: Bridge, given: dict[str, Any]) -> Any:
    declare: Any = LOSSES[bridge.loss]
    declared = declare.__wrapped__(**given)
    if bridge.prepare:
        bridge.prepare(declared)
    return declared


def _keep(
    ctx: Any, name: str, tensors: Tensors, options: tuple[Any, ...], reduction: str, grads: list[Any], first: int
) -> None:
    """Keep for the backward pass the gradients, and the tensors in case these do not do."""
    ctx.loss, ctx.options, ctx.reduction, ctx.first = name, options, reduction, first
    ctx.grads = grads
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, upstream: Any, exclusive: bool) -> list[Any]:
    """The gradients by the tensors; those that are kept are handed over once."""
    bridge = TABLE[ctx.loss]
    found = [None] * len(bridge.tensors)
    if upstream is None:
        return found
    needed = [i for i in bridge.predictions if ctx.needs_input_grad[ctx.first + i]]
    if torch.is_grad_enabled():  # create_graph: to be differentiated once more
        made = _differentiable(ctx, upstream, needed)
    else:
        grads, ctx.grads = ctx.grads, []
        if not grads:  # handed over before: the graph is retained
            grads, exclusive = compute(bridge, ctx.saved_tensors, ctx.options, ctx.reduction, True)[1], True
        axis = bridge.axis((grads[0],), ctx.options)
        dtype = upstream.dtype
        made = [_scaled(grads[bridge.predictions.index(i)], upstream, axis, exclusive).to(dtype) for i in needed]
    for i, grad in zip(needed, made, strict=True):
        found[i] = grad
    return found


def _differentiable(ctx: Any, upstream: Any, needed: list[int]) -> Any:
    """The gradients as torch's own function has them, as functions of tensors and upstream gradient."""
    bridge, tensors = TABLE[ctx.loss], ctx.saved_tensors
    named = {name: each for name, each in zip(bridge.tensors, tensors, strict=True) if each is not None}
    value = own[ctx.loss](**named, **_arguments(bridge, ctx.options, ctx.reduction))
    return torch.autograd.grad(value, [tensors[i] for i in needed], upstream, create_graph=True)


def _wrapped(tensor: Any) -> bool:
    """Whether vmap or another transform stands behind a tensor."""
    functorch = torch._C._functorch
    return bool(functorch.is_functorch_wrapped_tensor(tensor) or functorch.is_legacy_batchedtensor(tensor))


def _scaled(grad: Any, upstream: Any, axis: int | None, exclusive: bool) -> Any:
    """The gradient times the upstream gradient, which has one number for all, each element or each row.

    With `exclusive`, no one else has the gradient, and it may be overwritten.
    """
    plain = type(upstream) is torch.Tensor and not _wrapped(upstream)
    if upstream.ndim == 0:
        if plain and exclusive and upstream.item() == 1:
            return grad
    elif axis is not None and upstream.ndim < grad.ndim:
        upstream = upstream.unsqueeze(axis)
    return grad.mul_(upstream) if plain and exclusive else grad * upstream


class Differentiable(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """A loss in eager mode: its name, options and reduction, then its tensors."""

    @staticmethod
    def forward(ctx: Any, name: str, options: tuple[Any, ...], reduction: str, *tensors: Any) -> Any:
        """The value; the gradient is kept."""
        value, grads = compute(TABLE[name], tensors, options, reduction, True)
        _keep(ctx, name, tensors, options, reduction, grads, 3)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """The gradient by each tensor."""
        return (None, None, None, *_backward(ctx, upstream, True))


def _operator(name: str, bridge: Bridge) -> Any:
    """The operator of a loss: tensors, options, reduction and whether gradients are wanted; to value and gradients."""
    count, wanted = len(bridge.tensors), len(bridge.predictions)
    given = [
        *(f"Tensor{'?' if kind in ('weight', 'bias') else ''} {each}" for each, kind in bridge.tensors.items()),
        *(f"{kind} {each}" for each, kind in bridge.options.items()),
        "str reduction",
        "bool with_grad",
    ]
    schema = f"({', '.join(given)}) -> ({', '.join(['Tensor'] * (1 + wanted))})"

    def split(args: tuple[Any, ...]) -> tuple[Tensors, tuple[Any, ...], str, bool]:
        return args[:count], args[count:-2], args[-2], args[-1]

    def run(*args: Any) -> tuple[Any, ...]:
        tensors, options, reduction, with_grad = split(args)
        value, grads = compute(bridge, tensors, options, reduction, with_grad)
        return (value, *(tensors[0].new_empty(0) if grad is None else grad for grad in grads or [None] * wanted))

    def fake(*args: Any) -> tuple[Any, ...]:
        tensors, options, reduction, with_grad = split(args)
        value = tensors[0].new_empty(bridge.shape(tensors, options, reduction))
        grads = _gradients(bridge, tensors, reduction, torch.empty_like) if with_grad else [None] * wanted
        return (value, *(value.new_empty(0) if grad is None else grad for grad in grads))

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        tensors, options, reduction, with_grad = split(inputs)
        ctx.mark_non_differentiable(*output[1:])
        _keep(ctx, name, tensors, options, reduction, list(output[1:]) if with_grad else [], 0)

    def backward(ctx: Any, upstream: Any, *_: Any) -> tuple[Any, ...]:
        return (*_backward(ctx, upstream, False), *[None] * (len(bridge.options) + 2))

    made = torch.library.custom_op(f"fastloss::{name}", run, mutates_args=(), schema=schema, device_types="cpu")
    made.register_fake(fake)
    made.register_autograd(backward, setup_context=keep)
    return made


operator = {name: _operator(name, bridge) for name, bridge in TABLE.items() if bridge.grad}
"""The operators by their names."""
