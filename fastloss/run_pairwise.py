"""How a declared loss over the pairs of a batch is run, in memory that grows with the batch and not with its square.

BLAS makes the products of a stretch of embeddings with all of them; a kernel turns each row into a loss and into
slopes, in place; BLAS turns those into the gradient.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from . import _core, arrays, embedding
from .arrays import Array
from .loss import bad_reduction
from .run import _REAL, _REDUCTIONS
from .threads import wanted

__all__ = ["METRICS", "Metric", "Pairwise"]

Metric = Literal["euclidean", "squared", "cosine"]

METRICS = {
    "euclidean": (_core.DISTANCE, 1.0, False),
    "squared": (_core.SQUARE, 1.0, False),
    "cosine": (_core.SQUARE, 0.5, True),
}
"""What products become, times what, and whether of rows of norm 1: 1 - cos is half a squared distance of those."""


class Pairwise:
    """A loss over the pairs of a batch: every embedding with those that have its label, and those that have not.

    Parameters
    ----------
    loss : str
        Its name, and its kernel's in csrc/losses.def.
    embeddings : array_like
        Predictions, (embeddings, width).
    labels : array_like or int
        One of any integer dtype per embedding; or how many views of each sample the embeddings are, one after another.
    reduction : {"none", "mean", "sum"}
        Of an embedding's terms "none" takes the sum. "mean" takes that of each part, 0 where there is none.
    metric : {"euclidean", "squared", "cosine"}, optional
        What the kernel sees of a pair; the product if there is none.
    unit : bool
        Whether of embeddings divided by their norms.
    temperature : float
        What products are divided by.
    params : tuple of float
        The kernel's parameters.
    parts : bool
        Whether the kernel takes as its last parameters what the slopes of each part are multiplied by.
    picks : bool
        Whether the kernel takes one positive and one negative of an anchor.
    """

    __slots__ = (
        "begin", "code", "double", "end", "factor", "input", "inverse", "loss", "metric", "order", "params", "parts",
        "picks", "points", "reduction", "temperature",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        embeddings: Any,
        labels: Any,
        *,
        reduction: str,
        metric: str | None,
        unit: bool = False,
        temperature: float = 1.0,
        params: tuple[float, ...] = (),
        parts: bool = False,
        picks: bool = False,
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        if metric is not None and metric not in METRICS:
            choices = ", ".join(f'"{one}"' for one in METRICS)
            raise ValueError(f"{loss}: metric must be one of {choices}, got {metric!r}")
        self.loss, self.reduction, self.params = loss, reduction, params
        self.parts, self.picks, self.temperature = parts, picks, temperature
        self.code = _core.PAIRWISE[loss]
        self.input = embedding.matrix(embeddings, loss, "embeddings")
        self.double = arrays.is_double(self.input)
        codes = self._codes(labels)
        self.metric, self.factor, always_unit = METRICS[metric] if metric else (_core.PRODUCT, 1.0, False)
        self.order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes)
        ends = np.cumsum(counts)
        codes = codes[self.order]
        self.end, self.begin = ends[codes].astype(np.int64), (ends - counts)[codes].astype(np.int64)
        self.points = arrays.contiguous(self.input, self.double)[self.order]
        self.inverse: Array | None = None
        if unit or always_unit:
            self.points, self.inverse = embedding.unit(self.points)

    def _codes(self, labels: Any) -> Array:
        """Labels as numbers from 0 on."""
        count = len(self.input)
        if isinstance(labels, (int, np.integer)) and not isinstance(labels, bool):
            if labels < 1 or count % labels:
                raise ValueError(
                    f"{self.loss}: labels as a number of views must divide the {count} embeddings, got {labels}"
                )
            return np.arange(count) % (count // int(labels) or 1)
        found = arrays.labels(labels, self.loss, "labels")
        if found.shape != (count,):
            raise ValueError(f"{self.loss}: labels must have shape ({count},), one per embedding, has {found.shape}")
        codes: Array = np.unique(found, return_inverse=True)[1].reshape(count)
        return codes

    @embedding.QUIET
    def _run(self, slopes: bool, params: tuple[float, ...]) -> tuple[Array, Array, Array | None]:
        """Sums and numbers of the terms per anchor and part, and the gradient; in the order of the labels."""
        points, count = self.points, len(self.points)
        dtype, distances = points.dtype, self.metric != _core.PRODUCT
        sums, terms = np.zeros((count, _core.PAIR_PARTS)), np.zeros((count, _core.PAIR_PARTS), np.int64)
        squares = embedding.squares(points).astype(dtype) if distances else None
        left = points if self.temperature == 1 else points * dtype.type(1 / self.temperature)
        buffer = embedding.room(count, count, dtype)
        picked, factors = np.zeros((count, 2), np.int64), np.zeros((count, 2), dtype)
        gradient = _Gradient(points, left, distances) if slopes and not self.picks else None
        for rows in embedding.stretches(count, count):
            pairs = np.matmul(left[rows], points.T, out=buffer[: rows.stop - rows.start])
            _core.pairwise(
                self.code, self.double, rows.start, self.begin, self.end, points, squares, pairs, self.metric,
                self.factor, params, slopes, sums[rows], terms[rows], picked[rows], factors[rows], wanted(),
            )  # fmt: skip
            if gradient:
                gradient.add(rows, pairs)
        if not slopes:
            return sums, terms, None
        grad = gradient.total() if gradient else _of_picked(points, picked, factors)
        return sums, terms, grad

    def _finite(self) -> bool:
        return bool(np.isfinite(self.points).all())

    def _reduced(self, sums: Array, terms: Array) -> Any:
        """The value from the sums and numbers of the anchors' terms."""
        if self.reduction == "none":
            value = np.empty(len(self.points), _REAL[self.double])
            value[self.order] = sums.sum(axis=1) if self._finite() else np.nan
            return value
        if not self._finite():
            return float("nan")
        totals = sums.sum(axis=0)
        if self.reduction == "mean":
            totals /= np.maximum(terms.sum(axis=0), 1)
        return float(totals.sum())

    def value(self) -> Any:
        sums, terms, _ = self._run(False, self.params + (1.0, 1.0) * self.parts)
        return self._reduced(sums, terms)

    @embedding.QUIET
    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        [written], [returned], finish = arrays.gradient_outputs(
            out, [("embeddings", self.input)], [self.input.dtype], [self.input], self.loss
        )
        params, mean = self.params, self.reduction == "mean"
        if self.parts:
            counts = self._run(False, (*params, 1.0, 1.0))[1].sum(axis=0) if mean else [1, 1]
            params += tuple(1.0 / max(count, 1) for count in counts)
        sums, terms, grad = self._run(True, params)
        assert grad is not None
        if mean and not self.parts:
            grad *= grad.dtype.type(1.0 / max(terms.sum(), 1))
        if self.inverse is not None:
            embedding.from_unit(grad, self.points, self.inverse)
        if not self._finite():
            grad[...] = np.nan
        grad[self.order] = grad.copy()
        arrays.fill(written, grad)
        if finish:
            finish()
        return self._reduced(sums, terms), returned


class _Gradient:
    """The gradient by embeddings e from the slopes G of their products: G e / T and its transpose's.

    Of distances G holds factors of e_i - e_j: a column of ones beside e brings the sums of G's rows and columns.
    """

    def __init__(self, points: Array, left: Array, distances: bool) -> None:
        self.points, self.left, self.distances = points, left, distances
        if distances:
            self.left = np.ones((len(points), points.shape[1] + 1), points.dtype)
            self.left[:, :-1] = points
        self.sum, self.part = np.zeros_like(self.left), np.empty_like(self.left)

    def add(self, rows: slice, slopes: Array) -> None:
        """Take in a stretch of rows of G."""
        self.sum += np.matmul(slopes.T, self.left[rows], out=self.part)
        self.sum[rows] += np.matmul(slopes, self.left, out=self.part[: len(slopes)])

    def total(self) -> Array:
        """All of it."""
        if not self.distances:
            return self.sum
        grad = np.multiply(
            self.sum[:, -1:], self.points, out=self.part.reshape(-1)[: self.points.size].reshape(self.points.shape)
        )
        grad -= self.sum[:, :-1]
        return grad


def _of_picked(points: Array, picked: Array, factors: Array) -> Array:
    """The gradient where every anchor has one positive and one negative: factors of e_i - e_j."""
    grad = np.zeros_like(points)
    for column in range(2):
        apart = (points - points[picked[:, column]]) * factors[:, column : column + 1]
        grad += apart
        order = np.argsort(picked[:, column], kind="stable")
        to, first = np.unique(picked[order, column], return_index=True)
        if len(to):
            grad[to] -= np.add.reduceat(apart[order], first, axis=0)
    return grad
