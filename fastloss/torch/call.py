"""Every loss of fastloss on tensors, also those that torch.nn.functional has not: what Keras needs on this backend."""

from __future__ import annotations

from typing import Any

import torch

from .. import bridge
from ..bridge import BRIDGED, Call
from .autograd import _array, _scaled, _tensor

__all__ = ["FUNCTIONS"]


class _Called(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """A call and its tensors."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Any) -> Any:
        """The value; the gradients by the predictions are kept."""
        ctx.call, ctx.grads = call, []
        dtype = tensors[call.predictions[0]].dtype
        needed = ctx.needs_input_grad[1:]
        for name, need in zip(call.arrays, needed, strict=True):
            if need and name not in BRIDGED[call.name].predictions:
                raise ValueError(f"{call.name}: there is no gradient by {name}; pass {name}.detach()")
        if not any(needed) or call.pulls:
            ctx.save_for_backward(*tensors)
            return _tensor(call.value([_array(each) for each in tensors]), dtype)
        call.check_gradient([tuple(each.shape) for each in tensors])
        # In float16 a mean's gradient may be too small before it is multiplied by the upstream one.
        wide = [each.float() if each.dtype is torch.float16 else each for each in tensors]
        ctx.dtypes = [tensors[i].dtype for i in call.predictions]
        ctx.grads = [torch.empty_like(wide[i]) for i in call.predictions]
        return _tensor(
            call.value_and_grad([_array(each) for each in wide], [_array(each) for each in ctx.grads]), dtype
        )

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, upstream: Any) -> Any:
        """The gradients, times the upstream one."""
        call = ctx.call
        if call.pulls:
            tensors = ctx.saved_tensors
            grads = [torch.empty_like(tensors[i]) for i in call.predictions]
            arrays = [_array(each) for each in tensors]
            call.value_and_grad(arrays, [_array(each) for each in grads], _array(upstream))
        else:
            for axis in call.upstream_axes(ctx.grads[0].ndim):
                upstream = upstream.unsqueeze(axis)
            grads = [
                _scaled(grad, upstream.to(grad.dtype), None, False).to(dtype)
                for grad, dtype in zip(ctx.grads, ctx.dtypes, strict=True)
            ]
        found = dict(zip(call.predictions, grads, strict=True))
        return (None, *[found.get(i) for i in range(len(call.arrays))])


@torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
def _run(call: Call, given: list[Any]) -> Any:
    tensors = [torch.as_tensor(each) for each in given]
    apply: Any = _Called.apply
    return apply(call, *tensors)


FUNCTIONS = {name: bridge.function(name, __name__, _run, "torch tensors") for name in BRIDGED}
"""The functions by their names."""
