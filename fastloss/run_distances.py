"""How distances of all rows from all others are run: Euclidean ones by BLAS, others by the kernel of pairs of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _core, arrays, embedding
from .arrays import Array
from .distance import pairwise_distance
from .run import _REAL
from .threads import wanted

__all__ = ["AllDistances", "Condensed"]


class Sides:
    """Two matrices in the compute dtype, and a stretch of the distances of their rows."""

    def __init__(self, x: Array, y: Array, p: float) -> None:
        self.x, self.y, self.p = x, y, p
        self.squares = [embedding.squares(side).astype(x.dtype) for side in (x, y)] if p == 2 else []

    def distances(self, rows: slice, columns: slice, to: Array) -> None:
        """Write those of some rows from others."""
        x, y = self.x[rows], self.y[columns]
        if self.p == 2:
            np.matmul(x, y.T, out=to)
            squares = self.squares[0][rows], self.squares[1][columns]
            _core.distances(x.dtype == np.float64, x, y, *squares, to, wanted())
        elif to.size:
            to[...] = pairwise_distance(x[:, None], y, self.p, 0.0)

    def gradients(self, rows: slice, columns: slice, distance: Array, slope: Array) -> tuple[Array, Array]:
        """Those by the rows of either side, from the slopes of a stretch of distances."""
        x, y = self.x[rows], self.y[columns]
        if self.p == 2:  # slope / distance times x - y
            factor = np.divide(slope, distance, out=np.zeros_like(distance), where=distance != 0)
            by_x = factor.sum(axis=1, keepdims=True) * x - factor @ y
            return by_x, factor.sum(axis=0)[:, None] * y - factor.T @ x
        by_x, by_y = np.zeros_like(x), np.zeros(y.shape)
        pull: Any = pairwise_distance.value_and_grad
        for part in embedding.stretches(len(x) * bool(y.size), y.size, least=1):
            grads = pull(x[part, None], y, self.p, 0.0, grad_output=slope[part])[1]
            by_x[part] = grads[0][:, 0]
            by_y += grads[1]
        return by_x, by_y


def _norm(p: Any, loss: str) -> float:
    found = arrays.number(p, loss, "p")
    if not found >= 0:
        raise ValueError(f"{loss}: p must not be negative, got {p!r}")
    return found


class AllDistances:
    """The distance of every row of one matrix from every row of another; of stacks of matrices, one by one.

    Parameters
    ----------
    loss : str
        Its name, for errors.
    x1, x2 : array_like
        Floating, (..., rows, width); what is before the last two axes broadcasts.
    p : float
        Of the norm.
    """

    __slots__ = ("double", "loss", "named", "p", "stack")

    def __init__(self, loss: str, x1: Any, x2: Any, p: Any) -> None:
        self.loss, self.p = loss, _norm(p, loss)
        self.named = [(name, arrays.floating(value, loss, name)) for name, value in (("x1", x1), ("x2", x2))]
        for name, found in self.named:
            if found.ndim < 2 or found.shape[-1] == 0:
                raise ValueError(f"{loss}: {name} must be rows of at least one number, has shape {found.shape}")
        embedding.same_width(self.named, loss)
        self.double = any(arrays.is_double(found) for _, found in self.named)
        shapes = [found.shape[:-2] for _, found in self.named]
        try:
            self.stack = np.broadcast_shapes(*shapes)
        except ValueError:
            raise ValueError(
                f"{loss}: what is before the last two axes does not broadcast: x1 {shapes[0]}, x2 {shapes[1]}"
            ) from None

    def _matrices(self, at: tuple[int, ...]) -> Sides:
        x, y = [arrays.contiguous(_matrix(found, at), self.double) for _, found in self.named]
        return Sides(x, y, self.p)

    def _shape(self) -> tuple[int, ...]:
        return (*self.stack, *(found.shape[-2] for _, found in self.named))

    @embedding.QUIET
    def value(self) -> Any:
        value = np.empty(self._shape(), _REAL[self.double])
        for at in np.ndindex(self.stack):
            sides = self._matrices(at)
            for rows in embedding.stretches(*value[at].shape):
                sides.distances(rows, slice(None), value[at][rows])
        return value

    @embedding.QUIET
    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        inputs = [found for _, found in self.named]
        written, returned, finish = arrays.gradient_outputs(
            out, self.named, [found.dtype for found in inputs], inputs, self.loss
        )
        value = self.value()
        upstream = _upstream(grad_output, value, self.loss)
        sums = [np.zeros(found.shape) for found in inputs]
        for at in np.ndindex(self.stack):
            sides = self._matrices(at)
            by_x, by_y = [_matrix(total, at) for total in sums]
            for rows in embedding.stretches(*value[at].shape):
                grads = sides.gradients(rows, slice(None), value[at][rows], upstream[at][rows])
                by_x[rows] += grads[0]
                by_y += grads[1]
        for to, total in zip(written, sums, strict=True):
            arrays.fill(to, total)
        if finish:
            finish()
        return value, tuple(returned)


def _matrix(stack: Array, at: tuple[int, ...]) -> Array:
    """The matrix at a place of what the stack broadcasts to."""
    own = stack.shape[:-2]
    places = zip(at[len(at) - len(own) :], own, strict=True)
    found: Array = stack.__getitem__(tuple([0 if length == 1 else place for place, length in places]))
    return found


def _upstream(given: Any, value: Array, loss: str) -> Array:
    """The upstream gradient, in the compute dtype."""
    if given is None:
        return np.broadcast_to(np.ones((), value.dtype), value.shape)
    found = arrays.numeric(given, loss, "grad_output")
    if found.shape != value.shape:
        raise ValueError(f"{loss}: grad_output must have the shape of the value, {value.shape}, has {found.shape}")
    return arrays.contiguous(found, value.dtype == np.float64)


class Condensed:
    """The distances between the rows of a matrix, those of row 0 from all later ones first.

    Parameters
    ----------
    loss : str
        Its name, for errors.
    input : array_like
        Floating, (rows, width).
    p : float
        Of the norm.
    """

    __slots__ = ("double", "input", "loss", "p")

    def __init__(self, loss: str, input: Any, p: Any) -> None:
        self.loss, self.p = loss, _norm(p, loss)
        self.input = embedding.matrix(input, loss, "input")
        self.double = arrays.is_double(self.input)

    def _stretches(self) -> Iterator[tuple[Sides, slice, slice, Array]]:
        """Some rows, those from the first of them on, and the distances between."""
        x = arrays.contiguous(self.input, self.double)
        count, sides = len(x), Sides(x, x, self.p)
        buffer = embedding.room(count, count, x.dtype).reshape(-1)
        for rows in embedding.stretches(count, count):
            columns = slice(rows.start, count)
            shape = rows.stop - rows.start, count - rows.start
            distances = buffer[: shape[0] * shape[1]].reshape(shape)
            sides.distances(rows, columns, distances)
            yield sides, rows, columns, distances

    def _places(self, rows: slice) -> Iterator[tuple[int, slice]]:
        """Where the distances of each of some rows from the later ones stand in the value."""
        count = len(self.input)
        for i in range(rows.start, rows.stop):
            first = i * count - i * (i + 1) // 2
            yield i - rows.start, slice(first, first + count - 1 - i)

    @embedding.QUIET
    def value(self) -> Any:
        count = len(self.input)
        value = np.empty(count * (count - 1) // 2, _REAL[self.double])
        for _, rows, _, distances in self._stretches():
            for row, place in self._places(rows):
                value[place] = distances[row, row + 1 :]
        return value

    @embedding.QUIET
    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        [written], [returned], finish = arrays.gradient_outputs(
            out, [("input", self.input)], [self.input.dtype], [self.input], self.loss
        )
        count = len(self.input)
        value = np.empty(count * (count - 1) // 2, _REAL[self.double])
        upstream, total = _upstream(grad_output, value, self.loss), np.zeros(self.input.shape)
        for sides, rows, columns, distances in self._stretches():
            slopes = np.zeros_like(distances)
            for row, place in self._places(rows):
                value[place], slopes[row, row + 1 :] = distances[row, row + 1 :], upstream[place]
            by_rows, by_columns = sides.gradients(rows, columns, distances, slopes)
            total[rows] += by_rows
            total[columns] += by_columns
        arrays.fill(written, total)
        if finish:
            finish()
        return value, returned
