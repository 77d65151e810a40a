"""Yes or no: one logit and a label 0 or 1 each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array
from ..binary import binary_cross_entropy_with_logits
from .calibration import Brier, Calibration
from .groups import Groups
from .histogram import Histogram
from .moments import StandardError
from .part import Figures, Part, Plain, Rows
from .state import Record
from .task import Settings, Task
from .worst import Worst

__all__ = ["TASK", "Binary"]

_BLOCK = 1 << 16
_LARGEST = 0x7F80
"""Of an infinite logit: the upper half of a float32."""


class Binary(Plain):
    """Loss, accuracy, precision, recall, F1, and the area under the ROC curve by a histogram of the logits.

    The logits of each class are counted by the upper half of their float32: 128 bins from one power of two to the next.
    A pair of a positive and a negative in one bin counts half, so the area is off by at most half the fraction of
    pairs that share a bin; that bound is reported too.
    """

    fields = ("loss", "logit", "label")

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._logits = Histogram(2)
        self._true = self._false = self._missed = 0

    def update(self, rows: Rows) -> None:
        """Add rows."""
        logit, label = rows["logit"], rows["label"]
        self._loss.add(rows["loss"])
        self.count += rows.count
        self.ignored += rows.ignored
        predicted = logit > 0
        hits = int(np.count_nonzero(predicted & label))
        self._true += hits
        self._false += int(np.count_nonzero(predicted)) - hits
        self._missed += int(np.count_nonzero(label)) - hits
        known = ~np.isnan(logit)
        self._logits.add(_bins(logit[known]), label[known])

    def merge(self, other: Binary) -> None:
        """Add what another has seen."""
        super().merge(other)
        self._logits.merge(other._logits)
        self._true += other._true
        self._false += other._false
        self._missed += other._missed

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        wrong = self._false + self._missed
        auc, auc_error = self._area()
        return {
            "loss": self.loss(finite),
            "accuracy": _over(self.count - wrong, self.count),
            "precision": _over(self._true, self._true + self._false),
            "recall": _over(self._true, self._true + self._missed),
            "f1": _over(2 * self._true, 2 * self._true + wrong),
            "auc": auc,
            "auc_error": auc_error,
            "positives": self._true + self._missed,
            "count": self.count,
            "ignored": self.ignored,
            "nonfinite": self.nonfinite,
        }

    def _area(self) -> tuple[float, float]:
        """In whole numbers that do not overflow: pairs in the right order, and half of those in one bin."""
        right = tied = before = 0
        for negatives, positives in self._logits.counts.tolist():
            right += positives * before
            tied += positives * negatives
            before += negatives
        pairs = before * int(self._logits.counts[:, 1].sum())
        return _over(2 * right + tied, 2 * pairs), _over(tied, 2 * pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "loss": self._loss.to_dict(),
            "count": self.count,
            "ignored": self.ignored,
            "true": self._true,
            "false": self._false,
            "missed": self._missed,
            "logits": self._logits.to_dict(),
        }

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self.count, self.ignored = record.count("count"), record.count("ignored")
        self._loss = record.sum("loss", self.count)
        self._true = record.count("true", self.count)
        self._false = record.count("false", self.count - self._true)
        self._missed = record.count("missed", self.count - self._true - self._false)
        self._logits.load(record.record("logits"), -_LARGEST - 1, _LARGEST, self.count - self._loss.nan)


def _bins(logit: Array) -> Array:
    """The upper halves of float32 numbers, as integers in the same order; both zeros are one."""
    with np.errstate(over="ignore"):
        halves = (logit.astype(np.float32) + np.float32(0)).view(np.int32) >> 16
    negative = halves >> 15  # all bits, or none
    return halves ^ (negative & 0x7FFF)


def _over(count: int, total: int) -> float:
    return count / total if total else math.nan


class Reader:
    """Reads a batch of logits and labels in blocks.

    Parameters
    ----------
    logits, labels : array_like
        Of one shape; labels are 0 or 1, of an integer dtype or bool, or `ignore_index`.
    ignore_index : int
        The label of rows that are left out.
    fields : set of str
        What is asked of each row.
    """

    classes = None

    def __init__(self, logits: Any, labels: Any, ignore_index: int, fields: frozenset[str]) -> None:
        self._logits = arrays.floating(logits, "Evaluation", "logits")
        self._labels = arrays.labels(labels, "Evaluation", "labels")
        self.shape: tuple[int, ...] = self._logits.shape
        if self._labels.shape != self.shape:
            raise ValueError(
                f"Evaluation: labels must have the shape of the logits, {self.shape}, have {self._labels.shape}"
            )
        self._ignore_index, self._fields = ignore_index, fields

    def blocks(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """The fields of the rows, a block of them at a time in C order, and which rows are evaluated."""
        logits, labels = self._logits.reshape(-1), self._labels.reshape(-1)
        for first in range(0, len(logits), _BLOCK):
            logit = arrays.contiguous(logits[first : first + _BLOCK], arrays.is_double(logits))
            label = labels[first : first + _BLOCK]
            label, ignored = label == 1, label == self._ignore_index
            odd = ~(label | ignored | (labels[first : first + _BLOCK] == 0))
            if odd.any():
                raise self._bad_label(first + int(np.argmax(odd)))
            fields = {"logit": logit, "label": label}
            fields["loss"] = binary_cross_entropy_with_logits(logit, label, reduction="none")
            if self._fields & {"confidence", "brier"}:
                with np.errstate(over="ignore"):
                    surely = 1 / (1 + np.exp(-np.abs(logit.astype(np.float64))))
                    fields["brier"] = np.square(1 / (1 + np.exp(np.where(label, logit, -logit).astype(np.float64))))
                fields["confidence"], fields["correct"] = surely, (logit > 0) == label
            yield fields, ~ignored if ignored.any() else None

    def _bad_label(self, at: int) -> IndexError:
        place = [int(i) for i in np.unravel_index(at, self.shape)]
        where, label = f"{place}" if place else "", int(self._labels.reshape(-1)[at])
        return IndexError(f"Evaluation: labels{where} is {label}, must be 0, 1 or {self._ignore_index}")


def _settings(evaluation: Any) -> dict[str, Any]:
    return {"ignore_index": evaluation.ignore_index}


def _read(settings: Settings, logits: Any, labels: Any, axis: int, fields: frozenset[str]) -> Reader:
    return Reader(logits, labels, settings["ignore_index"], fields)


_PARTS: tuple[type[Part], ...] = (StandardError, Calibration, Brier, Worst, Groups)
TASK = Task("binary", _settings, _read, lambda settings, plain: Binary(True, plain), _PARTS)
