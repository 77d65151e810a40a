"""The rows with the largest losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array
from .part import Figures, Part, Plain, Rows
from .state import Record

__all__ = ["Worst"]


class Worst(Part):
    """The rows of the largest losses: NaN first, then falling; of equal ones the first position first."""

    name = "worst"
    fields = ("loss",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._losses: Array = np.empty(0, np.float64)
        self._positions: Array = np.empty(0, np.int64)

    @classmethod
    def check(cls, option: Any) -> int:
        """Return a number of rows."""
        return cls.whole(option, 0)

    def update(self, rows: Rows) -> None:
        """Add rows."""
        losses, positions = rows["loss"], rows["positions"]
        if len(losses) > self.option:
            bound = np.partition(losses, -self.option)[-self.option]
            kept = ~(losses < bound)  # whatever the bound's ties; NumPy sorts a NaN to the end
            losses, positions = losses[kept], positions[kept]
        self._take(losses.astype(np.float64), positions)

    def merge(self, other: Worst) -> None:
        """Add what another has seen."""
        self._take(other._losses, other._positions)

    def _take(self, losses: Array, positions: Array) -> None:
        losses, positions = np.append(self._losses, losses), np.append(self._positions, positions)
        order = np.lexsort((positions, -losses, ~np.isnan(losses)))[: self.option]
        self._losses, self._positions = losses[order], positions[order]

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the rows, the worst first."""
        found = zip(self._positions.tolist(), self._losses.tolist(), strict=True)
        return {"worst": [{"position": position, "loss": loss} for position, loss in found]}

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"positions": self._positions.tolist(), "losses": [float.hex(loss) for loss in self._losses.tolist()]}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        count = min(self.option, plain.count)
        self._positions = record.counts("positions", count, low=-(2**63))
        losses = record.take("losses", list)
        try:
            found = [float.fromhex(loss) for loss in losses]
        except (TypeError, ValueError, OverflowError):
            record.refuse("has losses that are no hexadecimal numbers")
        if len(found) != count:
            record.refuse(f"has {len(found)} losses, must have {count}")
        if any(float.hex(number) != text for number, text in zip(found, losses, strict=True)):
            record.refuse("has losses that are no hexadecimal numbers")
        self._losses = np.array(found, np.float64)
        keys = [(not math.isnan(loss), -loss, at) for loss, at in zip(found, self._positions.tolist(), strict=True)]
        if keys != sorted(keys):
            record.refuse("has losses that are not in order")
