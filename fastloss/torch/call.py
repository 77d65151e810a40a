"""Every loss of fastloss on tensors, also those that torch.nn.functional has not: what Keras needs on this backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .. import bridge
from ..bridge import BRIDGED, Call
from .autograd import _array, _scaled, _tensor

__all__ = ["FUNCTIONS"]


def _empty(like: Any) -> Any:
    """A tensor for a gradient, in NumPy's memory: that comes in large pages, and so several times as fast."""
    return torch.from_numpy(np.empty(tuple(like.shape), f"i{like.element_size()}")).view(like.dtype)


def _value_and_grad(call: Call, tensors: Sequence[Any], upstream: Any = None) -> tuple[Any, list[Any]]:
    # In float16 a mean's gradient may be too small before it is multiplied by the upstream one.
    wide = [each.float() if each.dtype is torch.float16 else each for each in tensors]
    grads = [_empty(wide[i]) for i in call.predictions]
    arrays = [_array(each) for each in wide]
    value = call.value_and_grad(
        arrays, [_array(each) for each in grads], None if upstream is None else _array(upstream)
    )
    return value, grads


class _Called(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """A call and its tensors."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> Any:
        """The value; the gradients by the predictions are kept."""
        ctx.call, ctx.grads = call, []
        ctx.save_for_backward(*tensors)
        needed = ctx.needs_input_grad[1:]
        for name, need in zip(call.arrays, needed, strict=True):
            if need and name not in BRIDGED[call.name].predictions:
                raise ValueError(f"{call.name}: there is no gradient by {name}; pass {name}.detach()")
        if call.pulls or not any(needed):
            value = call.value([_array(each) for each in tensors])
        else:
            call.check_gradient([tuple(each.shape) for each in tensors])
            value, ctx.grads = _value_and_grad(call, tensors)
        return _tensor(value, tensors[call.predictions[0]].dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Any) -> Any:
        """The gradients, times the upstream one; those that are kept are handed over once."""
        call, tensors = ctx.call, ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: these would be taken for constants
            raise NotImplementedError(f"{call.name}: there are no second derivatives; take torch's own")
        grads, ctx.grads = ctx.grads, []
        if not grads:
            grads = _value_and_grad(call, tensors, upstream if call.pulls else None)[1]
        if not call.pulls:
            for axis in call.upstream_axes(grads[0].ndim):
                upstream = upstream.unsqueeze(axis)
            grads = [_scaled(grad, upstream, None, True) for grad in grads]
        found = dict(zip(call.predictions, grads, strict=True))
        return (None, *[found[i].to(each.dtype) if i in found else None for i, each in enumerate(tensors)])


@torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
def _run(call: Call, given: list[Any]) -> Any:
    apply: Any = _Called.apply
    return apply(call, *[torch.as_tensor(each) for each in given])


FUNCTIONS = {name: bridge.function(name, __name__, _run, "torch tensors") for name in BRIDGED}
"""The functions by their names."""
