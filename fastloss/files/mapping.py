"""Files mapped into memory, of which only the pages around the rows being read are kept resident.

A mapping costs no copy, where reads into a buffer cost one; but a page that was touched counts as resident until it is
given back. So the pages of some rows are asked for at once, before they are used (one call instead of a fault for every
few pages, and a background thread can wait for the disk), and given back when other rows have been asked for.
"""

from __future__ import annotations

import errno
import math
import mmap
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..failure import Failure
from .reader import Array, Piece, Reader, facts

__all__ = ["MappedReader", "Mapping", "Place", "Window"]

# One that is read, one that waits for it, and one that a background thread asks for.
_KEPT = 3
_POPULATE_READ = 22  # of Linux 5.14 and later; the mmap module has no name for it
_STEP = 1 << 23  # bytes asked for by one call, which holds the GIL
_PLANES = 1 << 25  # bytes of a Fortran-ordered array that are looked at together


class Place(NamedTuple):
    """Where an array lies in a file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool = False

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


class Mapping:
    """A file's bytes as an array, read-only."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        self.name = path
        self.bytes: Array = np.frombuffer(self.map if self.map is not None else b"", np.uint8)
        self._populates = hasattr(self.map, "madvise") and hasattr(mmap, "MADV_DONTNEED")

    def array(self, place: Place) -> Array:
        """Return the array at a place, without a copy."""
        if self.bytes.size < place.end:
            raise Failure(
                f"{self.name}: truncated: {self.bytes.size:,} bytes, where an array of shape {place.shape} "
                f"and dtype {place.dtype} needs {place.end:,}"
            )
        data = self.bytes[place.offset : place.end].view(np.ndarray)
        if data.size == 0:
            return np.empty(place.shape, place.dtype)
        return np.ndarray(place.shape, place.dtype, data, order="F" if place.fortran else "C")

    def populate(self, start: int, end: int) -> None:
        """Make bytes resident, and have the disk send as many after them."""
        if self._populates:
            self._advise(mmap.MADV_WILLNEED, start - start % mmap.PAGESIZE, min(2 * end - start, self.bytes.size))
        for at in range(start - start % mmap.PAGESIZE, end if self._populates else 0, _STEP):
            try:
                self._advise(_POPULATE_READ, at, min(at + _STEP, end))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise Failure(f"{self.name}: cannot be read any more: was it truncated?") from None
                self._populates = False  # an older kernel: they come as they are touched
                return

    def drop(self, start: int, end: int) -> None:
        """Give back bytes, but for the last page that is not whole; touched again, they are read again."""
        end -= end % mmap.PAGESIZE
        if self.map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._advise(mmap.MADV_DONTNEED, start - start % mmap.PAGESIZE, end)

    def _advise(self, what: int, start: int, end: int) -> None:
        if end > start:
            assert self.map is not None
            self.map.madvise(what, start, end - start)


class Window:
    """The part of a mapping that is kept resident: the last few arrays it was moved to."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._kept: deque[tuple[int, int]] = deque()

    def move(self, array: Array) -> None:
        """Make a contiguous array of the mapping resident (one that lies elsewhere is left alone)."""
        start = array.ctypes.data - self._mapping.bytes.ctypes.data
        end = start + array.nbytes
        if not 0 <= start < end <= self._mapping.bytes.size:
            return
        self._mapping.populate(start, end)
        self._kept.append((start, end))
        if len(self._kept) > _KEPT:
            self._mapping.drop(*self._kept.popleft())

    def close(self) -> None:
        """Give back all of it."""
        while self._kept:
            self._mapping.drop(*self._kept.popleft())


class MappedReader(Reader):
    """A file that holds its arrays as they are in memory."""

    def __init__(self, name: str, places: dict[str, Place]) -> None:
        with_rows = {key: place for key, place in places.items() if place.shape}
        super().__init__(name, {key: facts(place.shape, place.dtype) for key, place in with_rows.items()})
        self._places = with_rows
        mapping = Mapping(name)
        for place in with_rows.values():
            mapping.array(place)

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        mapping = Mapping(self.name)
        array = mapping.array(self._places[key])
        if self._places[key].fortran and array.ndim > 1:
            yield from _fortran_pieces(mapping, array, first, rows)
            return
        window = Window(mapping)
        try:
            for start in range(first, len(array), rows):
                yield Piece(array[start : start + rows], ready=window.move)
        finally:
            window.close()


def _fortran_pieces(mapping: Mapping, array: Array, first: int, rows: int) -> Iterator[Piece]:
    """Copy rows out of an array whose first axis is the fastest: every piece has bytes in all of the file."""
    planes = max(1, _PLANES // max(1, array[..., 0].nbytes))
    whole = array.T.reshape(-1) if array.size else array
    start = whole.ctypes.data - mapping.bytes.ctypes.data
    for at in range(first, len(array), rows):
        values = np.empty(array[at : at + rows].shape, array.dtype)
        for i in range(0, array.shape[-1], planes):
            values[..., i : i + planes] = array[at : at + rows, ..., i : i + planes]
            mapping.drop(start + array[..., :i].nbytes, start + array[..., : i + planes].nbytes)
        yield Piece(values)
