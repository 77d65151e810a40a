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
    mapping = Mapping(name)
    is_file = mapping.bytes[: len(_MAGIC)].tobytes() == _MAGIC
    with reading(f"{name}: not an Arrow file or stream"):
        schema, _ = _batches(mapping, is_file)
        narrow = min(schema, key=_width, default=None)
        rows = 0 if narrow is None else sum(map(len, _columns(mapping, is_file, narrow.name)))
        arrays = facts_of(schema, lambda key: _columns(mapping, is_file, key), rows)
        return ArrowReader(name, arrays, is_file)


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

    def __init__(self, name: str, arrays: dict[str, Facts], is_file: bool) -> None:
        super().__init__(name, arrays)
        self._is_file = is_file

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        mapping = Mapping(self.name)
        window = Window(mapping)
        start = 0
        with reading(f"{self.name}: {key} is damaged"), contextlib.closing(window):
            for column in _columns(mapping, self._is_file, key):
                for at in range(max(first - start, 0), len(column), rows):
                    part = column.slice(at, rows)
                    piece = to_piece(part, f"{self.name}: {key}", self.arrays[key], start + at, window.move)
                    if piece.valid is not None:  # and so a copy
                        mapping.drop(0, mapping.bytes.size)
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


def _columns(mapping: Mapping, is_file: bool, key: str) -> Iterator[Any]:
    for batch in _batches(mapping, is_file, key)[1]:
        column = batch.column(key)
        column.validate()
        yield column


def _batches(mapping: Mapping, is_file: bool, key: str | None = None) -> tuple[Any, Iterator[Any]]:
    """Return the schema and the record batches of a file, of `key` alone where it is given."""
    source = pa.py_buffer(mapping.bytes)
    read: Any = pa.ipc.open_file if is_file else pa.ipc.open_stream
    found = read(source)
    if key is not None:
        found = read(source, options=pa.ipc.IpcReadOptions(included_fields=[found.schema.get_field_index(key)]))
    return found.schema, map(found.get_batch, range(found.num_record_batches)) if is_file else iter(found)
