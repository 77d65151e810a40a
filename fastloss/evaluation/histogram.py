"""Counts by whole numbers, of which few occur: exact, and merged by adding up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from .state import Record

__all__ = ["Histogram"]

_DENSE = 1 << 17
"""So many keys are counted in a table, between the smallest and the largest; more are sorted."""


class Histogram:
    """How often every key occurred, in each of several columns.

    Parameters
    ----------
    columns : int
        How many counts each key has.
    """

    __slots__ = ("counts", "keys")

    def __init__(self, columns: int) -> None:
        self.keys: Array = np.empty(0, np.int64)
        self.counts: Array = np.empty((0, columns), np.int64)

    def add(self, keys: Array, column: Array | None = None) -> None:
        """Count keys, each in its column; in the first by default."""
        if not len(keys):
            return
        columns, low = self.counts.shape[1], int(keys.min())
        span = int(keys.max()) - low + 1
        if span <= _DENSE:
            found, place = np.arange(low, low + span, dtype=np.int64), keys - low
        else:
            found, place = np.unique(keys, return_inverse=True)
        cells = place * columns if column is None else place * columns + column
        counts = np.bincount(cells, minlength=len(found) * columns)
        rows = np.flatnonzero(counts) // columns
        rows = rows[np.append(True, rows[1:] != rows[:-1])]
        self._join(found[rows], counts.reshape(-1, columns)[rows])

    def merge(self, other: Histogram) -> None:
        """Add the counts of another."""
        self._join(other.keys, other.counts)

    def _join(self, keys: Array, counts: Array) -> None:
        place = np.searchsorted(self.keys, keys)
        known = len(self.keys) and np.array_equal(self.keys.take(place, mode="clip"), keys)
        if not known:
            both = np.union1d(self.keys, keys)
            made = np.zeros((len(both), self.counts.shape[1]), np.int64)
            made[np.searchsorted(both, self.keys)] = self.counts
            self.keys, self.counts = both, made
            place = np.searchsorted(both, keys)
        self.counts[place] += counts

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"keys": self.keys.tolist(), "counts": self.counts.reshape(-1).tolist()}

    def load(self, record: Record, low: int, high: int, total: int) -> None:
        """Take a state of `total` occurrences of keys from `low` to `high`."""
        columns = self.counts.shape[1]
        self.keys = record.counts("keys", low=low, most=high)
        self.counts = record.counts("counts", len(self.keys) * columns).reshape(-1, columns)
        record.done()
        if (np.diff(self.keys) <= 0).any() or not self.counts.any(axis=1).all():
            record.refuse("has keys that are not in order, or do not occur")
        if sum(self.counts.reshape(-1).tolist()) != total:
            record.refuse(f"has {self.counts.sum()} counts, must have {total}")
