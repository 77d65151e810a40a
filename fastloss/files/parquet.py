"""Parquet, decoded a few rows at a time: neither a row group nor the compressed bytes of one are held whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..failure import Failure
from .columns import facts_of, to_piece
from .reader import Piece, Reader

__all__ = ["ParquetReader", "open_parquet"]

_BUFFER = 1 << 20  # bytes of the file read at once
_DECODED = 1 << 24  # bytes of a column decoded at once, of which Arrow holds several copies
_SAMPLE = 16  # rows


def open_parquet(name: str) -> ParquetReader:
    """Open a file; its arrays are the columns."""
    try:
        file = _open(name)
        columns = lambda key: (batch.column(0) for batch in file.iter_batches(_SAMPLE, columns=[key]))  # noqa: E731
        return ParquetReader(name, facts_of(file.schema_arrow, columns, file.metadata.num_rows))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Failure(f"{name}: not a Parquet file: {error}") from None


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
        try:
            for batch in file.iter_batches(step, row_groups=groups, columns=[key]):
                column = batch.column(0)[max(first - start, 0) :]
                if len(column):
                    yield to_piece(column, f"{self.name}: {key}", facts, start + len(batch) - len(column))
                start += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise Failure(f"{self.name}: {key} is damaged after row {start}: {error}") from None


def _open(name: str) -> Any:
    return pq.ParquetFile(name, pre_buffer=False, buffer_size=_BUFFER)
