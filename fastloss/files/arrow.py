"""Arrow: IPC files (Feather), streams in files (as HF datasets keeps them), and a stream on standard input."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from .columns import facts_of, to_piece
from .mapping import Mapping, Window
from .reader import Facts, Piece, Reader, reading

__all__ = ["ArrowReader", "StreamReader", "open_arrow", "open_stream"]

_MAGIC = b"ARROW1"


def open_arrow(name: str) -> ArrowReader:
    """Open a file of record batches; its arrays are the columns."""
    with reading(f"{name}: not an Arrow file or stream"):
        file = _File(name)
        narrow = min(file.schema, key=_width, default=None)
        rows = 0 if narrow is None else sum(map(len, file.columns(narrow.name)))
        return ArrowReader(name, facts_of(file.schema, file.columns, rows))


def open_stream(name: str) -> StreamReader:
    """Open standard input."""
    # A buffer of its own: that of sys.stdin may not be held by a background thread when Python ends.
    file = io.BufferedReader(io.FileIO(0, closefd=False))
    with reading(f"{name}: standard input is not an Arrow stream"):
        stream = pa.ipc.open_stream(file)
        batches = iter(stream)
        head = next((batch for batch in batches if len(batch)), None)
        heads = [] if head is None else [head]
        arrays = facts_of(stream.schema, lambda key: [batch.column(key) for batch in heads], None)
        return StreamReader(name, arrays, itertools.chain(heads, batches))


class ArrowReader(Reader):
    """A file of record batches: those that are not compressed are read where they lie in the mapped file."""

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        with reading(f"{self.name}: {key} is damaged"):
            file = _File(self.name)
            with contextlib.closing(Window(file.mapping)) as window:
                start = 0
                for column in file.columns(key):
                    for at in range(max(first - start, 0), len(column), rows):
                        part = column.slice(at, rows)
                        piece = to_piece(part, f"{self.name}: {key}", self.arrays[key], start + at, window.move)
                        if piece.valid is not None:  # and so a copy
                            file.mapping.drop(0, file.mapping.bytes.size)
                        yield piece
                    start += len(column)


class StreamReader(Reader):
    """A stream of record batches that can be read once: every array that is asked for waits for the others."""

    def __init__(self, name: str, arrays: dict[str, Facts], batches: Iterator[Any]) -> None:
        super().__init__(name, arrays)
        self._batches = batches
        self._waiting: dict[str, deque[Any]] = {}

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        self._waiting[key] = deque()
        return self._pieces(key, first, rows)

    def _pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        waiting, start = self._waiting[key], 0
        while waiting or self._pull():
            column = waiting.popleft()
            column.validate()
            for at in range(max(first - start, 0), len(column), rows):
                yield to_piece(column.slice(at, rows), f"{self.name}: {key}", self.arrays[key], start + at)
            start += len(column)

    def _pull(self) -> bool:
        with reading(f"{self.name}: the stream broke off"):
            batch = next(self._batches, None)
        if batch is None:
            return False
        for key, waiting in self._waiting.items():
            waiting.append(batch.column(key))
        return True


def _width(field: Any) -> int:
    """Order columns by how much there is of them: compressed, one has to be decoded to be counted."""
    return field.type.bit_width if field.type.num_fields == 0 and pa.types.is_primitive(field.type) else 1 << 30


class _File:
    """Record batches in a mapped file."""

    def __init__(self, name: str) -> None:
        self.mapping = Mapping(name)
        self._source = pa.py_buffer(self.mapping.bytes)
        is_file = self.mapping.bytes[: len(_MAGIC)].tobytes() == _MAGIC
        self._open: Any = pa.ipc.open_file if is_file else pa.ipc.open_stream
        self.schema = self._open(self._source).schema
        # To read one column saves decoding the others, but copies it where there is nothing to decode.
        head = next(self._batches(None), None)
        self._in_place = head is not None and any(map(self._holds, head.columns))

    def columns(self, key: str) -> Iterator[Any]:
        """Read a column, a record batch at a time."""
        fields = None if self._in_place else [self.schema.get_field_index(key)]
        for batch in self._batches(fields):
            column = batch.column(key)
            column.validate()
            yield column
            if not self._in_place:
                self.mapping.drop(0, self.mapping.bytes.size)

    def _batches(self, fields: list[int] | None) -> Iterator[Any]:
        found = self._open(self._source, options=pa.ipc.IpcReadOptions(included_fields=fields))
        if hasattr(found, "get_batch"):
            return map(found.get_batch, range(found.num_record_batches))
        return iter(found)

    def _holds(self, column: Any) -> bool:
        start = self.mapping.bytes.ctypes.data
        return any(each and 0 <= each.address - start < self.mapping.bytes.size for each in column.buffers())
