"""How a loss is tried: samplers of its operands, variants of its parameters, magnitudes where it cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from helpers import dtype

from fastloss.loss import LOSSES

Shape = tuple[int, ...]
Sampler = Callable[[np.random.Generator, Shape], Any]
Magnitudes = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """How to try a loss: samplers and constants by argument name; a variant overrides or adds some."""

    operands: Mapping[str, Sampler]
    variants: tuple[Mapping[str, Any], ...] = field(default=({},))
    magnitudes: Magnitudes = lambda **_: (0.0, 0.0)
    """Where a value or a derivative is a difference: the magnitude of its terms (0 where nothing cancels).

    Of the value, the gradient (a tuple where there are several), and the Hessian if that is not the gradient's.
    """
    axes: int = 64
    """The most axes that its operands may have."""

    def draw(self, variant: Mapping[str, Any], rng: np.random.Generator, shape: Shape, name: str) -> dict[str, Any]:
        """Arguments of one call; floating-point arrays have the dtype called ``name``."""
        drawn = {}
        for key, item in {**self.operands, **variant}.items():
            drawn[key] = item(rng, shape) if callable(item) and item not in LOSSES.values() else item
            if isinstance(drawn[key], np.ndarray) and drawn[key].dtype == np.float64:
                drawn[key] = drawn[key].astype(dtype(name))
        return drawn


def numbers(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    x: npt.NDArray[np.float64] = rng.normal(0, rng.choice([0.01, 1, 5, 50], shape), shape)
    return x


def positives(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.uniform(0.1, 2, shape)


def signs(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.integers(0, 2, shape).astype(np.float64)


def fractions(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.float64]:
    return rng.random(shape)


def float64(array: Any) -> npt.NDArray[np.float64]:
    return np.asarray(array).astype(np.float64)
