"""Tokens and classes: logits against class indices."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import _core
from ..arrays import Array
from ..exactsum import ExactSum, lengths, pieces, sum_of, tally
from ..run import Rowwise
from ..threads import get_num_threads, wanted
from .calibration import Brier, Calibration
from .groups import Groups
from .moments import StandardError
from .part import Figures, Plain, Rows, exp
from .ranks import Ranks
from .state import Record
from .task import Settings, Task
from .texts import Bytes, Sequences
from .worst import Worst

__all__ = ["TASK", "Tokens"]

BLOCK_ROWS = 1 << 18
"""Rows of a block at the least: few enough for the cache, and so many that threads are woken seldom."""
_BLOCK_ELEMENTS = 1 << 18
_FIELDS = ("loss", "entropy", "confidence", "brier")
"""What the kernels tell of each row beside the rank, in their order; Brier scores only one of them."""


class Tokens(Plain):
    """Loss, perplexity, accuracies, entropy and counts."""

    fields = ("loss", "entropy", "rank")

    def __init__(self, top_k: tuple[int, ...], plain: Callable[[], Plain]) -> None:
        super().__init__(top_k, plain)
        self.top_k = top_k
        self._entropy = ExactSum()
        self._within = [0] * (1 + len(self.top_k))

    def update_whole(self, batch: Reader) -> bool:
        """Add a batch."""
        made = self._found(*batch.sums(self._bounds(batch.classes)))
        made.ignored = batch.rows - made.count
        self.merge(made)
        return True

    def _bounds(self, classes: int) -> Array:
        """What ranks are below: a row with a NaN has one beyond the last class."""
        return np.array([min(k, classes) for k in (1, *self.top_k)], np.int64)

    def update(self, rows: Rows) -> None:
        """Add rows."""
        for part in self.segments(rows, pieces(rows.count)):
            self.merge(part)
        self.ignored += rows.ignored

    def segments(self, rows: Rows, first: Array) -> Iterator[Tokens]:
        """A part for each segment of rows, that has seen nothing else."""
        assert rows.classes is not None
        sums, within = tally([rows["loss"], rows["entropy"]], first, rows["rank"], self._bounds(rows.classes))
        for (loss, entropy), count, hits in zip(sums, lengths(first), within.tolist(), strict=True):
            yield self._found(loss, entropy, count, hits)

    def _found(self, loss: ExactSum, entropy: ExactSum, count: int, within: list[int]) -> Tokens:
        """A part that has seen this and nothing else."""
        made = Tokens(self.top_k, self.plain)
        made._loss, made._entropy, made.count, made._within = loss, entropy, count, within
        return made

    def merge(self, other: Tokens) -> None:
        """Add what another has seen."""
        super().merge(other)
        self._entropy.merge(other._entropy)
        self._within = [mine + theirs for mine, theirs in zip(self._within, other._within, strict=True)]

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
    fields : set of str
        What is asked of each row.
    """

    __slots__ = ("asks_correct", "names", "shape")

    def __init__(self, logits: Any, labels: Any, axis: int, ignore_index: int, fields: frozenset[str]) -> None:
        self.asks_correct = "correct" in fields
        self.names = [name for name in _FIELDS if name in fields]
        kernel = "score_outcome_brier" if "brier" in fields else "score_outcome"
        super().__init__("Evaluation", kernel, logits, axis, reduction="none", label=labels, ignore_index=ignore_index)
        assert self.label is not None
        self.shape: tuple[int, ...] = self.label.shape

    def sums(self, bounds: Array) -> tuple[ExactSum, ExactSum, int, list[int]]:
        """Of the rows evaluated: the sums of loss and entropy, their number, how many ranks are below each bound."""
        [loss, entropy], within, count, bad = _core.evaluate(
            self.double, self.input, self.axis, self.label, self.ignore_index, self.params, bounds, wanted()
        )
        self._check(bad)
        return sum_of(loss), sum_of(entropy), int(count), within.tolist()

    def blocks(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """The fields of the rows, a block of them at a time, in C order, and which rows are evaluated.

        What is yielded is overwritten by the next block.
        """
        whole = self.input, self.label, self.axis
        logits, labels = self._rows()
        each = math.prod(labels.shape[1:])
        most = max(BLOCK_ROWS, get_num_threads() * _BLOCK_ELEMENTS // self.classes)
        step = max(1, most // max(1, each))
        room = min(step, len(labels)) * each
        real = np.float64 if self.double else np.float32
        rank, found = np.empty(room, np.int64), {name: np.empty(room, real) for name in self.names}
        for first in range(0, len(labels), step):
            block = labels[first : first + step]
            self.input, self.label, self.axis = logits[first : first + step], block, block.ndim
            fields = {name: values[: block.size] for name, values in found.items()}
            extra = (rank[: block.size], None, *(fields.get(name) for name in _FIELDS[1:]))
            try:
                _, evaluated = self._run(self.code, value=fields["loss"], extra=extra)
            except IndexError:  # it names the label's place in the block
                self.input, self.label, self.axis = whole
                self._run(-1)
                raise
            ranks = fields["rank"] = rank[: block.size]
            if self.asks_correct:
                fields["correct"] = ranks == 0
            yield fields, None if evaluated == block.size else ranks >= 0

    def _rows(self) -> tuple[Array, Array]:
        """The logits with their classes last, and the labels; as rows without further axes where they lie so."""
        assert self.label is not None
        logits = self.input
        if self.axis < logits.ndim - 1:
            logits = np.moveaxis(logits, self.axis, -1)
        if logits.ndim == 1 or logits.flags.c_contiguous:
            return logits.reshape(-1, self.classes), self.label.reshape(-1)
        return logits, self.label


def _settings(evaluation: Any) -> dict[str, Any]:
    given = evaluation.top_k
    top_k = tuple(operator.index(k) for k in given) if isinstance(given, (tuple, list)) else operator.index(given)
    for k in _several(top_k):
        if k < 1:
            raise ValueError(f"Evaluation: top_k must be at least 1, got {given}")
    if len(set(_several(top_k))) < len(_several(top_k)):
        raise ValueError(f"Evaluation: top_k names a number twice: {given}")
    return {"ignore_index": evaluation.ignore_index, "top_k": top_k}


def _several(top_k: int | tuple[int, ...]) -> tuple[int, ...]:
    return top_k if isinstance(top_k, tuple) else (top_k,)


def _read(settings: Settings, logits: Any, labels: Any, axis: int, fields: frozenset[str]) -> Reader:
    return Reader(logits, labels, axis, settings["ignore_index"], fields)


TASK = Task(
    "tokens",
    settings=_settings,
    read=_read,
    plain=lambda settings, plain: Tokens(_several(settings["top_k"]), plain),
    parts=(StandardError, Ranks, Bytes, Sequences, Calibration, Brier, Worst, Groups),
)
