"""rmse_loss along axes: one root for each row, beside the root of all elements that the registry's tests try."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import DTYPES, assert_ulp, compute_dtype, dtype, every_isa, owed

import fastloss as fl

AXES = [0, 1, -1, (0, 2), (2, 1), (0, 1, 2)]


@every_isa
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_the_reference(axis: Any, weighted: bool, name: str, isa: str) -> None:
    rng = np.random.default_rng(5)
    x, t = (rng.normal(0, 3, (5, 33, 70)).astype(dtype(name)) for _ in range(2))
    weight = rng.uniform(0.1, 2, (33, 1)).astype(dtype(name)) if weighted else None
    value, grad = fl.rmse_loss.value_and_grad(x, t, weight, axis=axis)
    expected, slope = fl.rmse_loss.reference.value_and_grad(x, t, weight, axis=axis)
    assert value.dtype == compute_dtype(name)
    assert grad.dtype == x.dtype
    assert_ulp(value, expected, owed(isa))
    assert_ulp(grad, slope, owed(isa))


def test_one_axis_and_all() -> None:
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(fl.rmse_loss(x, 0, axis=1), [np.sqrt((row**2).mean()) for row in x])
    assert type(fl.rmse_loss(x, 0)) is float
    assert fl.rmse_loss(x, 0) == pytest.approx(np.sqrt((x**2).mean()))


def test_equal_rows_have_no_gradient() -> None:
    value, grad = fl.rmse_loss.value_and_grad([[1.0, 2.0], [3.0, 5.0]], [[1, 2], [3, 4]], axis=1)
    assert value[0] == 0
    np.testing.assert_allclose(grad, [[0, 0], [0, np.sqrt(0.5)]])


@pytest.mark.parametrize("axis", [3, -4, (0, 0), 1.5])
def test_bad_axis(axis: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="rmse_loss: axis"):
        fl.rmse_loss(np.zeros((2, 3, 4)), 0, axis=axis)
