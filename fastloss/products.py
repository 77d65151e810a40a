"""Matrix products a tile at a time: factors of any layout and dtype, and products added to arrays of any.

What is not contiguous and of the compute dtype is copied, as much at once as there is room for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import arrays
from .arrays import Array

__all__ = ["States", "Tile", "add_product", "factors", "fitting", "is_plain", "parts", "share"]

ROOM = 1 << 22
"""Bytes of the copy of a factor, and of a product that is to be added."""
PANEL = 8192
"""Rows of a product at most: BLAS copies its factors too."""

Places = slice | Array


def parts(count: int, step: int) -> Iterator[slice]:
    """From 0 to `count`, `step` at a time."""
    for first in range(0, count, max(step, 1)):
        yield slice(first, min(first + step, count))


def share(count: int, most: int, unit: int = 1) -> int:
    """The step, a multiple of `unit`, that takes as many steps as one of `most` and makes them alike."""
    units, step = -(-count // unit), max(most // unit, 1)
    return -(-units // max(-(-units // step), 1)) * unit


def fitting(width: int, real: np.dtype[Any]) -> int:
    """How many rows of a matrix there is room for."""
    return min(max(ROOM // max(width * real.itemsize, 1), 1), PANEL)


def factors(array: Array, real: np.dtype[Any]) -> Iterator[tuple[slice, Array]]:
    """The rows of a matrix as factors: all at once where none has to be copied, or as many as there is room for."""
    step = len(array) if is_plain(array, real) else fitting(array.shape[1], real)
    for part in parts(len(array), step):
        yield part, arrays.contiguous(array[part], real.itemsize == 8)


def is_plain(array: Array, real: np.dtype[Any]) -> bool:
    """Whether products can read and write an array where it is."""
    return array.dtype == real and array.dtype.isnative and array.flags.c_contiguous and array.flags.aligned


def add_product(to: Array, left: Array, right: Array, first: bool) -> None:
    """Add ``left @ right`` to an array, or if it is the first of a sum write it there, rounded to the array's dtype."""
    if first and is_plain(to, left.dtype):
        for part in parts(len(to), PANEL):
            np.matmul(left[part], right, out=to[part])
        return
    step = fitting(to.shape[1], left.dtype)
    scratch = np.empty((min(step, len(to)), to.shape[1]), left.dtype)
    for part in parts(len(to), step):
        product = np.matmul(left[part], right, out=scratch[: part.stop - part.start])
        if first:
            arrays.fill(to[part], product)
        else:
            to[part] += product


class Tile(NamedTuple):
    """Some of the rows that count."""

    rows: Places
    """Where they are among all rows."""
    part: slice
    """Where they are among those that count."""
    factor: Array
    """Contiguous and of the compute dtype."""


class States:
    """Rows of features along the last axis of an array; those that count, as a factor of products.

    Parameters
    ----------
    array : array
        Of any layout and floating dtype.
    real : dtype
        The compute dtype.
    counted : array of int, optional
        The numbers of the rows that count, if not all do.
    """

    __slots__ = ("array", "count", "counted", "lead", "real", "shape")

    def __init__(self, array: Array, real: np.dtype[Any], counted: Array | None) -> None:
        self.array, self.real, self.counted = array, real, counted
        self.lead = array.shape[:-1]
        self.shape = (math.prod(self.lead), array.shape[-1])
        self.count = self.shape[0] if counted is None else counted.size

    def is_plain(self, *others: Array) -> bool:
        """Whether tiles of this array, and of others of its shape, need no copy."""
        return self.counted is None and all(is_plain(one, self.real) for one in (self.array, *others))

    def view(self, array: Array) -> Array:
        """An array of the same shape as a matrix of all its rows, if it is contiguous or has two axes at most."""
        return array.reshape(self.shape)

    def tiles(self, height: int) -> Iterator[Tile]:
        """The rows that count, so many at a time."""
        can_view = self.array.ndim <= 2 or self.array.flags.c_contiguous
        for part in parts(self.count, height):
            rows = part if self.counted is None else self.counted[part]
            found = self.view(self.array)[rows] if can_view else self.array[self._places(rows)]
            yield Tile(rows, part, arrays.contiguous(found, self.real.itemsize == 8))

    def _places(self, rows: Places) -> tuple[Array, ...]:
        return np.unravel_index(np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows, self.lead)

    def put(self, to: Array, rows: Places, numbers: Array) -> None:
        """Write numbers into rows of an array of the same shape, rounded to its dtype."""
        rounded = np.empty(numbers.shape, to.dtype)
        arrays.fill(rounded, numbers)
        if to.ndim == 1:
            to[...] = rounded[0]
        else:
            to[self._places(rows)] = rounded
