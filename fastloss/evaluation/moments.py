"""The first two moments of values without rounding, and the standard error of a mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from ..exactsum import UNIT, ExactSum, divide
from .part import Figures, Part, Plain, Rows
from .state import Record

__all__ = ["Moments", "StandardError"]

_SPLIT = 2.0**27 + 1


class Moments:
    """Exact sums of values and of their squares."""

    __slots__ = ("square", "value")

    def __init__(self) -> None:
        self.value, self.square = ExactSum(), ExactSum()

    def add(self, values: Array) -> None:
        """Add every element of a float32 or float64 array."""
        self.value.add(values)
        for part in _squares(values):
            self.square.add(part)

    def merge(self, other: Moments) -> None:
        """Add those of another."""
        self.value.merge(other.value)
        self.square.merge(other.square)

    def deviations(self, count: int) -> int:
        """Return `count` times UNIT squared times the sum of the squared deviations from the mean."""
        # Squares that are too small for float64 are missing in their sum.
        return max(0, self.square.total * UNIT * count - self.value.total**2)

    def standard_error(self, count: int) -> float:
        """Return that of the mean of `count` finite values; NaN of fewer than two."""
        if count < 2:
            return math.nan
        return math.sqrt(divide(self.deviations(count), UNIT * UNIT * count * count * (count - 1)))

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"value": self.value.to_dict(), "square": self.square.to_dict()}

    def load(self, record: Record, count: int) -> None:
        """Take a state of `count` values."""
        self.value, self.square = record.sum("value", count), record.sum("square", 2 * count)


def _squares(values: Array) -> tuple[Array, ...]:
    """The squares of values as sums of numbers: of float32 the squares are float64 numbers, of float64 pairs of them.

    T. J. Dekker, A floating-point technique for extending the available precision, 1971.
    """
    wide = values.astype(np.float64, copy=False)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = wide * wide
        if values.dtype != np.float64:
            return (square,)
        scaled = wide * _SPLIT
        high = scaled - (scaled - wide)
        low = wide - high
        rest = ((high * high - square) + 2 * high * low) + low * low
    return square, np.where(np.isfinite(rest), rest, 0.0)


class StandardError(Part):
    """The standard error of the mean loss: sqrt(sum of (l - mean)^2 / (n - 1) / n)."""

    name = "standard_error"
    fields = ("loss",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._moments = Moments()

    def update(self, rows: Rows) -> None:
        """Add rows."""
        self._moments.add(rows["loss"])

    def merge(self, other: StandardError) -> None:
        """Add what another has seen."""
        self._moments.merge(other._moments)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figure; NaN of fewer than two rows."""
        return {"standard_error": self._error(plain.count, finite)}

    def _error(self, count: int, finite: bool) -> float:
        value, square = self._moments.value, self._moments.square
        if (value.nonfinite or square.nonfinite) and not finite:
            return math.nan if value.nonfinite else math.inf
        return self._moments.standard_error(count - value.nonfinite)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return self._moments.to_dict()

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._moments.load(record, plain.count)
