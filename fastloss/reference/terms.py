"""What a reference definition returns, and the object that reduces it as the loss of the same name does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Derivative = Array | tuple[Array, ...]


class Terms(NamedTuple):
    """Everything a loss says about its inputs, before any reduction."""

    value: Any
    """One float64 number per sample (``score``: its named tuple)."""
    grads: tuple[Array, ...] = ()
    """Gradient of ``value.sum()``, one array per prediction argument."""
    hess: Array | None = None
    """Diagonal of the Hessian of ``value.sum()``, where it exists."""
    denominator: float = float("nan")
    """What "mean" divides the sum by; the number of samples when the definition does not say."""
    factor: Array | None = None
    """What "mean" multiplies each sample by first, where that is not 1."""
    batch: float = float("nan")
    """What "batchmean" divides the sum by, where there is that."""
    parts: tuple[Terms, ...] = ()
    """Where there are any, each is reduced by itself, and the loss is their sum."""


class Reference:
    """A loss by its definition: called like the loss, slow, and right."""

    __name__: str

    def __init__(self, definition: Callable[..., Terms], reduction: str) -> None:
        self._definition = definition
        self._reduction = reduction
        functools.update_wrapper(self, definition)

    def __repr__(self) -> str:
        return f"<reference of {self.__name__}>"

    def __call__(self, *args: Any, reduction: str | None = None, **kwargs: Any) -> Any:
        """The value, reduced."""
        return self._value(self.terms(*args, **kwargs), reduction)

    def value_and_grad(self, *args: Any, reduction: str | None = None, **kwargs: Any) -> tuple[Any, Derivative]:
        """The value and its gradient; with ``reduction="none"`` the gradient of the sum."""
        return self.reduced(self.terms(*args, **kwargs), reduction)

    def reduced(self, terms: Terms, reduction: str | None = None) -> tuple[Any, Derivative]:
        """Value and gradient of what the definition answered."""
        parts = [self._grads(part, reduction) for part in terms.parts or (terms,)]
        grads = tuple(sum(part, np.zeros(1)) for part in zip(*parts, strict=True)) if terms.parts else parts[0]
        return self._value(terms, reduction), grads[0] if len(grads) == 1 else grads

    def _grads(self, terms: Terms, reduction: str | None) -> tuple[Array, ...]:
        grads = terms.grads
        if (reduction or self._reduction) == "mean":
            if terms.factor is not None:
                grads = tuple(grad * terms.factor[..., None] for grad in grads)
            grads = tuple(_over(grad, terms.denominator) for grad in grads)
        elif reduction == "batchmean":
            grads = tuple(_over(grad, terms.batch) for grad in grads)
        return grads

    def grad_hess(self, *args: Any, **kwargs: Any) -> tuple[Derivative, Array]:
        """Gradient and diagonal Hessian of the sum."""
        terms = self.terms(*args, **kwargs)
        if terms.hess is None:
            raise AttributeError(f"{self.__name__} has no Hessian")
        return terms.grads[0] if len(terms.grads) == 1 else terms.grads, terms.hess

    def terms(self, *args: Any, **kwargs: Any) -> Terms:
        """The definition's own answer: nothing reduced."""
        with np.errstate(all="ignore"):
            terms = self._definition(*args, **kwargs)
        if np.isnan(terms.denominator) and not isinstance(terms.value, tuple):
            terms = terms._replace(denominator=float(np.size(terms.value)))
        return terms

    def _value(self, terms: Terms, reduction: str | None) -> Any:
        if terms.parts:
            return sum(self._value(part, reduction) for part in terms.parts)
        reduction = reduction or self._reduction
        if reduction == "none":
            return terms.value
        total = float(np.sum(terms.value))
        if reduction == "sum":
            return total
        if reduction == "mean":
            if terms.factor is not None:
                total = float(np.sum(terms.value * terms.factor))
            return float(_over(np.asarray(total), terms.denominator, nothing=np.nan))
        if reduction == "batchmean" and terms.batch == terms.batch:
            return float(_over(np.asarray(total), terms.batch, nothing=np.nan))
        raise ValueError(f'{self.__name__}: reduction must be "none", "mean" or "sum", got {reduction!r}')


def reference(reduction: str) -> Callable[[Callable[..., Terms]], Reference]:
    """Make a definition a :class:`Reference` whose default reduction is ``reduction``."""
    return functools.partial(Reference, reduction=reduction)


def as_float64(array: Any) -> Array:
    """A float64 copy of any real array, also of a bfloat16 one."""
    return np.asarray(array).astype(np.float64)


def sum_to(derivative: Array, shape: tuple[int, ...]) -> Array:
    """Sum a derivative over the axes along which an array of this shape was broadcast."""
    summed = derivative.sum(axis=tuple(range(derivative.ndim - len(shape))))
    axes = tuple(axis for axis, length in enumerate(shape) if length == 1 and summed.shape[axis] != 1)
    return np.asarray(summed.sum(axis=axes, keepdims=True), dtype=np.float64).reshape(shape)


def operands(*arrays: Any) -> list[Array]:
    """Float64 copies, broadcast against each other; an operand left out is 1."""
    return list(np.broadcast_arrays(*(as_float64(1.0 if array is None else array) for array in arrays)))


def as_input(derivative: Array, input: Any) -> Array:
    """Sum a derivative over the axes along which ``input`` was broadcast."""
    return sum_to(derivative, np.shape(input))


def product(a: Any, b: Any) -> Array:
    """``a * b`` where nothing times infinity is nothing; a NaN stays a NaN."""
    return np.where((a == 0) & np.isinf(b) | (b == 0) & np.isinf(a), 0.0, a * b)


def quotient(a: Any, b: Any) -> Array:
    """``a / b`` where nothing over nothing, and anything over it, is nothing."""
    return np.where(b == 0, 0.0, a / b)


def unit(x: Array) -> tuple[Array, Array]:
    """Rows divided by their norms, and those; rows of zeros stay."""
    top = np.abs(x).max(axis=-1, keepdims=True, initial=0.0)
    norm = np.asarray(top * np.sqrt((quotient(x, top) ** 2).sum(axis=-1, keepdims=True)))
    return quotient(x, norm), norm


def from_unit(grad: Array, unit: Array, norm: Array) -> Array:
    """The gradient by rows from that by the rows divided by their norms."""
    return quotient(grad - unit * (unit * grad).sum(axis=-1, keepdims=True), norm)


def _over(array: Array, denominator: float, nothing: float = 0.0) -> Array:
    """``array / denominator`` with ``nothing`` for 0 / 0."""
    with np.errstate(all="ignore"):
        return np.where((array == 0) & (denominator == 0), nothing, array / denominator)
