"""How losses are run that match every row of a batch with its own among candidates.

BLAS makes the similarities of a stretch of rows with all candidates; the kernels of rows of classes, to which a row's
own candidate is the label, consume them in place; BLAS turns the slopes into gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import _core, arrays, embedding
from .arrays import Array
from .loss import bad_reduction
from .run import _REAL, _REDUCTIONS, Pointwise, Rowwise
from .threads import wanted

__all__ = ["Matching", "OwnCandidates", "pairwise_sigmoid", "softmax_both_ways", "softmax_of_rows"]


class Sides:
    """Rows and candidates whose products are the similarities, and the gradients by both.

    `factor` is what slopes are multiplied by, None where they are not wanted; `each` says whether the loss of every row
    is wanted, and not only their sum.
    """

    def __init__(self, loss: str, rows: Array, candidates: Array, factor: float | None, each: bool) -> None:
        self.loss, self.rows, self.candidates, self.each = loss, rows, candidates, each
        self.slopes, self.factor = factor is not None, factor or 0.0
        self.dtype = rows.dtype
        self.buffer = embedding.room(len(rows), len(candidates), self.dtype)
        if self.slopes:
            self.by_rows, self.by_candidates = np.zeros_like(rows), np.zeros_like(candidates)

    def stretches(self) -> Iterator[tuple[slice, Array]]:
        """The rows, a stretch at a time, and their similarities."""
        for rows in embedding.stretches(len(self.rows), len(self.candidates)):
            yield rows, np.matmul(self.rows[rows], self.candidates.T, out=self.buffer[: rows.stop - rows.start])

    def add(self, rows: slice, slopes: Array) -> None:
        """Take in the slopes of a stretch's similarities."""
        np.matmul(slopes, self.candidates, out=self.by_rows[rows])
        self.by_candidates += slopes.T @ self.rows[rows]


Kernel = Callable[[Sides], Array]
"""Numbers whose sum is the loss: of every row where those are wanted."""


def softmax_of_rows(sides: Sides) -> Array:
    """Cross entropy of each row's similarities, with the row's number for a label."""
    value = np.empty(len(sides.rows), sides.dtype)
    for rows, pairs in sides.stretches():
        label = np.arange(rows.start, rows.stop)
        call = Rowwise(sides.loss, "cross_entropy", pairs, -1, reduction="none", label=label)
        call._run(call.code, sides.factor, value=value[rows], grad=pairs if sides.slopes else None)
        if sides.slopes:
            sides.add(rows, pairs)
    return value


def softmax_both_ways(sides: Sides) -> Array:
    """Half of that, and half of the same by columns. Candidates behind the last row's have no row, and no such half."""
    count = len(sides.rows)
    by_row, own = np.empty(count, sides.dtype), np.empty(count)
    likely = np.einsum("ij,ij->i", sides.rows, sides.candidates[:count], dtype=np.float64)
    by_column = np.full(count, -np.inf)
    for rows, pairs in sides.stretches():
        own[rows] = _own(pairs, rows)
        label = np.arange(rows.start, rows.stop)
        by_row[rows] = Rowwise(sides.loss, "cross_entropy", pairs, -1, reduction="none", label=label).value()
        # A column's share of this stretch, e^(s - s of its own): where its own is here, without cancellation.
        share = Rowwise(sides.loss, "logsumexp", pairs[:, :count], 0, reduction="none").value() - likely
        block = Rowwise(sides.loss, "cross_entropy", pairs[:, rows], 0, reduction="none", label=label - rows.start)
        share[rows] = block.value()
        np.logaddexp(by_column, share, out=by_column)
    if sides.slopes:
        rows_lse, columns_lse = (by_row + own).astype(sides.dtype), np.full(len(sides.candidates), np.inf, sides.dtype)
        columns_lse[:count] = by_column + own
        missing = np.expm1(-by_row.astype(np.float64)) + np.expm1(-by_column)  # less 1 - p of either way
        for rows, pairs in sides.stretches():
            double = sides.dtype == np.float64
            _core.both_ways(double, pairs, rows_lse[rows], columns_lse, sides.factor / 2, wanted())
            _own(pairs, rows)[...] = missing[rows] * (sides.factor / 2)
            sides.add(rows, pairs)
    value: Array = (by_row + by_column) / 2
    return value


def pairwise_sigmoid(sides: Sides) -> Array:
    """The sum over candidates of log(1 + e^-s) for a row's own and log(1 + e^s) for every other."""
    value = np.zeros(len(sides.rows))
    for rows, pairs in sides.stretches():
        own = _own(pairs, rows)
        own *= -1  # numpy.negative was seen to misplace strided float32 numbers
        call = Pointwise(
            sides.loss, [("input", pairs)], [("target", _NONE)], reduction="none",
            kernel="binary_cross_entropy_with_logits",
        )  # fmt: skip
        if sides.each:
            value[rows] = call.value().sum(axis=1, dtype=np.float64)
        if sides.slopes:
            total = call._run(_GRAD, sides.factor, not sides.each, grads=[pairs])
            own *= -1
            sides.add(rows, pairs)
        elif not sides.each:
            total = call._run(_VALUE, sum=True)
        if not sides.each:
            value[rows.start] = total
    return value


_NONE = np.zeros(())
_VALUE, _GRAD = range(2)


def _own(pairs: Array, rows: slice) -> Array:
    """The similarities of a stretch's rows with their own candidates, to be written to."""
    square = pairs[:, rows]
    return np.lib.stride_tricks.as_strided(square, (len(square),), (sum(square.strides),))


class _Reduced:
    """What all declarations of this file share."""

    loss: str
    reduction: str
    named: list[tuple[str, Array]]
    double: bool

    def _check(self, loss: str, reduction: str, named: Sequence[tuple[str, Array]]) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        self.loss, self.reduction, self.named = loss, reduction, list(named)
        self.double = arrays.is_double(self.named[0][1])
        embedding.same_width(self.named, loss)
        (first, model), *others = self.named
        for name, found in others:
            if len(found) != len(model):
                raise ValueError(f"{loss}: {name} must have {len(model)} rows as {first}, has shape {found.shape}")

    def _factor(self) -> float:
        count = len(self.named[0][1])
        return (1.0 / count if count else math.nan) if self.reduction == "mean" else 1.0

    def _reduce(self, value: Array) -> Any:
        if self.reduction == "none":
            return value.astype(_REAL[self.double])
        total = float(value.sum(dtype=np.float64))
        return total * self._factor() if self.reduction == "mean" else total

    def _outputs(self, out: Any, more: Sequence[tuple[str, Array]] = ()) -> Any:
        like = [*self.named, *more]
        inputs = [found for _, found in like]
        return arrays.gradient_outputs(out, like, [found.dtype for found in inputs], inputs, self.loss)


class Matching(_Reduced):
    """A loss of every row of a batch with all candidates, of which the one with its number is its own.

    Parameters
    ----------
    loss : str
        Its name.
    kernel : callable
        What becomes of the similarities.
    sides : sequence of (name, array)
        The rows, their own candidates, and where there are any more candidates for all, (rows, of each, width).
    reduction : {"none", "mean", "sum"}
    unit : bool
        Whether similarities are of rows divided by their norms.
    scale : float
        What products are multiplied by.
    bias : float, optional
        What is added to that.
    scalars : sequence of (name, array)
        `scale`, and `bias`, where the gradient by them is wanted.
    """

    def __init__(
        self,
        loss: str,
        kernel: Kernel,
        sides: Sequence[tuple[str, Array]],
        *,
        reduction: str,
        unit: bool = False,
        scale: float,
        bias: float | None = None,
        scalars: Sequence[tuple[str, Array]] = (),
    ) -> None:
        self._check(loss, reduction, sides)
        self.kernel, self.unit, self.scale, self.bias, self.scalars = kernel, unit, scale, bias, list(scalars)

    def _taken_in(self) -> tuple[list[Array], list[Array | None]]:
        """Rows and candidates in the compute dtype, and what divided them by their norms."""
        rows, *candidates = [arrays.contiguous(found, self.double) for _, found in self.named]
        sides = [rows, np.concatenate([each.reshape(-1, rows.shape[1]) for each in candidates])]
        if not self.unit:
            return sides, [None, None]
        found = [embedding.unit(side) for side in sides]
        return [side for side, _ in found], [inverse for _, inverse in found]

    def _run(self, sides: list[Array], factor: float | None) -> tuple[Array, Sides]:
        rows, candidates = sides[0] * sides[0].dtype.type(self.scale), sides[1]
        if self.bias is not None:
            ones = np.ones((len(candidates), 1), rows.dtype)
            rows = np.concatenate([rows, np.full_like(rows[:, :1], self.bias)], axis=1)
            candidates = np.concatenate([candidates, ones], axis=1)
        done = Sides(self.loss, rows, candidates, factor, self.reduction == "none")
        return self.kernel(done), done

    @embedding.QUIET
    def value(self) -> Any:
        return self._reduce(self._run(self._taken_in()[0], None)[0])

    @embedding.QUIET
    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        written, returned, finish = self._outputs(out, self.scalars)
        sides, inverses = self._taken_in()
        value, done = self._run(sides, self._factor())
        width = sides[0].shape[1]
        by_rows, by_candidates = done.by_rows[:, :width], done.by_candidates[:, :width]
        scalars = [np.vdot(sides[0].astype(np.float64), by_rows), done.by_rows[:, width:].sum(dtype=np.float64)]
        by_rows *= self.scale
        for grad, side, inverse in zip((by_rows, by_candidates), sides, inverses, strict=True):
            if inverse is not None:
                embedding.from_unit(grad, side, inverse)
        count = len(by_rows)
        grads = [by_rows, by_candidates[:count], by_candidates[count:]]
        for to, grad in zip(written[: len(self.named)], grads, strict=False):
            arrays.fill(to, grad.reshape(to.shape))
        for to, scalar in zip(written[len(self.named) :], scalars, strict=False):
            arrays.fill(to, np.asarray(scalar))
        if finish:
            finish()
        return self._reduce(value), tuple(returned)


class OwnCandidates(_Reduced):
    """Cross entropy of every row's similarities with candidates of its own, the first of which is the right one.

    Parameters
    ----------
    loss : str
        Its name.
    sides : sequence of (name, array)
        The rows, the right candidates, and the others, (rows, of each, width).
    reduction : {"none", "mean", "sum"}
    unit : bool
        Whether similarities are of rows divided by their norms.
    scale : float
        What products are multiplied by.
    """

    def __init__(
        self, loss: str, sides: Sequence[tuple[str, Array]], *, reduction: str, unit: bool, scale: float
    ) -> None:
        self._check(loss, reduction, sides)
        self.unit, self.scale = unit, scale

    def _stretch(self, rows: slice, written: Sequence[Array] | None) -> Array:
        query, right, others = [arrays.contiguous(found[rows], self.double) for _, found in self.named]
        candidates = np.concatenate([right[:, None], others], axis=1)
        inverses = []
        if self.unit:
            query, inverse = embedding.unit(query)
            candidates, other = embedding.unit(candidates)
            inverses = [inverse, other]
        left = query * query.dtype.type(self.scale)
        pairs = np.matmul(candidates, left[:, :, None])[:, :, 0]
        value = np.empty(len(pairs), pairs.dtype)
        call = Rowwise(self.loss, "cross_entropy", pairs, -1, reduction="none", label=np.zeros(len(pairs), np.int8))
        call._run(call.code, self._factor(), value=value, grad=None if written is None else pairs)
        if written is not None:
            by_query = np.matmul(pairs[:, None], candidates)[:, 0] * query.dtype.type(self.scale)
            by_candidates = pairs[:, :, None] * left[:, None]
            if self.unit:
                embedding.from_unit(by_query, query, inverses[0])
                embedding.from_unit(by_candidates, candidates, inverses[1])
            for to, grad in zip(written, (by_query, by_candidates[:, 0], by_candidates[:, 1:]), strict=True):
                arrays.fill(to[rows], grad)
        return value

    def _run(self, written: Sequence[Array] | None) -> Array:
        _, others = self.named[2]
        stretches = embedding.stretches(len(others), 2 * (others.shape[1] + 1) * others.shape[2])
        values = [self._stretch(rows, written) for rows in stretches]
        return np.concatenate(values) if values else np.zeros(0)

    @embedding.QUIET
    def value(self) -> Any:
        return self._reduce(self._run(None))

    @embedding.QUIET
    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        written, returned, finish = self._outputs(out)
        value = self._run(written)
        if finish:
            finish()
        return self._reduce(value), tuple(returned)
