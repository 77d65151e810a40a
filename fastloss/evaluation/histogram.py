"""Counts by whole numbers, of which few occur: exact, and merged by adding up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array
from .state import Record

__all__ = ["Histogram"]


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
        found, place = np.unique(keys, return_inverse=True)
        columns = self.counts.shape[1]
        cells = place.reshape(-1) * columns + (0 if column is None else column)
        counts = np.bincount(cells, minlength=len(found) * columns).reshape(len(found), columns)
        self._join(found, counts)

    def merge(self, other: Histogram) -> None:
        """Add the counts of another."""
        self._join(other.keys, other.counts)

    def _join(self, keys: Array, counts: Array) -> None:
        if np.array_equal(keys, self.keys):
            self.counts = self.counts + counts
            return
        both = np.union1d(self.keys, keys)
        made = np.zeros((len(both), self.counts.shape[1]), np.int64)
        made[np.searchsorted(both, self.keys)] = self.counts
        made[np.searchsorted(both, keys)] += counts
        self.keys, self.counts = both, made

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
