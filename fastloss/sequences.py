"""How a declared loss over sequences is run: lengths and targets checked, value, gradient, reductions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from . import _core, arrays
from .arrays import Array
from .loss import bad_reduction
from .run import _REAL, _REDUCTIONS, _over
from .threads import wanted

__all__ = ["Sequences"]


class Sequences:
    """A loss of one number per sequence of rows of classes, each with a target of its own length.

    Parameters
    ----------
    loss : str
        The loss's name, and its kernel's in csrc/losses.def.
    log_probs : array_like
        Predictions, (steps, sequences, classes), or (steps, classes) of one sequence.
    targets : array_like
        Class indices: one row per sequence, or those of all sequences after one another.
    input_lengths, target_lengths : array_like
        How many steps and labels of each sequence count.
    blank : int
        The class between labels.
    reduction : {"none", "mean", "sum"}
        "mean" divides each loss by its target's length first.
    zero_infinity : bool
        Whether a target that cannot be aligned counts 0.
    """

    __slots__ = (
        "batch", "blank", "code", "double", "input", "lengths", "loss", "most", "reduction", "targets", "zero_infinity",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        log_probs: Any,
        targets: Any,
        input_lengths: Any,
        target_lengths: Any,
        *,
        blank: int,
        reduction: str,
        zero_infinity: bool,
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        self.loss, self.reduction, self.zero_infinity = loss, reduction, bool(zero_infinity)
        self.code = _core.SEQUENCE[loss]
        self.input = arrays.floating(log_probs, loss, "log_probs")
        shape = self.input.shape
        if len(shape) not in (2, 3):
            raise ValueError(f"{loss}: log_probs must be (steps, sequences, classes) or (steps, classes), has {shape}")
        self.batch = self._batched(self.input)
        self.double = arrays.is_double(self.input)
        steps, count, classes = self.batch.shape
        self.blank = arrays.whole_number(blank, loss, "blank")
        if not 0 <= self.blank < classes:
            raise ValueError(f"{loss}: blank is {blank}, out of range for {classes} classes (log_probs has {shape})")
        self.targets = arrays.labels(targets, loss, "targets")
        inputs = self._lengths(input_lengths, "input_lengths", steps, "the steps of log_probs")
        if self.targets.ndim == 2:
            rows, width = self.targets.shape
            if rows != count:
                raise ValueError(
                    f"{loss}: targets must have one row for each of {count} sequences, has shape {self.targets.shape}"
                )
            labels = self._lengths(target_lengths, "target_lengths", width, "the labels of a row of targets")
            first = [row * width for row in range(count)]
        else:
            labels = self._lengths(target_lengths, "target_lengths", self.targets.size, "the labels in targets")
            *first, total = itertools.accumulate(labels, initial=0)
            if self.targets.shape != (total,):
                raise ValueError(
                    f"{loss}: targets must have shape ({count}, labels), or ({total},) as the sum of target_lengths, "
                    f"has {self.targets.shape}"
                )
        self.lengths = np.array([inputs, labels, first], np.int64)
        self.most = max(inputs, default=0), max(labels, default=0)

    def _batched(self, found: Array) -> Array:
        return found if found.ndim == 3 else found[:, np.newaxis]

    def _lengths(self, value: Any, name: str, most: int, what: str) -> list[int]:
        """One length per sequence, from 0 to `most`; of a single sequence it may be a number."""
        count = self.batch.shape[1]
        found = arrays.labels(value, self.loss, name)
        if found.dtype.kind == "b":
            raise TypeError(f"{self.loss}: {name} must be of an integer dtype, has dtype bool")
        single = found.ndim == 0 and self.input.ndim == 2
        if found.shape != (count,) and not single:
            raise ValueError(f"{self.loss}: {name} must have shape ({count},), one per sequence, has {found.shape}")
        lengths: list[int] = [found.item()] if single else found.tolist()
        if lengths and (min(lengths) < 0 or max(lengths) > most):
            place, wrong = next((at, one) for at, one in enumerate(lengths) if not 0 <= one <= most)
            where = "" if single else f"[{place}]"
            raise ValueError(f"{self.loss}: {name}{where} is {wrong}, must be from 0 to {most}, {what}")
        return lengths

    def _run(
        self, scale: float = 1.0, stream: bool = False, value: Array | None = None, grad: Array | None = None
    ) -> float:
        total, bad = _core.sequences(
            self.code, self.double, self.batch, self.targets, self.lengths, *self.most, self.blank, self.zero_infinity,
            self.reduction == "mean", scale, stream, value, grad, wanted(),
        )  # fmt: skip
        if bad >= 0:
            raise arrays.bad_label(self.targets, bad, self.batch.shape[2], self.loss, "targets")
        return total

    def _per_sequence(self) -> Array | None:
        return np.empty(self.input.shape[1:-1], _REAL[self.double]) if self.reduction == "none" else None

    def _reduced(self, total: float) -> float:
        return _over(total, self.batch.shape[1]) if self.reduction == "mean" else total

    def value(self) -> Any:
        each = self._per_sequence()
        total = self._run(value=each)
        return self._reduced(total) if each is None else each

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        each = self._per_sequence()
        inputs = [self.input, self.targets]
        [grad], [returned], finish = arrays.gradient_outputs(
            out, [("log_probs", self.input)], [self.input.dtype], inputs, self.loss
        )
        scale = 1.0
        if self.reduction == "mean":
            scale = 1.0 / self.batch.shape[1] if self.batch.shape[1] else math.nan
        total = self._run(scale, arrays.streams([grad], inputs), each, self._batched(grad))
        if finish:
            finish()
        return self._reduced(total) if each is None else each, returned
