"""Every loss of fastloss on tensors, against fastloss itself and torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
from bridged import drawn
from helpers import peer

from fastloss.bridge import BRIDGED

torch = peer("torch")
FUNCTIONS = peer("fastloss.torch.call").FUNCTIONS
F = torch.nn.functional


@pytest.mark.parametrize("name", BRIDGED)
def test_every_loss(name):
    """The same bits as from NumPy, for the value and for gradients times an upstream gradient, and that twice."""
    of = drawn(name, FUNCTIONS[name])
    leaves = {key: torch.tensor(each, requires_grad=True) for key, each in of.predictions.items()}
    value = FUNCTIONS[name](**{**of.arguments, **leaves})
    np.testing.assert_array_equal(value.detach(), of.value)
    for _ in range(2):
        found = torch.autograd.grad(value, list(leaves.values()), torch.tensor(of.upstream), retain_graph=True)
        for got, grad in zip(found, of.grads, strict=True):
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
