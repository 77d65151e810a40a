"""Every loss of fastloss on tensors, against fastloss itself and torch's autograd."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from cases import CASES
from helpers import peer

from fastloss.bridge import BRIDGED, split

torch = peer("torch")
FUNCTIONS = peer("fastloss.torch.call").FUNCTIONS
F = torch.nn.functional

SHAPES = {"pointwise": (5, 4), "rowwise": (5, 4), "sequence": (7, 4, 3), "linear": (5, 6), "embedding": (6, 5)}


@pytest.mark.parametrize("name", BRIDGED)
def test_every_loss(name):
    """The same bits as from NumPy, for the value and for gradients times an upstream gradient, and that twice."""
    seed = zlib.crc32(name.encode())
    rng, case = np.random.default_rng(seed), CASES[name]
    arguments = case.draw(case.variants[seed // 3 % len(case.variants)], rng, SHAPES[BRIDGED[name].family], "float32")
    arguments.pop("grad_output", None)
    if BRIDGED[name].family not in ("linear", "embedding") and "reduction" in FUNCTIONS[name].__signature__.parameters:
        arguments["reduction"] = ("none", "mean", "sum")[seed % 3]
    call, arrays = split(name, (), arguments)
    arrays = [np.asarray(each) for each in arrays]
    upstream = rng.normal(size=call.shape([each.shape for each in arrays])).astype(np.float32)
    grads = [np.empty_like(arrays[i]) for i in call.predictions]
    expected = call.value_and_grad(arrays, grads, upstream if call.pulls else None)
    if not call.pulls:
        grads = [grad * np.expand_dims(upstream, call.upstream_axes(grad.ndim)) for grad in grads]
    leaves = {call.arrays[i]: torch.tensor(arrays[i], requires_grad=True) for i in call.predictions}
    value = FUNCTIONS[name](**{**arguments, **leaves})
    np.testing.assert_array_equal(value.detach(), np.asarray(expected, np.float32))
    for _ in range(2):
        found = torch.autograd.grad(value, list(leaves.values()), torch.tensor(upstream), retain_graph=True)
        for got, grad in zip(found, grads, strict=True):
            np.testing.assert_array_equal(got, grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    x = torch.randn(9, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(dtype).requires_grad_()
    t = torch.arange(9)
    value = FUNCTIONS["cross_entropy"](x, t)
    [grad] = torch.autograd.grad(3 * value, x)
    wide = x.detach().double().requires_grad_()
    expected = F.cross_entropy(wide, t)
    [expected_grad] = torch.autograd.grad(3 * expected, wide)
    assert value.dtype is grad.dtype is dtype
    tolerance = {"rtol": 8 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps / 4}
    torch.testing.assert_close(value, expected.to(dtype), **tolerance)
    torch.testing.assert_close(grad, expected_grad.to(dtype), **tolerance)


def test_refused():
    x, y = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    mse = FUNCTIONS["mse_loss"]
    with pytest.raises(ValueError, match="mse_loss: there is no gradient by target"):
        mse(x, y)
    with pytest.raises(NotImplementedError, match="mse_loss: there are no second derivatives"):
        torch.autograd.grad(mse(x, y.detach()), x, create_graph=True)
