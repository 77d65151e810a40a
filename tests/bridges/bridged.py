"""A call of every loss that the bridges have, and its answers by fastloss on NumPy arrays."""

from __future__ import annotations

import inspect
import zlib
from typing import Any, NamedTuple

import numpy as np
from cases import CASES

from fastloss.bridge import BRIDGED, Call, split

SHAPES = {"pointwise": (5, 4), "rowwise": (5, 4), "sequence": (7, 4, 3), "linear": (5, 6), "embedding": (6, 5)}
TOLERANCES = {"float32": 2e-5, "float64": 1e-12, "bfloat16": 2e-2, "float16": 2e-3}


class Drawn(NamedTuple):
    """Arguments, with an upstream gradient, and the value and gradients times that, which they should give."""

    call: Call
    arguments: dict[str, Any]
    predictions: dict[str, Any]
    upstream: Any
    value: Any
    grads: list[Any]


def drawn(name: str, function: Any) -> Drawn:
    """A variant and a reduction for each loss, those that its bridge's function has."""
    seed, family = zlib.crc32(name.encode()), BRIDGED[name].family
    rng, case = np.random.default_rng(seed), CASES[name]
    arguments = case.draw(case.variants[seed // 3 % len(case.variants)], rng, SHAPES[family], "float32")
    arguments.pop("grad_output", None)
    if family not in ("linear", "embedding") and "reduction" in inspect.signature(function).parameters:
        arguments["reduction"] = ("none", "mean", "sum")[seed % 3]
    call, arrays = split(name, (), arguments)
    arrays = [np.asarray(each) for each in arrays]
    upstream = rng.normal(size=call.shape([each.shape for each in arrays])).astype(np.float32)
    grads = [np.empty_like(arrays[i]) for i in call.predictions]
    value = call.value_and_grad(arrays, grads, upstream if call.pulls else None)
    if not call.pulls:
        grads = [grad * np.expand_dims(upstream, call.upstream_axes(grad.ndim)) for grad in grads]
    predictions = {call.arrays[i]: arrays[i] for i in call.predictions}
    return Drawn(call, arguments, predictions, upstream, np.asarray(value, np.float32), grads)


def close(actual: Any, expected: Any, tolerance: float = TOLERANCES["float32"]) -> None:
    """Arrays of any library, one by one: shapes, dtypes and numbers, these relative to the largest."""
    for got, want in zip(actual, expected, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max(initial=0)))
