"""How a declared call is run: value, gradient, Hessian, reductions. Written once for each family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _core, arrays
from .arrays import Array
from .loss import bad_reduction
from .threads import wanted

__all__ = ["ABSENT", "ONE", "Outer", "Pointwise", "RowMap", "Rowwise"]

_REDUCTIONS = ("none", "mean", "sum")
_MEANS = ("mean", "batchmean")
_VALUE, _GRAD, _HESS = range(3)
ABSENT: Any = _core.ABSENT
"""A target of the other kind; None is a mistake."""

ONE = np.ones(())
"""The operand that an optional factor is when it is not given."""
_REAL = (np.dtype(np.float32), np.dtype(np.float64))


class Outer(NamedTuple):
    """A function of the reduced value, and its derivative by it as a function of both."""

    value: Callable[[float], float]
    slope: Callable[[float, float], float]


def _over(total: float, denominator: float) -> float:
    """The mean; of nothing it is NaN."""
    if denominator:
        return total / denominator
    return math.copysign(math.inf, total) if total > 0 or total < 0 else math.nan


def _hess_dtypes(out: Any, double: bool) -> list[np.dtype[Any]]:
    """Those of a gradient and a Hessian: of the computation, or the other real one where `out` has it."""
    given = out if isinstance(out, (tuple, list)) and len(out) == 2 else (None, None)
    return [each.dtype if isinstance(each, np.ndarray) and each.dtype in _REAL else _REAL[double] for each in given]


class Pointwise:
    """A loss of one number per element; operands broadcast.

    Parameters
    ----------
    loss : str
        Its name.
    predictions, others : sequence of (name, value)
        The kernel's operands in order, those it is differentiated by first.
    weight : array_like, optional
        Multiplies each element's loss.
    kernel : str, optional
        Its name in csrc/losses.def where that is not the loss's.
    params : tuple of float
        The kernel's parameters.
    mean_by_weight : bool
        Whether "mean" divides by the sum of the weights instead of the number of elements.
    batchmean : bool
        Whether there is the reduction that divides by the length of the first axis.
    refused : str
        What is said of an element that the kernel refuses.
    outer : Outer, optional
        What is done to the mean.
    """

    __slots__ = (
        "code", "double", "loss", "mean_by_weight", "named", "operands", "outer", "params", "predictions",
        "reduction", "refused", "shape",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        predictions: Sequence[tuple[str, Any]],
        others: Sequence[tuple[str, Any]],
        weight: Any = None,
        *,
        reduction: str,
        kernel: str | None = None,
        params: tuple[float, ...] = (),
        mean_by_weight: bool = False,
        batchmean: bool = False,
        refused: str = "",
        outer: Outer | None = None,
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            allowed = (*_REDUCTIONS, "batchmean") if batchmean else _REDUCTIONS
            if reduction not in allowed:
                bad_reduction(loss, reduction, allowed)
        self.loss, self.reduction, self.params = loss, reduction, params
        self.refused, self.outer = refused, outer
        self.code = _core.POINTWISE[kernel or loss]
        self.predictions = len(predictions)
        self.mean_by_weight = mean_by_weight and weight is not None
        self.named = [*predictions, *others, ("weight", ONE if weight is None else weight)]
        self.operands = tuple([value for _, value in self.named])
        double = _core.operand_facts(self.operands, self.predictions)
        if double < 0:  # not arrays yet, or to be broadcast, or of another dtype
            self.named = arrays.operands(self.named, self.predictions, loss)
            self.operands = tuple([value for _, value in self.named])
            self.shape = arrays.broadcast_shape(self.named, loss)
            self.double = arrays.is_double(self.operands[0])
        else:
            self.shape, self.double = self.operands[0].shape, double == 1

    def _run(
        self,
        mode: int,
        scale: float = 1.0,
        sum: bool = False,
        stream: bool = False,
        value: Array | None = None,
        grads: Sequence[Array] = (),
        hess: Array | None = None,
    ) -> float:
        operands = self.operands
        shaped = operands[0] if operands[0].shape == self.shape else np.broadcast_to(ONE, self.shape)
        total, bad = _core.pointwise(
            self.code, mode, self.double, shaped, operands, operands[-1] is not ONE, self.params, scale, sum, stream,
            value, tuple(grads), hess, wanted(),
        )  # fmt: skip
        if bad >= 0:
            raise arrays.bad_element(self.named[:-1], self.shape, bad, self.loss, self.refused)
        return total

    def _denominator(self) -> float:
        if self.reduction == "batchmean":
            return self.shape[0] if self.shape else 1
        size = math.prod(self.shape)
        if not self.mean_by_weight:
            return size
        weight = self.named[-1][1]
        return arrays.total(weight) * (size / weight.size if weight.size else 0)

    def _reduced(self, total: float) -> float:
        if self.reduction not in _MEANS:
            return total
        mean = _over(total, self._denominator())
        return self.outer.value(mean) if self.outer else mean

    def _scale(self) -> float:
        """What a gradient is multiplied by: it has to be known before the pass that makes it."""
        if self.reduction not in _MEANS:
            return 1.0
        denominator = self._denominator()
        if not denominator:
            return math.nan
        if self.outer:
            mean = _over(self._run(_VALUE, sum=True), denominator)
            return self.outer.slope(mean, self.outer.value(mean)) / denominator
        return 1.0 / denominator

    def _per_element(self) -> Array | None:
        return np.empty(self.shape, _REAL[self.double]) if self.reduction == "none" else None

    def value(self) -> Any:
        each = self._per_element()
        total = self._run(_VALUE, sum=each is None, value=each)
        return self._reduced(total) if each is None else each

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        each, scale = self._per_element(), self._scale()
        like = self.named[: self.predictions]
        dtypes = [found.dtype for _, found in like]
        total, returned = self._derivatives(_GRAD, out, like, dtypes, scale, each)
        return self._reduced(total) if each is None else each, returned

    def grad_hess(self, out: Any = None) -> tuple[Any, Any]:
        dtypes = _hess_dtypes(out, self.double)
        _, returned = self._derivatives(_HESS, out, [self.named[0]] * 2, dtypes, 1.0, None)
        return returned[0], returned[1]

    def _derivatives(
        self,
        mode: int,
        out: Any,
        like: list[tuple[str, Array]],
        dtypes: list[np.dtype[Any]],
        scale: float,
        each: Array | None,
    ) -> tuple[float, Any]:
        inputs = [found for _, found in self.named]
        written, returned, finish = arrays.gradient_outputs(out, like, dtypes, inputs, self.loss)
        # A prediction that is repeated by broadcasting gets the sum over its repetitions.
        full = [to if to.shape == self.shape else np.empty(self.shape, _REAL[self.double]) for to in written]
        grads, hess = (full, None) if mode == _GRAD else (full[:1], full[1])
        total = self._run(mode, scale, mode == _GRAD and each is None, arrays.streams(full, inputs), each, grads, hess)
        for to, wide in zip(written, full, strict=True):
            if to is not wide:
                arrays.fill(to, _sum_to(wide, to.shape))
        if finish:
            finish()
        return total, returned[0] if len(returned) == 1 else tuple(returned)


def _sum_to(wide: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting."""
    extra = wide.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, length in enumerate(shape) if length == 1 and wide.shape[extra + i] != 1
    )
    return np.sum(wide, axis=axes, dtype=np.float64).reshape(shape)


class Rowwise:
    """A loss of one number per row of classes.

    Parameters
    ----------
    loss : str
        The loss's name, for errors.
    kernel : str
        Its kernel's name in csrc/losses.def.
    input : array_like
        Predictions, with a class axis.
    axis : int
    reduction : {"none", "mean", "sum"}
    label : array_like, optional
        Class indices, one per row.
    dense : array_like, optional
        Class probabilities, or a second array of logits, of the shape of `input`.
    weight : array_like, optional
        One per class.
    ignore_index : int, optional
        A label whose rows count for nothing.
    label_smoothing, z_loss, unit, gamma, temperature, softcap : float
        The kernel's parameters.
    outer : Outer, optional
        What is done to the mean.
    """

    __slots__ = (
        "axis", "classes", "code", "dense", "double", "ignore_index", "input", "label", "loss", "outer", "params",
        "reduction", "rows", "softcap", "target_name", "weight", "weight_sum",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        kernel: str,
        input: Any,
        axis: int,
        *,
        reduction: str,
        label: Any = ABSENT,
        dense: Any = ABSENT,
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        unit: float = 1.0,
        gamma: float = 0.0,
        temperature: float = 1.0,
        softcap: float = 0.0,
        outer: Outer | None = None,
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        self.loss, self.reduction, self.outer = loss, reduction, outer
        self.code = _core.ROWWISE[kernel]
        facts = _core.row_facts(input, axis, label)
        if facts is None:  # not arrays yet, or of another shape or dtype
            input, axis, label = arrays.rows(input, axis, label, loss)
            facts = _core.row_facts(input, axis, label)
            assert facts is not None
        self.input = input
        self.axis, self.classes, self.rows, self.double = facts
        self.label = None if label is ABSENT else label
        self.dense = self.weight = None
        self.ignore_index = None if ignore_index is None else arrays.whole_number(ignore_index, loss, "ignore_index")
        if dense is not ABSENT:
            self.dense = arrays.numeric(dense, loss, "target")
            if self.dense.shape != self.input.shape:
                raise ValueError(
                    f"{loss}: target must have the shape of input, {self.input.shape}, has {self.dense.shape}"
                )
        self.weight_sum = float(self.classes)
        if weight is not None:
            self.weight = arrays.class_weight(weight, self.classes, self.double, loss)
            self.weight_sum = float(np.sum(self.weight, dtype=np.float64))
        self.params = (label_smoothing, z_loss, unit, gamma, temperature)
        self.softcap = softcap

    def _run(
        self,
        code: int,
        scale: float = 1.0,
        stream: bool = False,
        value: Array | None = None,
        grad: Array | None = None,
        hess: Array | None = None,
        dense: Array | None = None,
        upstream: Array | None = None,
        extra: tuple[Array | None, ...] | None = None,
    ) -> tuple[float, float]:
        if dense is None:
            dense = self.dense
        total, weight, bad = _core.rowwise(
            code, self.double, self.input, self.axis, self.label, dense, upstream, self.weight, self.weight_sum,
            self.ignore_index, self.params, self.softcap, scale, stream, value, grad, hess, extra, wanted(),
        )  # fmt: skip
        self._check(bad)
        return total, weight

    def _check(self, bad: int) -> None:
        """Raise IndexError for a row with a label out of range, where there is one (not -1)."""
        if bad >= 0:
            assert self.label is not None
            raise arrays.bad_label(self.label, bad, self.classes, self.loss, "target")

    def _per_row(self) -> Array | None:
        if self.reduction != "none":
            return None
        return np.empty(arrays.row_shape(self.input, self.axis), _REAL[self.double])

    def _reduced(self, total: float, weight: float) -> float:
        if self.reduction != "mean":
            return total
        mean = _over(total, weight if self.label is not None else self.rows)
        return self.outer.value(mean) if self.outer else mean

    def value(self) -> Any:
        each = self._per_row()
        total, weight = self._run(self.code, value=each)
        return self._reduced(total, weight) if each is None else each

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        each = self._per_row()
        upstream = None
        if grad_output is not None:
            rows = arrays.row_shape(self.input, self.axis)
            upstream = arrays.numeric(grad_output, self.loss, "grad_output")
            if upstream.shape == (*rows[: self.axis], 1, *rows[self.axis :]):  # keepdims
                upstream = upstream.reshape(rows)
            arrays.check_rows(upstream, self.input, self.axis, self.loss, "grad_output")
            upstream = arrays.contiguous(upstream, self.double)
        inputs = [one for one in (self.input, self.label, self.dense, self.weight, upstream) if one is not None]
        [grad], [returned], finish = arrays.gradient_outputs(
            out, [("input", self.input)], [self.input.dtype], inputs, self.loss
        )
        total, weight = self._run(
            self.code, self._scale(), arrays.streams([grad], inputs), each, grad, upstream=upstream
        )
        if finish:
            finish()
        return self._reduced(total, weight) if each is None else each, returned

    def _scale(self) -> float:
        """What a gradient is multiplied by: it has to be known before the pass that makes it."""
        if self.reduction != "mean":
            return 1.0
        if self.outer:
            total, weight = self._run(self.code)
            mean = _over(total, weight)
            return self.outer.slope(mean, self.outer.value(mean)) / weight if weight else math.nan
        weight = self._run(-1)[1] if self.label is not None else self.rows
        return 1.0 / weight if weight else math.nan

    def grad_hess(self, out: Any = None) -> tuple[Any, Any]:
        inputs = [one for one in (self.input, self.label, self.dense, self.weight) if one is not None]
        (grad, hess), returned, finish = arrays.gradient_outputs(
            out, [("input", self.input)] * 2, _hess_dtypes(out, self.double), inputs, self.loss
        )
        self._run(self.code, 1.0, arrays.streams([grad, hess], inputs), None, grad, hess)
        if finish:
            finish()
        return returned[0], returned[1]


class RowMap(Rowwise):
    """A function from a row of classes to a row: its value is what other losses' gradient is.

    Parameters
    ----------
    loss : str
        Also the name of the kernel; with ``_vjp``, of the kernel of its vector-Jacobian product.
    input, axis
        As for :class:`Rowwise`.
    """

    __slots__ = ()

    def __init__(self, loss: str, input: Any, axis: int) -> None:
        super().__init__(loss, loss, input, axis, reduction="none")

    def value(self) -> Any:
        made = np.empty(self.input.shape, self.input.dtype)
        self._run(self.code, 1.0, arrays.streams([made], [self.input]), grad=made)
        return made

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        value = self.value()
        if grad_output is None:
            upstream: Array = np.broadcast_to(np.ones((), _REAL[self.double]), self.input.shape)
        else:
            upstream = arrays.numeric(grad_output, self.loss, "grad_output")
            if upstream.shape != self.input.shape:
                raise ValueError(
                    f"{self.loss}: grad_output must have the shape of input, {self.input.shape}, has {upstream.shape}"
                )
        inputs = [self.input, upstream]
        [grad], [returned], finish = arrays.gradient_outputs(
            out, [("input", self.input)], [self.input.dtype], inputs, self.loss
        )
        vjp = _core.ROWWISE[f"{self.loss}_vjp"]
        self._run(vjp, 1.0, arrays.streams([grad], inputs), grad=grad, dense=upstream)
        if finish:
            finish()
        return value, returned
