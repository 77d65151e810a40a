"""Gradients and Hessians against the reference: every loss, variant, dtype, reduction, instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import ALL, samples, strided
from helpers import DIFFERENTIABLE, DTYPES, assert_same, assert_ulp, compute_dtype, every_isa, owed, reductions

from fastloss.loss import LOSSES


@every_isa
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("loss", "variant"), [case for case in ALL if case[0] in DIFFERENTIABLE])
def test_gradient_is_the_reference(loss: str, variant: int, name: str, isa: str) -> None:
    function = LOSSES[loss]
    for arguments, terms, _, scale, _ in samples(loss, variant, name, function.family):
        only_value = {key: value for key, value in arguments.items() if key != "grad_output"}
        for reduction in reductions(function):
            value, grad = function.value_and_grad(**arguments, **reduction)
            assert_same(value, function(**only_value, **reduction))
            divisor = terms.denominator if reduction.get("reduction") == "mean" else 1.0
            _, expected = function.reference.reduced(terms, **reduction)
            for got, want, terms_of, key in zip(*each_prediction(loss, grad, expected, scale), strict=True):
                assert got.dtype == arguments[key].dtype
                assert_ulp(got, want, owed(isa), scale=np.divide(terms_of, divisor) if divisor else 0.0)
        for turned in strided(arguments):
            total = {"reduction": "sum"} if reductions(function)[0] else {}
            grad = function.value_and_grad(**turned, **total)[1]
            for got, want, terms_of, _ in zip(*each_prediction(loss, grad, terms.grads, scale), strict=True):
                assert_ulp(got, want, owed(isa), scale=terms_of)


def each_prediction(loss: str, grad: Any, expected: Any, scale: Any) -> tuple[Any, ...]:
    """Gradients, what they should be, the magnitude of their terms, and the names, all in tuples."""
    names = LOSSES[loss].predictions
    scales = scale if isinstance(scale, tuple) else (scale,) * len(names)
    return *(each if isinstance(each, tuple) else (each,) for each in (grad, expected)), scales, names


@every_isa
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("loss", "variant"), [case for case in ALL if hasattr(LOSSES[case[0]], "grad_hess")])
def test_hessian_is_the_reference(loss: str, variant: int, name: str, isa: str) -> None:
    function = LOSSES[loss]
    for arguments, terms, _, scale, hess_scale in samples(loss, variant, name, function.family):
        grad, hess = function.grad_hess(**arguments)
        assert grad.dtype == hess.dtype == compute_dtype(name)
        assert_ulp(grad, terms.grads[0], owed(isa), scale=scale)
        # A product of two numbers that are allowed 4 ulp each.
        assert_ulp(hess, terms.hess, ulps=8, scale=hess_scale)
