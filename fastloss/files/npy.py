"""NumPy's own files: .npy, and .npz, a zip archive of them. A member that is not compressed is mapped where it lies."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from ..failure import Failure
from .mapping import MappedReader, Place
from .reader import Array, Piece, facts, reading

__all__ = ["open_npy", "open_npz"]

_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes of it before the member's name


def open_npy(name: str) -> MappedReader:
    """Open an .npy file; its array is called ""."""
    with open(name, "rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            raise Failure(f"{name}: a zip archive (.npz?); name it .npz, or save the array alone, as .npy")
        file.seek(0)
        return MappedReader(name, {"": _place(file, name)})


def open_npz(name: str) -> NpzReader:
    """Open an .npz file; its arrays have their members' names without .npy."""
    places, packed = {}, {}
    with open(name, "rb") as file, reading(f"{name}: not an .npz archive"):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                key = info.filename.removesuffix(".npy")
                with archive.open(info) as member:
                    place = _place(member, f"{name}, {info.filename}")
                if info.compress_type == zipfile.ZIP_STORED:
                    file.seek(info.header_offset + _LOCAL_HEADER - 4)
                    skip = _LOCAL_HEADER + sum(struct.unpack("<HH", file.read(4)))
                    places[key] = place._replace(offset=place.offset + info.header_offset + skip)
                else:
                    packed[key] = (info, place)
        return NpzReader(name, places, packed)


class NpzReader(MappedReader):
    """An archive: members that are stored are mapped, those that are compressed are streamed."""

    def __init__(self, name: str, places: dict[str, Place], packed: dict[str, tuple[zipfile.ZipInfo, Place]]) -> None:
        super().__init__(name, places)
        self._packed = packed
        self.arrays |= {key: facts(place.shape, place.dtype) for key, (_, place) in packed.items() if place.shape}

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        if key not in self._packed:
            yield from super().pieces(key, first, rows)
            return
        info, place = self._packed[key]
        if place.fortran and len(place.shape) > 1:
            raise Failure(f"{self.name}: {key} is compressed and in Fortran order; save it in C order, or uncompressed")
        damaged = reading(f"{self.name}: {key} is damaged")
        with damaged, zipfile.ZipFile(self.name) as archive, archive.open(info) as member:
            member.seek(place.offset + first * place.dtype.itemsize * math.prod(place.shape[1:]))
            for start in range(first, place.shape[0], rows):
                values = np.empty((min(rows, place.shape[0] - start), *place.shape[1:]), place.dtype)
                _fill(member, values)
                yield Piece(values)


def _fill(file: IO[bytes], values: Array) -> None:
    to = memoryview(values.view(np.uint8).reshape(-1).data if values.size else b"")
    while to:
        read = file.readinto(to)  # type: ignore[attr-defined]
        if not read:
            raise EOFError("it ends before its last row")
        to = to[read:]


def _place(file: IO[bytes], name: str) -> Place:
    """Read the header in front of an array."""
    with reading(f"{name}: not an array that can be mapped"):
        version = npy_format.read_magic(file)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if any(length < 0 for length in shape):
            raise ValueError(f"its shape is {shape}")
        return Place(file.tell(), dtype, shape, fortran)
