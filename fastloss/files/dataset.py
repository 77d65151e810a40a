"""Logits and what belongs to them, from any files, as blocks of rows in their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import arrays
from ..failure import Failure
from .formats import Raw, open_reader
from .lane import Cursor, Lane, joined
from .raw import FLOATS
from .reader import Array, Piece, Reader
from .shards import expand

__all__ = ["EXTRAS", "Block", "Dataset", "Spec"]

EXTRAS = ("groups", "sequences", "bytes")
"""What a row may have besides logits and target."""
_OF_FIRST_AXES = ("groups", "sequences")
_NAMES = {
    "logits": ("logits", "input", "predictions", "scores"),
    "targets": ("targets", "labels", "target", "label"),
    **{name: (name, name.removesuffix("s")) for name in EXTRAS},
}


class Spec(NamedTuple):
    """Where an array lies.

    Parameters
    ----------
    files : path, pattern, or sequence of them, optional
        None: in the files of the targets, or of the logits.
    key : str, optional
        What it is called in a file of several arrays.
    """

    files: Any = None
    key: str | None = None


_NOWHERE = Spec()
_AT_ONCE = 1 << 16  # rows of one value that are read at once, at least


class Block(NamedTuple):
    """Some rows.

    Parameters
    ----------
    first : int
        The number of the first.
    logits : ndarray
        (rows, classes), or (rows,) where there are no classes.
    targets : ndarray
        (rows,)
    extras : dict of str to ndarray
        By name, (rows,).
    """

    first: int
    logits: Array
    targets: Array
    extras: dict[str, Array]


class Dataset:
    """Logits with targets, and what else rows may have, in files.

    Parameters
    ----------
    logits, targets : Spec
        Where they lie. Targets may be in the files of the logits; in as many files of their own, of as many rows each;
        or in any files of as many rows altogether.
    extras : dict of str to Spec
        By name, of EXTRAS.
    classes : bool
        Whether the last axis of the logits is one of classes; else each of them has a target.
    ignore_index : int, optional
        The target of rows whose target or logits are missing. None: targets are numbers, and such a one NaN.
    dtype : str, optional
        What raw logits are, or "bfloat16": what 2-byte values are.
    shape : tuple of int, optional
        The logits are raw, of this shape; the first length may be -1.
    targets_dtype : str
        What targets are, and whatever else, in raw files.

    Raises
    ------
    Failure
        If a file is not what it should be, or files do not belong together.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import fastloss as fl
    >>> from fastloss.files import Dataset, Spec
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "scores.npz")
    ...     np.savez(path, logits=np.zeros((5, 4), np.float32), labels=np.arange(5) % 4)
    ...     dataset = Dataset(Spec(path))
    ...     for block in dataset.blocks(size=32):
    ...         print(block.first, block.logits.shape, block.targets)
    0 (2, 4) [0 1]
    2 (2, 4) [2 3]
    4 (1, 4) [0]
    """

    def __init__(
        self,
        logits: Spec,
        targets: Spec = _NOWHERE,
        extras: Mapping[str, Spec] | None = None,
        *,
        classes: bool = True,
        ignore_index: int | None = -100,
        dtype: str | None = None,
        shape: tuple[int, ...] | None = None,
        targets_dtype: str = "int64",
    ) -> None:
        self._readers: dict[str, Reader] = {}
        self._ignore_index = ignore_index
        self._missing = math.nan if ignore_index is None else ignore_index
        inner = int(classes)
        files = expand(logits.files)
        readers = self._open(files, Raw(dtype, shape), shape is not None)
        seen_as = arrays.bfloat16() if dtype == "bfloat16" else None
        self.logits = Lane("logits", readers, logits.key, _NAMES["logits"], inner=inner, dtype=seen_as)
        self._check_logits(dtype, inner)
        lead = self.logits.lead
        raw = Raw(targets_dtype, (-1, *lead))
        self.targets = self._lane("targets", targets, raw, [readers])
        self._check_targets()
        self._fits(self.targets, lead)
        self.extras: dict[str, Lane] = {}
        for role, spec in (extras or {}).items():
            lane = self._lane(role, spec, raw, [self.targets.readers, readers])
            if role in _OF_FIRST_AXES and len(lane.lead) < len(lead):
                lane.repeat = math.prod(lead[len(lane.lead) :])
                self._fits(lane, lead[: len(lane.lead)])
            else:
                self._fits(lane, lead)
            self.extras[role] = lane

    @property
    def files(self) -> list[str]:
        """Every file that is read."""
        return list(self._readers)

    @property
    def rows(self) -> int | None:
        """How many rows there are; None: not known before the end."""
        return self.logits.total

    @property
    def nbytes(self) -> int | None:
        """How many bytes of logits there are."""
        return None if self.rows is None else self.rows * self.row_bytes

    @property
    def shape(self) -> list[int | None]:
        """The shape of the logits of all files."""
        rows = self.rows
        lead = self.logits.lead
        return [None if rows is None else rows // max(1, math.prod(lead)), *lead, *self.logits.row]

    @property
    def dtype(self) -> str:
        """What the logits are called."""
        return "bfloat16" if self.logits.dtype == arrays.bfloat16() else self.logits.dtype.name

    @property
    def row_bytes(self) -> int:
        """How many bytes of logits a row has."""
        return self.logits.dtype.itemsize * math.prod(self.logits.row)

    def blocks(self, size: int, start: int = 0) -> Iterator[Block]:
        """Read the rows in order, in blocks of about `size` bytes of logits, from row `start` on.

        A block's arrays may lie in a mapped file, of which the blocks before the last few are given back: they stay
        right, but cost another read.
        """
        lane, rows = self.logits, max(1, size // max(1, self.row_bytes))
        shard, row = lane.start(start)
        read = lane.pieces(shard, row, rows)
        beside = {"targets": self.targets, **self.extras}
        cursors = {role: Cursor(each, start, max(rows, _AT_ONCE)) for role, each in beside.items()}
        while True:
            for values, valid, _ in read:
                found = {
                    role: self._complete(beside[role], cursor.take(len(values)), start, len(values))
                    for role, cursor in cursors.items()
                }
                targets = found.pop("targets")
                if valid is not None:
                    targets = joined([Piece(targets, valid)], self._missing)
                yield Block(start, values, targets, found)
                start += len(values)
            shard += 1
            if shard == len(lane.readers):
                break
            read = lane.pieces(shard, 0, rows)
        for role, cursor in cursors.items():
            if cursor.take(1):
                raise Failure(f"{beside[role].readers[-1].name}: {role} of more rows than the {start:,} of the logits")

    def bad_target(self, block: Block) -> str:
        """Say which target of a block is the first that is no class."""
        labels, classes = block.targets, self.logits.row[0] if self.logits.row else 2
        bad = int(np.argmax(((labels < 0) | (labels >= classes)) & (labels != self._ignore_index)))
        label = labels[bad]
        name, where = self.targets.place(block.first + bad)
        return f"{name}: label {label} at row {where} is out of range for {classes} classes"

    def _open(self, files: list[str], raw: Raw, is_raw: bool = False) -> list[Reader]:
        for name in files:
            if name not in self._readers:
                self._readers[name] = open_reader(name, raw, is_raw)
        return [self._readers[name] for name in files]

    def _lane(self, role: str, spec: Spec, raw: Raw, others: list[list[Reader]]) -> Lane:
        """Find an array in files of its own, or in the first of `others` that have it."""
        if spec.files is not None:
            readers = self._open(expand(spec.files), raw)
        else:
            readers = next((each for each in others if spec.key in each[0].arrays), others[0])
        taken = self.logits.keys[0] if readers == self.logits.readers else None
        return Lane(role, readers, spec.key, _NAMES[role], taken=taken)

    def _check_logits(self, dtype: str | None, inner: int) -> None:
        lane, found = self.logits, self.logits.facts[0].dtype
        name = lane.readers[0].name
        if dtype == "bfloat16":
            if found != lane.dtype and (found.itemsize != 2 or found.kind not in "uiV"):
                raise Failure(f"{name}: dtype {found} is not bfloat16")
        elif found == np.dtype("V2"):
            raise Failure(f"{name}: raw 2-byte values, as NumPy stores bfloat16; if so, say --dtype bfloat16")
        elif found.newbyteorder("=") not in FLOATS.values():
            raise Failure(f"{name}: logits of dtype {found}; they must be floating point, 16 to 64 bits")
        elif dtype is not None and found.newbyteorder("=") != FLOATS[dtype]:
            raise Failure(f"{name}: dtype {found} is not {dtype}")
        if len(lane.facts[0].shape) < inner or 0 in lane.row:
            raise Failure(f"{name}: logits of shape {lane.shape()}; it must be (rows, ..., classes)")

    def _check_targets(self) -> None:
        name, dtype = self.targets.readers[0].name, self.targets.dtype
        kinds, wanted = ("iubf", "numbers") if self._ignore_index is None else ("iub", "integers")
        if dtype.kind not in kinds:
            raise Failure(f"{name}: targets of dtype {dtype}; they must be {wanted}")

    def _fits(self, lane: Lane, lead: tuple[int, ...]) -> None:
        """Refuse an array that does not have one element for every row of the logits, or for its first axes."""
        logits = self.logits
        paired = len(lane.readers) == len(logits.readers)
        for shard, reader in enumerate(lane.readers):
            counts = (lane.rows(shard), logits.rows(shard)) if paired else (None, None)
            if lane.lead != lead or (None not in counts and counts[0] != counts[1]):
                rows = "?" if not paired or counts[1] is None else counts[1] // max(1, math.prod(logits.lead))
                needed = f"({', '.join(map(str, (rows, *lead)))}{',' if not lead else ''})"
                raise Failure(f"{reader.name}: {lane.role} of shape {lane.shape(shard)}; the logits need {needed}")
        if not paired and None not in (lane.total, logits.total) and lane.total != logits.total:
            raise Failure(
                f"{lane.readers[0].name}: {lane.role} of {lane.total:,} rows in {len(lane.readers)} files; "
                f"the logits have {logits.total:,} in {len(logits.readers)}"
            )

    def _complete(self, lane: Lane, pieces: list[Piece], start: int, rows: int) -> Array:
        """Join pieces that must be of so many rows, `start` the first."""
        if sum(len(piece.values) for piece in pieces) < rows:
            raise Failure(f"{lane.readers[-1].name}: {lane.role} of fewer rows than the logits")
        for values, valid, _ in pieces if lane is not self.targets else ():
            if valid is not None and not valid.all():
                name, where = lane.place(start + int(np.argmin(valid)))
                raise Failure(f"{name}: {lane.role} has nothing for row {where}")
            start += len(values)
        return joined(pieces, self._missing)
