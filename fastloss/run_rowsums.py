"""How a declared call is run whose loss comes from sums over rows: value, gradients, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core, arrays
from .arrays import Array
from .loss import bad_reduction
from .run import _REAL, ONE, _over, _sum_to
from .threads import wanted

__all__ = ["ComposedTriplet", "RowSums"]

_REDUCTIONS = ("none", "mean", "sum")


class RowSums:
    """A loss of one number per row, from sums over the row; operands broadcast.

    Parameters
    ----------
    loss : str
        The loss's name, for errors.
    kernel : str
        Its kernel's name in csrc/losses.def.
    predictions, others : sequence of (name, value)
        The kernel's operands in order, those it is differentiated by first.
    axis : int, sequence of int or None
        What is summed over: an axis, several, or all, of the operands' common shape. A number without axes is a row.
    reduction : {"none", "mean", "sum"}
    keepdims : bool
        Whether the value keeps those axes, with length 1.
    label : (name, array), optional
        For each row the index of an element that the kernel treats apart.
    labels : (name, array), optional
        For each row several such indices, in the shape of the prediction, ended by -1.
    number : (name, array), optional
        A number for each row; broadcasts with the rows along the last axis.
    weight : array_like, optional
        For each label.
    params : tuple of float
        The kernel's parameters.
    """

    __slots__ = (
        "axes", "code", "double", "keepdims", "label", "labels", "loss", "named", "number", "params", "predictions",
        "reduction", "rows", "shape", "weight",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        kernel: str,
        predictions: Sequence[tuple[str, Any]],
        others: Sequence[tuple[str, Any]] = (),
        axis: Any = -1,
        *,
        reduction: str,
        keepdims: bool = False,
        label: tuple[str, Array] | None = None,
        labels: tuple[str, Array] | None = None,
        number: tuple[str, Array] | None = None,
        weight: Any = None,
        params: tuple[float, ...] = (),
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        self.loss, self.reduction, self.keepdims, self.params = loss, reduction, keepdims, params
        self.code = _core.ROWSUMS[kernel]
        self.predictions = len(predictions)
        self.named = [(name, arrays.floating(value, loss, name)) for name, value in predictions]
        self.named += [(name, arrays.numeric(value, loss, name)) for name, value in others]
        per_row = [] if number is None else [(number[0], number[1][..., None])]
        self.shape = arrays.broadcast_shape(self.named + per_row, loss)
        self.axes = arrays.row_axes(self.shape, axis, loss, self.named[0][0])
        self.rows = tuple([n for a, n in enumerate(self.shape) if a not in self.axes])
        self.double = any(arrays.is_double(found) for _, found in self.named[: self.predictions])
        self.label, self.labels = label, labels
        self.number = None if number is None else (number[0], np.broadcast_to(number[1], self.rows))
        self.weight = None
        if weight is not None:
            self.weight = arrays.class_weight(weight, self._length(), self.double, loss)

    def _length(self) -> int:
        return math.prod([self.shape[a] for a in self.axes])

    def _run(
        self,
        grads: Sequence[Array] = (),
        scale: float = 1.0,
        stream: bool = False,
        value: Array | None = None,
        upstream: Array | None = None,
    ) -> float:
        first = self.named[0][1]
        shaped = first if first.shape == self.shape else np.broadcast_to(ONE, self.shape)
        label, labels, number = (None if each is None else each[1] for each in (self.label, self.labels, self.number))
        total, bad = _core.rowsums(
            self.code, self.double, shaped, self.axes, tuple([found for _, found in self.named]),
            label, labels, number, upstream, self.weight, self.params, scale, stream, value, tuple(grads), wanted(),
        )  # fmt: skip
        if bad >= 0:
            raise self._bad_label(bad)
        return total

    def _bad_label(self, row: int) -> IndexError:
        length = self._length()
        if self.labels is None:
            assert self.label is not None
            return arrays.bad_label(self.label[1], row, length, self.loss, self.label[0])
        name, found = self.labels
        listed = found.reshape(-1, length)[row]
        place = int(np.flatnonzero((listed < -1) | (listed >= length))[0])
        return arrays.bad_label(found, row * length + place, length, self.loss, name)

    def _value_shape(self) -> tuple[int, ...]:
        if self.keepdims:
            return tuple([1 if a in self.axes else n for a, n in enumerate(self.shape)])
        return self.rows if self.label is None else self.label[1].shape

    def _per_row(self) -> Array | None:
        return np.empty(self._value_shape(), _REAL[self.double]) if self.reduction == "none" else None

    def _reduced(self, total: float) -> float:
        return _over(total, math.prod(self.rows)) if self.reduction == "mean" else total

    def value(self) -> Any:
        each = self._per_row()
        total = self._run(value=each)
        return self._reduced(total) if each is None else each

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        each, scale = self._per_row(), 1.0
        if self.reduction == "mean":
            rows = math.prod(self.rows)
            scale = 1.0 / rows if rows else math.nan
        inputs = [found for _, found in self.named]
        upstream = None
        if grad_output is not None:
            upstream = arrays.numeric(grad_output, self.loss, "grad_output")
            if upstream.shape not in (self.rows, self._value_shape()):
                raise ValueError(
                    f"{self.loss}: grad_output must have the shape of the value, {self._value_shape()}, "
                    f"has {upstream.shape}"
                )
            inputs.append(upstream)
        inputs += [each[1] for each in (self.label, self.labels, self.number) if each is not None]
        inputs += [] if self.weight is None else [self.weight]
        like = self.named[: self.predictions]
        written, returned, finish = arrays.gradient_outputs(
            out, like, [found.dtype for _, found in like], inputs, self.loss
        )
        # A prediction that is repeated by broadcasting gets the sum over its repetitions.
        full = [to if to.shape == self.shape else np.empty(self.shape, _REAL[self.double]) for to in written]
        total = self._run(full, scale, arrays.streams(full, inputs), each, upstream)
        for to, wide in zip(written, full, strict=True):
            if to is not wide:
                arrays.fill(to, _sum_to(wide, to.shape))
        if finish:
            finish()
        return self._reduced(total) if each is None else each, returned[0] if len(returned) == 1 else tuple(returned)


class ComposedTriplet:
    """The triplet loss of distances that a Python function computes.

    Parameters
    ----------
    loss : str
    predictions : sequence of (name, value)
        Anchor, positive, negative.
    distance : callable
    reduction, params
        As for :class:`RowSums`, of the kernel.
    """

    __slots__ = ("distance", "given", "loss", "named", "params", "reduction")

    def __init__(
        self,
        loss: str,
        predictions: Sequence[tuple[str, Any]],
        distance: Callable[..., Any],
        *,
        reduction: str,
        params: tuple[float, ...],
    ) -> None:
        self.loss, self.distance, self.reduction, self.params = loss, distance, reduction, params
        self.named = [(name, arrays.floating(value, loss, name)) for name, value in predictions]
        if len({found.ndim for _, found in self.named}) > 1:
            shapes = ", ".join(f"{name} {found.shape}" for name, found in self.named)
            raise ValueError(f"{loss}: the three must have the same number of axes; shapes: {shapes}")
        double = any(arrays.is_double(found) for _, found in self.named)
        self.given = [found if arrays.is_real(found) else arrays.contiguous(found, double) for _, found in self.named]

    def _pairs(self) -> list[tuple[int, int]]:
        """Which of the three the distances are between; the last is not looked at without a swap."""
        return [(0, 1), (0, 2), (1, 2) if self.params[-1] else (0, 2)]

    def _distances(self) -> RowSums:
        found = [self.distance(self.given[a], self.given[b]) for a, b in dict.fromkeys(self._pairs())]
        named = [("what distance_function returns", each) for each in (*found, *found[1:])[:3]]
        return RowSums(
            self.loss, "triplet_margin_with_distance_loss", named, axis=(), reduction=self.reduction, params=self.params
        )

    def value(self) -> Any:
        return self._distances().value()

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        pull = getattr(self.distance, "value_and_grad", None)
        if pull is None:
            raise TypeError(
                f"{self.loss}: the gradient takes a distance_function with a method "
                "value_and_grad(x1, x2, grad_output=...) that returns the distances and the gradients by both, "
                "as fastloss.pairwise_distance has"
            )
        arrays_of = [found for _, found in self.named]
        written, returned, finish = arrays.gradient_outputs(
            out, self.named, [found.dtype for found in arrays_of], arrays_of, self.loss
        )
        value, upstream = self._distances().value_and_grad()
        sums = [np.zeros(found.shape, np.float64) for found in arrays_of]
        for (a, b), factor in list(zip(self._pairs(), upstream, strict=True))[: 3 if self.params[-1] else 2]:
            for place, grad in zip((a, b), pull(self.given[a], self.given[b], grad_output=factor)[1], strict=True):
                sums[place] += grad
        for to, total in zip(written, sums, strict=True):
            arrays.fill(to, total)
        if finish:
            finish()
        return value, tuple(returned)
