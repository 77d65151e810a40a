"""Whether probabilities mean what they say: reliability bins, and the Brier score."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..exactsum import ExactSum
from .part import Figures, Part, Plain, Rows
from .state import Record

__all__ = ["Brier", "Calibration"]

_MOST_BINS = 1 << 16
_STEPS = 2.0**32
"""Confidences are added up as whole numbers of this; a block's rows give a sum that float64 has."""


class Calibration(Part):
    """Expected calibration error over bins of equal width, each with its rows, accuracy and mean confidence.

    A bin takes confidences above its lower edge up to its upper one, as in C. Guo et al., On Calibration of Modern
    Neural Networks, 2017.
    """

    name = "calibration"
    fields = ("confidence", "correct")

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._count, self._correct = np.zeros(option, np.int64), np.zeros(option, np.int64)
        self._confidence = [0] * option

    @classmethod
    def check(cls, option: Any) -> int:
        """Return a number of bins."""
        return cls.whole(option, 0, _MOST_BINS)

    def update(self, rows: Rows) -> None:
        """Add rows. One whose confidence is NaN has no bin."""
        confidence, correct = rows["confidence"], rows["correct"]
        known = ~np.isnan(confidence)
        if not known.all():
            confidence, correct = confidence[known], correct[known]
        bins = np.ceil(confidence.astype(np.float64) * self.option).astype(np.intp)
        np.clip(bins, 1, self.option, out=bins)
        bins -= 1
        steps = np.rint(confidence * _STEPS)
        self._count += np.bincount(bins, minlength=self.option)
        self._correct += np.bincount(bins[correct], minlength=self.option)
        for i, total in enumerate(np.bincount(bins, steps, minlength=self.option).tolist()):
            self._confidence[i] += int(total)

    def merge(self, other: Calibration) -> None:
        """Add what another has seen."""
        self._count += other._count
        self._correct += other._correct
        self._confidence = [mine + theirs for mine, theirs in zip(self._confidence, other._confidence, strict=True)]

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the error, the largest of a bin, and the bins that have rows."""
        bins, gaps = [], []
        for i, (count, correct) in enumerate(zip(self._count.tolist(), self._correct.tolist(), strict=True)):
            if count:
                accuracy, confidence = correct / count, self._confidence[i] / (_STEPS * count)
                gaps.append(count * abs(accuracy - confidence))
                bins.append(
                    {
                        "low": i / self.option,
                        "high": (i + 1) / self.option,
                        "count": count,
                        "accuracy": accuracy,
                        "confidence": confidence,
                    }
                )
        total = int(self._count.sum())
        return {
            "ece": math.fsum(gaps) / total if total else math.nan,
            "mce": max((gap / each["count"] for gap, each in zip(gaps, bins, strict=True)), default=math.nan),
            "calibration": bins,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "count": self._count.tolist(),
            "correct": self._correct.tolist(),
            "confidence": [f"{total:x}" for total in self._confidence],
        }

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._count = record.counts("count", self.option, most=plain.count)
        self._correct = record.counts("correct", self.option, most=plain.count)
        totals = record.take("confidence", list)
        try:
            self._confidence = [int(total, 16) for total in totals]
        except (TypeError, ValueError):
            record.refuse("has sums of confidences that are no hexadecimal numbers")
        if len(totals) != self.option or [f"{total:x}" for total in self._confidence] != totals:
            record.refuse(f"has {len(totals)} sums of confidences, must have {self.option} hexadecimal numbers")
        most = [int(_STEPS) * count for count in self._count.tolist()]
        if any(not 0 <= total <= bound for total, bound in zip(self._confidence, most, strict=True)):
            record.refuse("has confidences above 1")
        if (self._correct > self._count).any() or int(self._count.sum()) > plain.count:
            record.refuse("has more rows in its bins than there are")


class Brier(Part):
    """The Brier score: the mean of the squared distance from the probabilities to what happened.

    G. W. Brier, Verification of forecasts expressed in terms of probability, 1950.
    """

    name = "brier"
    fields = ("brier",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._sum = ExactSum()

    def update(self, rows: Rows) -> None:
        """Add rows."""
        self._sum.add(rows["brier"])

    def merge(self, other: Brier) -> None:
        """Add what another has seen."""
        self._sum.merge(other._sum)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figure."""
        return {"brier": self._sum.mean(plain.count, finite=finite)}

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"sum": self._sum.to_dict()}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._sum = record.sum("sum", plain.count)
