"""zarr, formats 2 and 3: arrays cut into compressed chunks. Rows are read so that no chunk is decoded twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from .reader import Piece, Reader, facts, reading

__all__ = ["ZarrReader", "open_zarr"]


def open_zarr(name: str) -> ZarrReader:
    """Open an array, which is then called "", or a group of arrays."""
    os.stat(name)
    with reading(f"{name}: not a zarr array or group"):
        found = zarr.open(name, mode="r")
        arrays = {"": found} if isinstance(found, zarr.Array) else dict(found.arrays())
        return ZarrReader(name, {key: array for key, array in arrays.items() if array.shape})


class ZarrReader(Reader):
    """A zarr array or group."""

    def __init__(self, name: str, arrays: dict[str, Any]) -> None:
        super().__init__(name, {key: facts(array.shape, np.dtype(array.dtype)) for key, array in arrays.items()})
        self._arrays = arrays

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        array = self._arrays[key]
        chunk = array.chunks[0]
        step = max(rows // chunk, 1) * chunk
        for start in range(first - first % step, array.shape[0], step):
            with reading(f"{self.name}: {key} is damaged after row {start}"):
                values = np.asarray(array[start : start + step])
            for at in range(max(first, start), start + len(values), rows):
                yield Piece(values[at - start : at - start + rows])
