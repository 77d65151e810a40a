"""Lengths and targets for ctc_loss, whose shapes are (steps, sequences, classes) or (steps, classes)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from case import Shape, float64

from fastloss.reference import REFERENCES


def _most_labels(shape: Shape) -> int:
    return max(1, shape[0] // 3)


def input_lengths(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    return shape[0] - np.arange(_sequences(shape)) % (shape[0] // 2 + 1)


def target_lengths(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    return _most_labels(shape) - np.arange(_sequences(shape)) % (_most_labels(shape) + 1)


def one_after_another(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    """Targets of those lengths; a label repeats now and then."""
    found = rng.integers(1, shape[-1], target_lengths(rng, shape).sum())
    return np.where(rng.random(len(found)) < 0.3, np.roll(found, 1), found)


def padded(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    if len(shape) == 2:
        return one_after_another(rng, shape)
    found = rng.integers(0, shape[-1], (shape[1], _most_labels(shape)))
    return np.where(rng.random(found.shape) < 0.3, np.roll(found, 1, -1), found)


def _sequences(shape: Shape) -> int:
    return shape[1] if len(shape) == 3 else 1


def ctc_terms(log_probs: Any, **arguments: Any) -> tuple[Any, Any]:
    # The gradient is the probability less the share; where NumPy has no longer double, the reference is less exact.
    value, grad = REFERENCES["ctc_loss"].value_and_grad(log_probs, **arguments, reduction="none")
    p = np.exp(float64(log_probs))
    coarse = np.finfo(np.longdouble).eps > 1e-18
    return coarse * np.abs(value) * 8, (2 * p - grad) * (1 + coarse * np.abs(value)[..., None])
