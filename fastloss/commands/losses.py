"""Every row's loss in an .npy file, which has its name when it is complete and another while it is written."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np

from ..failure import Failure
from ..files.npy import open_npy
from ..files.reader import Array, Reader
from .output import one_line, replace

__all__ = ["LossFile", "loss_shape", "read_losses"]

_HEADER = 256  # bytes, whatever the shape
_AT_ONCE = 1 << 20  # losses


class LossFile:
    """Losses that come a block at a time, and may be gone on with.

    Parameters
    ----------
    path : str
        What the complete file is called.
    dtype : dtype
        float32 or float64.
    rows : int
        How many an earlier run has written.

    Raises
    ------
    Failure
        If `rows` is not 0 and there are fewer.
    """

    def __init__(self, path: str, dtype: np.dtype[np.floating], rows: int = 0) -> None:
        self.path, self._dtype, self._rows = path, dtype, rows
        self._partial = f"{path}.partial"
        start = _HEADER + rows * dtype.itemsize
        with one_line(self._partial):
            self._file = open(self._partial, "r+b" if rows else "w+b")  # noqa: SIM115
        try:
            size = self._file.seek(0, os.SEEK_END)
            if rows and size < start:
                raise Failure(f"{self._partial}: has {size:,} bytes; the {rows:,} rows before need {start:,}")
            with one_line(self._partial):
                self._file.truncate(start)
                self._file.seek(start)
        except Failure:
            self.close(keep=rows > 0)
            raise

    def add(self, losses: Array) -> None:
        """Append a block."""
        with one_line(self._partial):
            self._file.write(losses.astype(self._dtype, copy=False).data)
        self._rows += losses.size

    def flush(self) -> None:
        """Wait until all of it is on the disk."""
        with one_line(self._partial):
            self._file.flush()
            os.fsync(self._file.fileno())

    def finish(self, lead: Sequence[int] = ()) -> None:
        """Complete the file: an array whose axes after the first are `lead`."""
        shape = (self._rows // max(1, math.prod(lead)), *lead)
        entry = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        front = np.lib.format.magic(1, 0) + (_HEADER - 10).to_bytes(2, "little")
        header = front + repr(entry).encode().ljust(_HEADER - 11) + b"\n"
        with one_line(self._partial):
            self._file.seek(0)
            self._file.write(header)
        self.flush()
        self._file.close()
        replace(self._partial, self.path)

    def close(self, *, keep: bool) -> None:
        """Stop before it is complete; what there is can be kept for another run to go on with."""
        with contextlib.suppress(OSError):
            self._file.close()
        if not keep:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partial)


def loss_shape(path: str) -> tuple[int, ...]:
    """Return the shape of the losses in a file."""
    facts = _open(path).arrays[""]
    assert facts.rows is not None
    return (facts.rows, *facts.shape)


def read_losses(path: str) -> Iterator[Array]:
    """Read the losses in a file as float64, some of the first axis at a time; NaN is a row that was not evaluated."""
    reader = _open(path)
    each = max(1, math.prod(reader.arrays[""].shape))
    for values, _, ready in reader.pieces("", 0, max(1, _AT_ONCE // each)):
        if ready is not None:
            ready(values)
        yield values.astype(np.float64)


def _open(path: str) -> Reader:
    reader = open_npy(path)
    if not reader.arrays or reader.arrays[""].dtype.kind != "f":
        raise Failure(f"{path}: not losses, as evaluate --per-token writes them")
    return reader
