"""Tokens and classes: logits against class indices."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array
from ..exactsum import ExactSum
from ..run import Rowwise
from ..threads import get_num_threads
from .groups import Groups
from .moments import StandardError
from .part import Figures, Plain, Rows, exp
from .ranks import Ranks
from .state import Record
from .task import Settings, Task
from .texts import Bytes, Sequences
from .worst import Worst

__all__ = ["TASK", "Tokens"]

_BLOCK_ROWS = 1 << 16
_BLOCK_ELEMENTS = 1 << 18


class Tokens(Plain):
    """Loss, perplexity, accuracies, entropy and counts."""

    fields = ("loss", "entropy", "rank")

    def __init__(self, top_k: tuple[int, ...]) -> None:
        self.top_k = top_k
        self._loss, self._entropy = ExactSum(), ExactSum()
        self.count = self.ignored = 0
        self._within = [0] * (1 + len(self.top_k))

    def update(self, rows: Rows) -> None:
        """Add rows."""
        rank = rows["rank"]
        self._loss.add(rows["loss"])
        self._entropy.add(rows["entropy"])
        self.count += rows.count
        self.ignored += rows.ignored
        assert rows.classes is not None
        for i, bound in enumerate((1, *self.top_k)):  # a row with a NaN has a rank beyond the last class
            self._within[i] += int(np.count_nonzero(rank < min(bound, rows.classes)))

    def merge(self, other: Tokens) -> None:
        """Add what another has seen."""
        self._loss.merge(other._loss)
        self._entropy.merge(other._entropy)
        self.count += other.count
        self.ignored += other.ignored
        self._within = [mine + theirs for mine, theirs in zip(self._within, other._within, strict=True)]

    def loss(self, finite: bool) -> float:
        """Return the mean negative log-likelihood."""
        return self._loss.mean(self.count, finite=finite)

    @property
    def nonfinite(self) -> int:  # type: ignore[override]
        """How many losses are infinite or NaN."""
        return self._loss.nonfinite

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures."""
        loss = self.loss(finite)
        correct, *within = (found / self.count if self.count else math.nan for found in self._within)
        return {
            "loss": loss,
            "perplexity": exp(loss),
            "bits_per_token": loss / math.log(2.0),
            "accuracy": correct,
            **{f"top{k}_accuracy": found for k, found in zip(self.top_k, within, strict=True)},
            "entropy": self._entropy.mean(self.count, finite=finite),
            "count": self.count,
            "ignored": self.ignored,
            "nonfinite": self.nonfinite,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {
            "loss": self._loss.to_dict(),
            "entropy": self._entropy.to_dict(),
            "count": self.count,
            "ignored": self.ignored,
            "within": list(self._within),
        }

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        self.count, self.ignored = record.count("count"), record.count("ignored")
        self._loss, self._entropy = record.sum("loss", self.count), record.sum("entropy", self.count)
        self._within = record.counts("within", len(self._within), most=self.count).tolist()


class Reader(Rowwise):
    """Reads a batch of logits in blocks that stay in the cache, once.

    Parameters
    ----------
    logits, labels : array_like
    axis : int
        The class axis.
    ignore_index : int
        The label of rows that are left out.
    """

    __slots__ = ("shape",)
    shape: tuple[int, ...]

    def __init__(self, logits: Any, labels: Any, axis: int, ignore_index: int) -> None:
        super().__init__(
            "Evaluation", "score", logits, axis, reduction="none", label=labels, ignore_index=ignore_index
        )  # fmt: skip
        assert self.label is not None
        self.shape = self.label.shape
        self.input, self.axis = np.moveaxis(self.input, self.axis, -1), self.input.ndim - 1
        if self.input.flags.c_contiguous:
            self.input, self.label, self.axis = self.input.reshape(-1, self.classes), self.label.reshape(-1), 1

    def blocks(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """The fields of the rows, a block of them at a time, in C order, and which rows are evaluated."""
        logits, labels = self.input, self.label
        assert labels is not None
        if labels.ndim == 0:
            logits, labels, self.axis = logits[np.newaxis], labels.reshape(1), 1
        each = math.prod(labels.shape[1:])
        most = max(_BLOCK_ROWS, get_num_threads() * _BLOCK_ELEMENTS // self.classes)
        step = max(1, most // max(1, each))
        real = np.float64 if self.double else np.float32
        for first in range(0, len(labels), step):
            self.input, self.label = logits[first : first + step], labels[first : first + step]
            shape = self.label.shape
            log_prob, entropy, lse = (np.empty(shape, real) for _ in range(3))
            rank, prediction = np.empty(shape, np.int64), np.empty(shape, np.int64)
            try:
                self._run(self.code, value=log_prob, extra=(entropy, rank, prediction, lse))
            except IndexError:
                self.input, self.label = logits, labels
                self._run(-1)
                raise
            loss = np.negative(log_prob, out=log_prob)
            fields = {"loss": loss.reshape(-1), "entropy": entropy.reshape(-1), "rank": rank.reshape(-1)}
            kept = fields["rank"] >= 0
            yield fields, None if kept.all() else kept


def _settings(evaluation: Any) -> dict[str, Any]:
    ignore_index = arrays.whole_number(evaluation.ignore_index, "Evaluation", "ignore_index")
    given = evaluation.top_k
    top_k = tuple(operator.index(k) for k in given) if isinstance(given, (tuple, list)) else operator.index(given)
    for k in _several(top_k):
        if k < 1:
            raise ValueError(f"Evaluation: top_k must be at least 1, got {given}")
    if len(set(_several(top_k))) < len(_several(top_k)):
        raise ValueError(f"Evaluation: top_k names a number twice: {given}")
    return {"ignore_index": ignore_index, "top_k": top_k}


def _several(top_k: int | tuple[int, ...]) -> tuple[int, ...]:
    return top_k if isinstance(top_k, tuple) else (top_k,)


def _read(settings: Settings, logits: Any, labels: Any, axis: int, fields: frozenset[str]) -> Reader:
    return Reader(logits, labels, axis, settings["ignore_index"])


TASK = Task(
    "tokens",
    settings=_settings,
    read=_read,
    plain=lambda settings: Tokens(_several(settings["top_k"])),
    parts=(StandardError, Ranks, Bytes, Sequences, Worst, Groups),
)
