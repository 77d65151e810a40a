"""The memory of gradients: kept for the next, never for two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import peer

torch = peer("torch")

import fastloss.torch as F  # noqa: E402
from fastloss.torch import memory  # noqa: E402

ROWS, CLASSES = 1100, 1000


@pytest.fixture(autouse=True)
def nothing_is_kept():
    F.release()
    yield
    F.release()


def gradient(seed, rows=ROWS, dtype=torch.float32):
    """That of logits which are no leaf, and what it should be."""
    x = torch.tensor(np.random.default_rng(seed).normal(size=(rows, CLASSES)), dtype=dtype, requires_grad=True)
    target = torch.arange(rows) % CLASSES
    [found] = torch.autograd.grad(F.cross_entropy(x, target, reduction="sum"), [x])
    expected = x.detach().double().softmax(-1)
    expected[torch.arange(rows), target] -= 1
    return found, expected


def same(found, expected):
    tolerance = 1e-5 if found.dtype is torch.float32 else 1e-2
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_serves_the_next_gradient(dtype):
    rows = 2 * ROWS
    found, expected = gradient(0, rows, dtype)
    same(found, expected)
    place = found.data_ptr()
    assert place % 64 == 0
    del found
    for seed, smaller in ((1, rows), (2, rows - 7)):
        found, expected = gradient(seed, smaller, dtype)
        assert found.data_ptr() == place
        same(found, expected)
        del found


def test_is_not_taken_from_who_holds_it():
    kept = [gradient(seed) for seed in range(3)]
    view = kept[0][0][3:5].T
    kept[0] = (view, kept[0][1][3:5].T)
    kept.append(gradient(3))
    assert len({found.untyped_storage().data_ptr() for found, _ in kept}) == 4
    for found, expected in kept:
        same(found, expected)


def test_small_ones_do_not_push_out_a_large_one():
    large = gradient(0, 4 * ROWS)[0].data_ptr()
    gradient(1)
    assert gradient(2, 4 * ROWS)[0].data_ptr() == large


def test_release():
    gradient(0)
    assert memory._kept is not None
    F.release()
    assert memory._kept is None


def test_many_threads_at_once():
    with ThreadPoolExecutor(4) as pool:
        for found, expected in pool.map(gradient, range(12)):
            same(found, expected)


def test_layouts_are_those_of_the_input():
    x = torch.randn(CLASSES, ROWS + 10).T.requires_grad_()
    [found] = torch.autograd.grad(F.cross_entropy(x, torch.arange(ROWS + 10) % CLASSES), [x])
    assert found.stride() == x.stride()
    image = torch.randn(2, 3, 900, 900).to(memory_format=torch.channels_last).requires_grad_()
    [found] = torch.autograd.grad(F.mse_loss(image, torch.zeros_like(image)), [image])
    assert found.is_contiguous(memory_format=torch.channels_last)
