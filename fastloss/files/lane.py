"""One array that may lie in several files: where it is in each, what they agree on, and its rows, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..failure import Failure
from .reader import Array, Facts, Piece, Reader

__all__ = ["Cursor", "Lane", "joined"]


class Lane:
    """An array in files that agree on it. Its leading axes count as one: its rows.

    Parameters
    ----------
    role : str
        What the array is for.
    readers : list of Reader
        The files, in order.
    key : str, optional
        What the array is called in them.
    names : tuple of str
        The usual names, one of which it has if it is not the only one.
    taken : str, optional
        A key that is another role's.
    inner : int
        How many axes make a row: 1 where there are classes, 0 where there is one value.
    dtype : dtype, optional
        What the values are, where the files say less.
    """

    def __init__(
        self,
        role: str,
        readers: Sequence[Reader],
        key: str | None,
        names: tuple[str, ...],
        *,
        taken: str | None = None,
        inner: int = 0,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self.role, self.readers = role, list(readers)
        self.keys = [_find(role, reader, key, names, taken) for reader in readers]
        self.facts = [reader.arrays[key] for reader, key in zip(readers, self.keys, strict=True)]
        first = self.facts[0]
        for reader, facts in zip(readers, self.facts, strict=True):
            if facts.shape != first.shape or (facts.dtype != first.dtype and facts.dtype.kind != "U"):
                raise Failure(
                    f"{reader.name}: {role} of dtype {facts.dtype} and shape {_shape(facts)}; "
                    f"{readers[0].name} has {first.dtype} and {_shape(first)}"
                )
        self._view, self.dtype = dtype, first.dtype if dtype is None else dtype
        self.lead = first.shape[: len(first.shape) - inner]
        self.row = first.shape[len(first.shape) - inner :]
        self.repeat = 1

    def shape(self, shard: int = 0) -> str:
        """Return the shape in one file, for errors."""
        return _shape(self.facts[shard])

    def rows(self, shard: int) -> int | None:
        """How many rows a file has; None: not known before its end."""
        rows = self.facts[shard].rows
        return None if rows is None else rows * math.prod(self.lead) * self.repeat

    @property
    def total(self) -> int | None:
        """How many rows there are in all files."""
        counts = [self.rows(shard) for shard in range(len(self.readers))]
        return None if None in counts else sum(count for count in counts if count is not None)

    def start(self, first: int) -> tuple[int, int]:
        """Return in which file row `first` lies, and where in it."""
        for shard in range(len(self.readers) - 1):
            count = self.rows(shard)
            if count is None or first < count:
                return shard, first
            first -= count
        return len(self.readers) - 1, first

    def place(self, row: int) -> tuple[str, str]:
        """Return the file a row lies in, and its index in the file's array."""
        shard, row = self.start(row)
        index = []
        for length in reversed((*self.lead, self.repeat)):
            row, at = divmod(row, length)
            index.append(at)
        index.append(row)
        return self.readers[shard].name, ", ".join(map(str, index[:0:-1]))

    def pieces(self, shard: int, first: int, rows: int) -> Iterator[Piece]:
        """Read one file from a row on, in pieces of at most `rows` rows."""
        each = max(1, math.prod(self.lead) * self.repeat)
        read = self.readers[shard].pieces(self.keys[shard], first // each, max(1, rows // each))
        return self._cut(read, first % each, rows)

    def _cut(self, read: Iterable[Piece], skip: int, rows: int) -> Iterator[Piece]:
        for piece in read:
            values = piece.values.reshape(-1, *self.row)
            valid = piece.valid
            if self.repeat > 1:
                values = values.repeat(self.repeat, axis=0)
            if valid is not None:
                valid = valid.repeat(len(values) // len(valid))
            for at in range(skip, len(values), rows):
                part = values[at : at + rows]
                if piece.ready is not None:
                    piece.ready(part)
                if self._view is not None:
                    part = part.view(self._view)
                if not part.dtype.isnative:
                    part = part.astype(part.dtype.newbyteorder("="))
                yield Piece(part, None if valid is None else valid[at : at + rows])
            skip = 0


class Cursor:
    """Takes any number of rows at a time off a lane, from file to file.

    Parameters
    ----------
    lane : Lane
    first : int
        The row to begin with.
    rows : int
        How many are read at once, at most.
    """

    def __init__(self, lane: Lane, first: int, rows: int) -> None:
        self._lane, self._rows = lane, rows
        self._shard, row = lane.start(first)
        self._pieces = lane.pieces(self._shard, row, rows)
        self._rest: Piece | None = None

    def take(self, count: int) -> list[Piece]:
        """Return pieces of `count` rows together, fewer at the end."""
        taken = []
        while count and (piece := self._next()) is not None:
            size = min(count, len(piece.values))
            if size < len(piece.values):
                self._rest = _slice(piece, size, None)
            taken.append(_slice(piece, 0, size))
            count -= size
        return taken

    def _next(self) -> Piece | None:
        if self._rest is not None:
            piece, self._rest = self._rest, None
            return piece
        while (found := next(self._pieces, None)) is None:
            if self._shard + 1 == len(self._lane.readers):
                return None
            self._shard += 1
            self._pieces = self._lane.pieces(self._shard, 0, self._rows)
        return found


def joined(pieces: list[Piece], fill: float) -> Array:
    """Return the rows of some pieces as one array, those that are missing filled; without a copy of a single piece."""
    parts = [values if valid is None else _filled(values, valid, fill) for values, valid, _ in pieces]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _filled(values: Array, valid: Array, fill: float) -> Array:
    filled = values.copy()
    if values.dtype.kind in "iub":
        filled = values.astype(np.int64 if isinstance(fill, int) else np.float64)
    filled[~valid] = fill
    return filled


def _slice(piece: Piece, start: int, end: int | None) -> Piece:
    return Piece(piece.values[start:end], None if piece.valid is None else piece.valid[start:end])


def _shape(facts: Facts) -> str:
    rows = "?" if facts.rows is None else str(facts.rows)
    return f"({', '.join([rows, *map(str, facts.shape)])}{',' if not facts.shape else ''})"


def _find(role: str, reader: Reader, key: str | None, names: tuple[str, ...], taken: str | None) -> str:
    held = [name for name in reader.arrays if name != taken]
    listed = ", ".join(map(repr, held))
    if not held:
        raise Failure(f"{reader.name}: has no array that could be the {role}")
    if key is not None and key not in reader.arrays:
        raise Failure(f"{reader.name}: has no array {key!r} for the {role}; it has {listed}")
    if key is not None:
        return key
    usual = held if len(held) == 1 else [name for name in names if name in held]
    if len(usual) != 1:
        raise Failure(f"{reader.name}: which of its arrays are the {role}? It has {listed}")
    return usual[0]
