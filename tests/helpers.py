"""What the tests share: dtypes, rounding, and how near two arrays have to be."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fastloss import _core
from fastloss.loss import LOSSES

DTYPES = ("float32", "float64", "float16", "bfloat16")
DIFFERENTIABLE = [name for name, loss in LOSSES.items() if hasattr(loss, "value_and_grad")]

# The topmost decorator varies fastest: what is drawn is drawn once for all instruction sets.
NARROW = _core.NARROW  # the most classes of rows that are walked together, a row in each lane
every_isa = pytest.mark.parametrize("isa", _core.isas(), indirect=True)

# Under the sanitizers everything is slower and larger, and objects have symbols that are not theirs.
not_sanitized = pytest.mark.skipif(os.environ.get("FASTLOSS_SANITIZE") == "1", reason="under the sanitizers")

# 128 times the smallest normal number
NEGLIGIBLE = {"float64": 2.0**-1015, "float32": 2.0**-119}

# mantissa bits and the exponent of the smallest normal number
_FORMATS = {"float64": (52, -1022), "float32": (23, -126), "float16": (10, -14), "bfloat16": (7, -126)}


def dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype called ``name``; bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(name)


def compute_dtype(name: str) -> np.dtype[Any]:
    """The dtype losses of this storage dtype are computed in."""
    return np.dtype("float64" if name == "float64" else "float32")


def spacing(magnitude: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """The distance between neighbouring numbers of a format around ``magnitude``."""
    bits, smallest = _FORMATS[name]
    _, exponent = np.frexp(np.abs(np.asarray(magnitude, np.float64)))
    return np.ldexp(1.0, np.maximum(exponent - 1, smallest) - bits)


def owed(isa: str) -> float:
    """The float32 spacings an element may be off: one more where there is no fused multiply-add."""
    return 5 if isa == "base" else 4


def assert_ulp(actual: Any, expected: Any, ulps: float = 4, scale: Any = 0.0) -> None:
    """Every element within the accuracy owed to its dtype.

    float32: ``ulps`` float32 spacings of the expected value; float64: 1e-13 of it; float16 and bfloat16: half
    a spacing of their own on top of what float32 is allowed. Where the value is a difference of larger terms,
    ``scale`` is the magnitude of those terms: the error is measured there, and may be 2 ulp more, since each
    term is a product. Anything up to 128 times the smallest normal number may be 0: a factor of it may have
    underflowed.
    """
    actual, expected = np.asarray(actual), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    name = actual.dtype.name
    got = actual.astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    if same.all():
        return
    finite = np.where(np.isfinite(expected), np.abs(expected), 0.0)
    scale = np.nan_to_num(scale, posinf=0.0)
    magnitude = np.maximum(finite, scale)
    if name == "float64":
        allowed = np.maximum(1e-13 * magnitude, NEGLIGIBLE[name])
    else:
        allowed = (ulps + 2 * (scale > 0)) * spacing(magnitude, "float32")
        allowed = np.maximum(allowed, NEGLIGIBLE["float32"])
        if name != "float32":
            allowed = allowed + 0.5 * spacing(np.maximum(finite, np.abs(got)), name)
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
    wrong = ~same & ~(error <= allowed)
    if wrong.any():
        worst = np.unravel_index(np.argmax(np.where(wrong, np.nan_to_num(error / allowed, nan=np.inf), 0)), wrong.shape)
        pytest.fail(
            f"{wrong.sum()} of {wrong.size} {name} are off; the worst, at {tuple(map(int, worst))}, is "
            f"{float(got[worst])!r}, expected {float(expected[worst])!r}: "
            f"{error[worst] / allowed[worst]:.3g} times the error allowed"
        )


def assert_reduced(actual: Any, expected: float, name: str, scale: float = 0.0) -> None:
    """A Python float within 1e-6 of the reference (float64: 1e-13), or of the terms it is a difference of."""
    assert type(actual) is float
    allowed = 1e-13 if name == "float64" else 1e-6
    least = max(NEGLIGIBLE[compute_dtype(name).name], allowed * np.nan_to_num(scale, posinf=0.0))
    assert actual == pytest.approx(expected, rel=allowed, abs=least, nan_ok=True)


def assert_same(actual: Any, expected: Any) -> None:
    """The same bits (any NaN is a NaN), dtypes and shapes, in tuples too."""
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for got, want in zip(actual, expected, strict=True):
            assert_same(got, want)
        return
    assert type(actual) is type(expected)
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected)
        return
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual[actual == 0]), np.signbit(expected[expected == 0]))


def reductions(loss: Any) -> list[dict[str, str]]:
    """The ``reduction`` arguments a loss takes: none at all where it has no such parameter."""
    if "reduction" not in inspect.signature(loss).parameters:
        return [{}]
    return [{"reduction": reduction} for reduction in ("none", "mean", "sum")]


def everything(name: str, **arguments: Any) -> tuple[Any, ...]:
    """All that a loss can say about its arguments: value, value and gradient, gradient and Hessian."""
    loss = LOSSES[name]
    only_value = {key: value for key, value in arguments.items() if key != "grad_output"}
    answers: list[Any] = [loss(**only_value, **reduction) for reduction in reductions(loss)]
    if hasattr(loss, "value_and_grad"):
        answers += [loss.value_and_grad(**arguments, **reduction) for reduction in reductions(loss)]
    if hasattr(loss, "grad_hess"):
        answers.append(loss.grad_hess(**only_value))
    return tuple(answers)


def peer(name: str) -> ModuleType:
    """Another library: where it is missing its tests are skipped, and fail when FASTLOSS_BRIDGES=1."""
    if os.environ.get("FASTLOSS_BRIDGES") == "1":
        return importlib.import_module(name)
    module: ModuleType = pytest.importorskip(name)
    return module


def needs(*names: str) -> pytest.MarkDecorator:
    """A mark of tests whose own process does not import what they need: likewise."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(absent) and os.environ.get("FASTLOSS_BRIDGES") != "1", reason=f"needs {', '.join(absent)}"
    )
