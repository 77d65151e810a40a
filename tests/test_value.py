"""Values against the float64 reference: every loss, variant, dtype, reduction and instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from cases import ALL, samples, strided
from helpers import DTYPES, assert_reduced, assert_ulp, compute_dtype, dtype, every_isa, owed, reductions

from fastloss.loss import LOSSES


@every_isa
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("loss", "variant"), ALL)
def test_value_is_the_reference(loss: str, variant: int, name: str, isa: str) -> None:
    function = LOSSES[loss]
    # A value of the input's shape has its dtype; one number per sample has the dtype it is computed in.
    expected_dtype = dtype(name) if loss in ("softmax", "log_softmax") else compute_dtype(name)
    for arguments, terms, scale, *_ in samples(loss, variant, name, function.family):
        only_value = {key: value for key, value in arguments.items() if key != "grad_output"}
        for reduction in reductions(function):
            actual = function(**only_value, **reduction)
            if isinstance(terms.value, tuple):
                check_score(actual, terms.value, scale)
            elif np.ndim(terms.value) == 0:
                assert_reduced(actual, float(terms.value), name, float(scale))
            elif reduction.get("reduction", "none") == "none":
                assert actual.dtype == expected_dtype
                assert_ulp(actual, terms.value, owed(isa), scale)
                for turned in strided(only_value):
                    assert_ulp(function(**turned, **reduction), terms.value, owed(isa), scale)
            else:
                expected, _ = function.reference.reduced(terms, **reduction)
                divisor = terms.denominator if reduction["reduction"] == "mean" else 1.0
                assert_reduced(actual, expected, name, np.sum(scale) / divisor if divisor else 0.0)


def check_score(actual: tuple, expected: tuple, scale: np.ndarray) -> None:
    assert actual._fields == expected._fields
    for field, got, want in zip(actual._fields, actual, expected, strict=True):
        if want.dtype.kind == "i":
            assert got.dtype == np.int64
            np.testing.assert_array_equal(got, want, err_msg=field)
        else:
            assert_ulp(got, want, scale=scale if field == "logsumexp" else 0.0)
