"""What losses over embeddings share: matrices, rows of norm 1, stretches of products that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import arrays
from .arrays import Array

__all__ = ["BUFFER", "QUIET", "from_unit", "matrix", "room", "same_width", "squares", "stretches", "unit"]

BUFFER = 1 << 23
"""Numbers of a stretch of products: enough rows for BLAS to work well, few enough to stay in the cache."""
_MOST = 1024

QUIET = np.errstate(invalid="ignore", over="ignore", under="ignore")
"""What becomes of infinities and NaN shows in the result."""


def matrix(value: object, loss: str, name: str) -> Array:
    """One embedding a row: floating, two axes, at least one number to a row."""
    found = arrays.floating(value, loss, name)
    if found.ndim != 2:
        raise ValueError(f"{loss}: {name} must be (embeddings, width), has shape {found.shape}")
    if found.shape[1] == 0:
        raise ValueError(f"{loss}: {name} has no numbers in a row (shape {found.shape})")
    return found


def same_width(named: list[tuple[str, Array]], loss: str) -> None:
    """Refuse matrices whose rows differ in length."""
    (first, model), *others = named
    for name, found in others:
        if found.shape[-1] != model.shape[-1]:
            raise ValueError(
                f"{loss}: {name} must have rows of {model.shape[-1]} numbers as {first}, has shape {found.shape}"
            )


def stretches(rows: int, columns: int, least: int = 32) -> Iterator[slice]:
    """The rows, a stretch at a time. How long those are depends on the columns alone."""
    height = min(max(BUFFER // max(columns, 1), least), _MOST)
    for first in range(0, rows, height):
        yield slice(first, min(first + height, rows))


def room(rows: int, columns: int, dtype: np.dtype) -> Array:
    """A buffer for the longest stretch."""
    return np.empty((max((each.stop - each.start for each in stretches(rows, columns)), default=0), columns), dtype)


@QUIET
def squares(x: Array) -> Array:
    """The squared norm of every row, in float64."""
    found: Array = np.einsum("...j,...j->...", x, x, dtype=np.float64)
    return found


@QUIET
def unit(x: Array) -> tuple[Array, Array]:
    """Rows divided by their norms, and what they were multiplied by; rows of zeros stay."""
    norm = np.sqrt(squares(x))[..., None]
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm != 0)
    return np.multiply(x, inverse, out=np.empty_like(x), casting="same_kind"), inverse


@QUIET
def from_unit(grad: Array, unit: Array, inverse: Array) -> None:
    """Turn the gradient by rows of norm 1 into that by the rows they came from, in place: (g - u (u g)) / norm."""
    along = np.einsum("...j,...j->...", unit, grad, dtype=np.float64)[..., None]
    grad -= np.multiply(unit, along, out=np.empty_like(unit), casting="same_kind")
    np.multiply(grad, inverse, out=grad, casting="same_kind")
