"""Language models by text rather than by token: bits per byte, and sequences apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..exactsum import ExactSum, lengths, tally
from .part import Figures, Part, Plain, Rows, exp, is_key, key_order
from .state import Record

__all__ = ["Bytes", "Sequences"]


class Bytes(Part):
    """Bits per byte: the sum of the losses over how many bytes of text the rows stand for."""

    name = "bytes"
    fields = ("loss",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._bytes = 0

    def update(self, rows: Rows) -> None:
        """Add rows."""
        if "bytes" in rows:
            self._bytes += sum(rows["bytes"].tolist())

    def add(self, bytes: int) -> None:
        """Add bytes of many rows together."""
        self._bytes += bytes

    def merge(self, other: Bytes) -> None:
        """Add what another has seen."""
        self._bytes += other._bytes

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        rows = plain.count - (plain.nonfinite if finite else 0)
        nats = plain.loss(finite) * rows
        return {"bits_per_byte": nats / math.log(2.0) / self._bytes if self._bytes else math.nan, "bytes": self._bytes}

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"bytes": self._bytes}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._bytes = record.count("bytes")


class Sequences(Part):
    """Means over sequences of their own mean loss and its perplexity. A sum for every sequence."""

    name = "sequences"
    fields = ("loss",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._sums: dict[Any, tuple[ExactSum, int]] = {}

    def update(self, rows: Rows) -> None:
        """Add rows."""
        keys, first, ordered = rows.by("sequences")
        sums, _ = tally([ordered["loss"]], first)
        for key, [total], count in zip(keys, sums, lengths(first), strict=True):
            self._add(key, total, count)

    def merge(self, other: Sequences) -> None:
        """Add what another has seen."""
        for key, (total, count) in other._sums.items():
            self._add(key, total, count)

    def _add(self, key: Any, total: ExactSum, count: int) -> None:
        known, before = self._sums.get(key) or (ExactSum(), 0)
        known.merge(total)
        self._sums[key] = known, before + count

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        losses = [total.mean(count, finite=finite) for total, count in self._sums.values()]
        if finite:
            losses = [loss for loss in losses if loss == loss]
        return {
            "sequence_loss": _mean(losses),
            "sequence_perplexity": _mean([exp(loss) for loss in losses]),
            "sequences": len(self._sums),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        keys = sorted(self._sums, key=key_order)
        return {
            "sequences": [[key, {"loss": self._sums[key][0].to_dict(), "count": self._sums[key][1]}] for key in keys]
        }

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        rows = 0
        for key, entry in record.pairs("sequences", is_key):
            count = entry.count("count", plain.count)
            self._sums[key] = entry.sum("loss", count), count
            entry.done()
            rows += count
        if rows != plain.count:
            record.refuse(f"has sequences of {rows} rows altogether, of {plain.count}")


def _mean(values: list[float]) -> float:
    """Of numbers that need no exact state: the sum is rounded once, in any order."""
    try:
        return math.fsum(values) / len(values) if values else math.nan
    except OverflowError:
        return math.inf
