"""What an update says of its rows beside predictions and labels, as one array each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array

__all__ = ["columns", "is_whole"]

_KEYS = ("groups", "sequences")


def columns(given: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Array]:
    """One flat array for everything that is given, by the name of the field.

    Parameters
    ----------
    given : dict
        ``groups``, ``sequences``, ``bytes`` and ``positions``, None where they are not.
    shape : tuple of int
        Of the rows.
    """
    if all(value is None for value in given.values()):
        return {}
    size = math.prod(shape)
    made = {name: _keys(given[name], name, shape, size) for name in _KEYS if given[name] is not None}
    if given["bytes"] is not None:
        found = given["bytes"] if is_whole(given["bytes"]) else _whole(given["bytes"], "bytes", shape)
        if np.any(found < 0):
            raise ValueError(f"Evaluation: bytes must not be negative, has {np.min(found)}")
        if isinstance(found, np.ndarray):
            made["bytes"] = found
    positions = given["positions"]
    if is_whole(positions):
        first = int(positions)
        if not -(2**63) <= first <= 2**63 - size:
            raise ValueError(f"Evaluation: positions from {first} on are no int64 numbers")
        made["positions"] = np.arange(first, first + size, dtype=np.int64)
    elif positions is not None:
        made["positions"] = _whole(positions, "positions", shape)
    return made


def is_whole(value: Any) -> bool:
    """Whether something is one whole number, for all rows together."""
    return isinstance(value, (int, np.integer))


def _whole(value: Any, name: str, shape: tuple[int, ...]) -> Array:
    found = arrays.labels(value, "Evaluation", name)
    if found.shape != shape:
        raise ValueError(f"Evaluation: {name} must have the shape of the labels, {shape}, has {found.shape}")
    return found.reshape(-1).astype(np.int64, copy=False)


def _keys(value: Any, name: str, shape: tuple[int, ...], size: int) -> Array:
    found = value if isinstance(value, np.ndarray) else np.asarray(value)
    if found.dtype.kind in "OT" and all(type(each) is str for each in found.reshape(-1)):
        found = found.astype(np.str_)
    if found.dtype.kind in "iu" and found.dtype != np.uint64:
        found = found.astype(np.int64, copy=False)
    elif found.dtype.kind != "U" and found.size:
        raise TypeError(f"Evaluation: {name} must hold integers (of int64) or texts, has dtype {found.dtype}")
    if found.shape != shape[: found.ndim]:
        raise ValueError(
            f"Evaluation: {name} must have the shape of the labels, {shape}, or of their first axes, has {found.shape}"
        )
    return np.repeat(found.reshape(-1), size // found.size if found.size else 0)
