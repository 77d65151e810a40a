"""Parquet, decoded a few rows at a time: neither a row group nor the compressed bytes of one are held whole."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from .columns import facts_of, to_piece
from .reader import Piece, Reader, reading

__all__ = ["ParquetReader", "open_parquet"]

_BUFFER = 1 << 20  # bytes of the file read at once
_DECODED = 1 << 24  # bytes of a column decoded at once, of which Arrow holds several copies
_SAMPLE = 16  # rows


def open_parquet(name: str) -> ParquetReader:
    """Open a file; its arrays are the columns."""
    os.stat(name)
    with reading(f"{name}: not a Parquet file"):
        file = _open(name)

        def columns(key: str) -> Iterator[Any]:
            return (batch.column(0) for batch in file.iter_batches(_SAMPLE, columns=[key]))

        return ParquetReader(name, facts_of(file.schema_arrow, columns, file.metadata.num_rows))


class ParquetReader(Reader):
    """A Parquet file."""

    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """As :meth:`Reader.pieces` says."""
        facts = self.arrays[key]
        file = _open(self.name)
        lengths = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        start, skipped = 0, 0
        while skipped < len(lengths) and start + lengths[skipped] <= first:
            start, skipped = start + lengths[skipped], skipped + 1
        step = min(rows, max(1, _DECODED // max(1, facts.dtype.itemsize * math.prod(facts.shape))))
        groups = list(range(skipped, len(lengths)))
        with reading(f"{self.name}: {key} is damaged"):
            for batch in file.iter_batches(step, row_groups=groups, columns=[key]):
                column = batch.column(0)[max(first - start, 0) :]
                if len(column):
                    yield to_piece(column, f"{self.name}: {key}", facts, start + len(batch) - len(column))
                start += len(batch)


def _open(name: str) -> Any:
    return pq.ParquetFile(name, pre_buffer=False, buffer_size=_BUFFER)
