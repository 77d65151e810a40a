"""Numbers: predictions against targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array
from ..exactsum import UNIT, ExactSum, divide
from .groups import Groups
from .moments import Moments, StandardError
from .part import Figures, Part, Plain, Rows
from .quantiles import Quantiles
from .state import Record
from .task import Settings, Task
from .worst import Worst

__all__ = ["TASK", "Regression"]

_BLOCK = 1 << 16


class Regression(Plain):
    """Mean absolute and squared error, its root, and the coefficient of determination."""

    fields = ("error", "target", "loss")

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._absolute = ExactSum()
        self._target = Moments()  # of rows whose squared error is finite

    def update(self, rows: Rows) -> None:
        """Add rows."""
        target, finite = rows["target"], np.isfinite(rows["loss"])
        self._absolute.add(np.abs(rows["error"]))
        self._loss.add(rows["loss"])
        self._target.add(target if finite.all() else target[finite])
        self.count += rows.count

    def merge(self, other: Regression) -> None:
        """Add what another has seen."""
        super().merge(other)
        self._absolute.merge(other._absolute)
        self._target.merge(other._target)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        loss = self.loss(finite)
        return {
            "mae": self._absolute.mean(self.count, finite=finite),
            "mse": loss,
            "rmse": math.sqrt(loss),
            "r2": self._determined(finite),
            "count": self.count,
            "nonfinite": self.nonfinite,
        }

    def _determined(self, finite: bool) -> float:
        """1 - (sum of squared errors) / (sum of squared deviations of the targets), rounded once."""
        count = self.count - self.nonfinite
        if (self.nonfinite and not finite) or count < 2:
            return math.nan
        spread, left = self._target.deviations(count), self._loss.total * UNIT * count
        if not spread:
            return -math.inf if left else math.nan
        return divide(spread - left, spread)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "count": self.count,
            "absolute": self._absolute.to_dict(),
            "square": self._loss.to_dict(),
            "target": self._target.to_dict(),
        }

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self.count = record.count("count")
        self._absolute, self._loss = record.sum("absolute", self.count), record.sum("square", self.count)
        target = record.record("target")
        self._target.load(target, self.count)
        target.done()


class Reader:
    """Reads a batch of predictions and targets in blocks.

    Parameters
    ----------
    predictions, targets : array_like
        Of one shape.
    """

    classes = None

    def __init__(self, predictions: Any, targets: Any) -> None:
        self._predictions = arrays.floating(predictions, "Evaluation", "predictions")
        self._targets = arrays.numeric(targets, "Evaluation", "targets")
        self.shape: tuple[int, ...] = self._predictions.shape
        if self._targets.shape != self.shape:
            raise ValueError(
                f"Evaluation: targets must have the shape of the predictions, {self.shape}, have {self._targets.shape}"
            )

    def blocks(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """The fields of the rows, a block of them at a time in C order; all are evaluated."""
        predictions, targets = self._predictions.reshape(-1), self._targets.reshape(-1)
        double = targets.dtype.kind in "iub" or arrays.is_double(targets)
        for first in range(0, len(predictions), _BLOCK):
            block = slice(first, first + _BLOCK)
            target = arrays.contiguous(targets[block], double)
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                error = np.subtract(arrays.contiguous(predictions[block], True), target)
                yield {"error": error, "target": target, "loss": error * error}, None


def _read(settings: Settings, predictions: Any, targets: Any, axis: int, fields: frozenset[str]) -> Reader:
    return Reader(predictions, targets)


_PARTS: tuple[type[Part], ...] = (StandardError, Quantiles, Worst, Groups)
TASK = Task("regression", lambda evaluation: {}, _read, lambda settings, plain: Regression(True, plain), _PARTS)
