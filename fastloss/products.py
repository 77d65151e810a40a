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

__all__ = ["Products", "States", "Tile", "fitting", "is_plain", "parts", "share"]

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


def fitting(width: int, dtype: np.dtype[Any]) -> int:
    """How many rows of a matrix there is room for."""
    return min(max(ROOM // max(width * dtype.itemsize, 1), 1), PANEL)


def is_plain(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether products can read and write an array where it is."""
    return array.dtype == dtype and array.dtype.isnative and array.flags.c_contiguous and array.flags.aligned


class Products:
    """Who multiplies: NumPy, in the compute dtype.

    Parameters
    ----------
    dtype : dtype
        What factors, and products that no one else keeps, are held in.
    """

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def factor(self, found: Array) -> Array:
        """The same numbers as a factor: where they are, if that is possible."""
        return found if is_plain(found, self.dtype) else arrays.contiguous(found, self.dtype.itemsize == 8)

    def factors(self, array: Array) -> Iterator[tuple[slice, Array]]:
        """The rows of a matrix as factors: all at once where none has to be copied, or as many as there is room for."""
        plain = is_plain(array, self.dtype)
        for part in parts(len(array), len(array) if plain else fitting(array.shape[1], self.dtype)):
            yield part, self.factor(array[part])

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        """Write a product of factors."""
        np.matmul(left, right, out=out)

    def add(self, to: Array, numbers: Array) -> None:
        """Add factors' numbers to an array of any dtype."""
        to += numbers

    def sums(self, array: Array) -> Array:
        """The sum of every column."""
        found: Array = np.ones(len(array), array.dtype) @ array
        return found

    def add_product(self, to: Array, left: Array, right: Array, first: bool) -> None:
        """Add a product to an array, or if it is the first of a sum write it there, rounded to the array's dtype."""
        if first and is_plain(to, self.dtype):
            for part in parts(len(to), PANEL):
                self.multiply(left[part], right, to[part])
            return
        step = fitting(to.shape[1], self.dtype)
        scratch = np.empty((min(step, len(to)), to.shape[1]), self.dtype)
        for part in parts(len(to), step):
            product = scratch[: part.stop - part.start]
            self.multiply(left[part], right, product)
            if first:
                arrays.fill(to[part], product)
            else:
                self.add(to[part], product)


class Tile(NamedTuple):
    """Some of the rows that count."""

    rows: Places
    """Where they are among all rows."""
    part: slice
    """Where they are among those that count."""
    factor: Array
    """Contiguous, and of the dtype of factors."""


class States:
    """Rows of features along the last axis of an array; those that count, as a factor of products.

    Parameters
    ----------
    array : array
        Of any layout and floating dtype.
    counted : array of int, optional
        The numbers of the rows that count, if not all do.
    """

    __slots__ = ("array", "count", "counted", "lead", "shape")

    def __init__(self, array: Array, counted: Array | None) -> None:
        self.array, self.counted = array, counted
        self.lead = array.shape[:-1]
        self.shape = (math.prod(self.lead), array.shape[-1])
        self.count = self.shape[0] if counted is None else counted.size

    def is_plain(self, dtype: np.dtype[Any], *others: Array) -> bool:
        """Whether tiles of this array, and of others of its shape, need no copy to be factors of that dtype."""
        return self.counted is None and all(is_plain(one, dtype) for one in (self.array, *others))

    def view(self, array: Array) -> Array:
        """An array of the same shape as a matrix of all its rows, if it is contiguous or has two axes at most."""
        return array.reshape(self.shape)

    def tiles(self, height: int, products: Products) -> Iterator[Tile]:
        """The rows that count, so many at a time."""
        can_view = self.array.ndim <= 2 or self.array.flags.c_contiguous
        for part in parts(self.count, height):
            rows = part if self.counted is None else self.counted[part]
            found = self.view(self.array)[rows] if can_view else self.array[self._places(rows)]
            yield Tile(rows, part, products.factor(found))

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
