"""Where the label stands among the classes, on average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..exactsum import ExactSum
from .part import Figures, Part, Plain, Rows
from .state import Record

__all__ = ["Ranks"]


class Ranks(Part):
    """Means of the label's rank, which is 1 for a correct prediction, and of its reciprocal."""

    name = "ranks"
    fields = ("rank",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._sum = 0
        self._reciprocal = ExactSum()

    def update(self, rows: Rows) -> None:
        """Add rows."""
        self._sum += int(rows["rank"].sum()) + rows.count
        self._reciprocal.add(1.0 / (rows["rank"] + 1))

    def merge(self, other: Ranks) -> None:
        """Add what another has seen."""
        self._sum += other._sum
        self._reciprocal.merge(other._reciprocal)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        return {
            "mean_rank": self._sum / plain.count if plain.count else math.nan,
            "mean_reciprocal_rank": self._reciprocal.mean(plain.count),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"sum": self._sum, "reciprocal": self._reciprocal.to_dict()}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._sum = record.count("sum")
        self._reciprocal = record.sum("reciprocal", plain.count)
