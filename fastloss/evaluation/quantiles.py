"""Quantiles of the absolute error, within a stated relative error, from a histogram on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .histogram import Histogram
from .part import Figures, Part, Plain, Rows
from .state import Record

__all__ = ["RELATIVE_ERROR", "Quantiles"]

RELATIVE_ERROR = 0.005
"""Of a quantile: bins lie a factor of (1 + this) / (1 - this) apart."""

_LOG_GAMMA = math.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_ZERO = -(1 << 20)
_INFINITE = 1 << 20
"""The bins of an error that is 0, and of one that is infinite: beyond those of all others."""


class Quantiles(Part):
    """A DDSketch without limit of bins: bin i holds errors in (g^(i - 1), g^i], and stands for 2 g^i / (g + 1).

    The bins are counted exactly, so the order of updates and merges does not show; float64 errors fill at most 150,000
    of them, and those of one model a few thousand. C. Masson, J. E. Rim and H. K. Lee, DDSketch: A fast and
    fully-mergeable quantile sketch with relative-error guarantees, VLDB 2019.
    """

    name = "quantiles"
    fields = ("error",)

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._errors = Histogram(1)

    @classmethod
    def check(cls, option: Any) -> tuple[float, ...]:
        """Return probabilities."""
        if option is None or option is False:
            return ()
        given = option if isinstance(option, (tuple, list)) else (option,)
        if not all(isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each <= 1 for each in given):
            raise ValueError(f"Evaluation: quantiles must be numbers from 0 to 1, got {option!r}")
        if len(set(given)) < len(given):
            raise ValueError(f"Evaluation: quantiles names a number twice: {option!r}")
        return tuple(float(each) for each in given)

    def update(self, rows: Rows) -> None:
        """Add rows; those whose error is NaN have no place."""
        error = np.abs(rows["error"])
        error = error[~np.isnan(error)]
        with np.errstate(divide="ignore"):
            power = np.ceil(np.log(error) / _LOG_GAMMA)
        self._errors.add(np.clip(power, _ZERO, _INFINITE).astype(np.int64))

    def merge(self, other: Quantiles) -> None:
        """Add what another has seen."""
        self._errors.merge(other._errors)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return a figure for each probability, ``error_q{probability}``."""
        keys, counts = self._errors.keys, self._errors.counts[:, 0]
        if finite and len(keys) and keys[-1] == _INFINITE:
            keys, counts = keys[:-1], counts[:-1]
        total = np.cumsum(counts)
        figures: Figures = {}
        for each in self.option:
            # The element of that rank from 0 on, the lower one where the rank lies between two.
            rank = int(each * (int(total[-1]) - 1)) if len(total) else 0
            key = int(keys[np.searchsorted(total, rank, side="right")]) if len(total) else None
            figures[f"error_q{each:g}"] = _middle(key)
        return figures

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"errors": self._errors.to_dict()}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self._errors.load(record.record("errors"), _ZERO, _INFINITE, plain.count - plain.missing)


def _middle(key: int | None) -> float:
    """What a bin stands for."""
    if key is None:
        return math.nan
    if key in (_ZERO, _INFINITE):
        return 0.0 if key == _ZERO else math.inf
    return math.exp(key * _LOG_GAMMA + math.log1p(-RELATIVE_ERROR))
