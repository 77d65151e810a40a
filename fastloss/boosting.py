"""What gradient boosting asks of an objective and of a metric, answered by any loss.

The modules of the libraries (xgboost.py, lightgbm.py, catboost.py) add how each of them hands out its rows.
"""

from __future__ import annotations

import inspect
import math
import sys
from typing import Any, ClassVar

import numpy as np

from . import signed
from .arrays import Array, number_in
from .loss import LOSSES, Loss

__all__ = ["FromLoss", "Metric", "Objective"]

_SIGNS = frozenset(LOSSES[name] for name in signed.__all__)
_SETTLED = ("reduction", "axis", "out")
"""Parameters of a loss that the library's layout leaves no choice for."""


def _takes_rows(loss: Loss[...]) -> bool:
    """Whether it is a mean over predictions with labels."""
    takes = inspect.signature(loss).parameters
    return (
        len(loss.predictions) == 1 and loss.family in ("pointwise", "rowwise") and {"target", "reduction"} <= {*takes}
    )


def _holders(arrays: tuple[Array, Array]) -> int:
    """How many references there are to one of these, with those made in counting."""
    return max(sys.getrefcount(each) for each in arrays)


_ALONE = _holders((np.empty(0), np.empty(0)))
"""The same of arrays that nobody else has."""


class FromLoss:
    """A loss with its options, that takes labels as boosting libraries keep them.

    Parameters
    ----------
    loss : Loss
        Of one number per element or per row of classes.
    needs : str
        The method that it has to have.
    options : dict
        Its parameters.

    Raises
    ------
    TypeError
        If `loss` is not such a loss, or has no parameter of an option's name.
    """

    dataset: ClassVar[type] = type(None)
    """What the library keeps a set of rows in: the second argument of its own call form."""

    def __init__(self, loss: Loss[...], needs: str, options: dict[str, Any]) -> None:
        fitting = [each for each in LOSSES.values() if hasattr(each, needs) and _takes_rows(each)]
        if not any(loss is each for each in fitting):
            known = ", ".join(each.name for each in fitting)
            raise TypeError(f"loss must be one of {known}; got {getattr(loss, '__name__', repr(loss))}")
        for name in options:
            if name in _SETTLED or name not in inspect.signature(loss).parameters:
                raise TypeError(f"{loss.name}: {name} is no option of an objective or metric")
        self.loss, self.options = loss, options
        self.__name__ = loss.name

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__module__}.{type(self).__name__}({self.__name__}{options})"

    def target(self, labels: Array) -> Array:
        """Labels, which the libraries keep as float32, as the loss wants them: class indices, or signs for 0 and 1."""
        if self.loss in _SIGNS:
            return np.where(labels == 0, np.float32(-1), labels)
        if self.loss.family != "rowwise" or labels.ndim > 1 or labels.dtype.kind != "f":
            return labels
        with np.errstate(invalid="ignore"):
            classes = labels.astype(np.int32)
        if not np.array_equal(classes, labels):
            at = int(np.argmax(classes != labels))
            raise ValueError(f"{self.loss.name}: labels must be whole numbers, but label {at} is {labels[at]:g}")
        return classes

    def handed(self, first: Any, second: Any, weight: Any) -> tuple[Any, Any, Any]:
        """Labels, predictions and weights, from ``(preds, dataset)`` or from ``(y_true, y_pred, weight)``."""
        if isinstance(second, self.dataset):
            data: Any = second
            return data.get_label(), first, data.get_weight()
        return first, second, weight

    def rows(self, labels: Any, predictions: Any, weight: Any) -> tuple[Array, Array, Array | None]:
        """The same as arrays of fitting shapes: predictions (n,) or (n, K), labels (n,) or as they, weights (n,)."""
        labels, predictions = self.target(np.asarray(labels)), np.asarray(predictions)
        name, found = self.loss.name, predictions.shape
        if self.loss.family == "rowwise" and len(found) != 2:
            raise ValueError(f"{name}: predictions must be (n, K): is num_class set? They have shape {found}")
        if labels.shape != found[:1]:
            labels = labels.reshape(found) if labels.size == predictions.size else labels
            if labels.shape != found:
                raise ValueError(f"{name}: labels of shape {labels.shape} do not fit predictions of shape {found}")
        elif self.loss.family != "rowwise" and labels.shape != found:
            raise ValueError(f"{name}: predictions of shape {found} want as many labels, they have {labels.shape}")
        if weight is None or np.size(weight) == 0:
            return labels, predictions, None
        weight = np.asarray(weight)
        if weight.shape != found[:1]:
            raise ValueError(f"{name}: weights must have shape {found[:1]}, have {weight.shape}")
        return labels, predictions, weight


class Objective(FromLoss):
    """Gradient and Hessian of a loss, for every row.

    Parameters
    ----------
    loss : Loss
        With ``grad_hess``.
    floor : float
        What no Hessian is less than, before weights.
    hess_scale : float, optional
        Factor of the Hessian, before `floor`. None: ``class_scale(K)`` for losses of K classes, else 1.
    **options
        Parameters of the loss. Where one is ``hess``, what to take for a Hessian that is 0, its default here is 1.
    """

    def __init__(self, loss: Loss[...], *, floor: float, hess_scale: float | None = None, **options: Any) -> None:
        super().__init__(loss, "grad_hess", options)
        if "hess" in inspect.signature(loss).parameters:
            self.options = {"hess": 1.0, **options}
        self.floor = number_in(floor, loss.name, "floor", 0.0)
        self.hess_scale = None if hess_scale is None else number_in(hess_scale, loss.name, "hess_scale", 0.0)

    @staticmethod
    def class_scale(classes: int) -> float:
        """What the library multiplies the Hessian of softmax by, whose diagonal is not all of it."""
        return 1.0

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Gradient and Hessian, of ``(preds, dataset)`` or of ``(y_true, y_pred, sample_weight)``."""
        return self.derive(*self.handed(y_true, y_pred, sample_weight))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: all but the arrays."""
        return {name: value for name, value in self.__dict__.items() if name != "_spare"}

    def _outputs(self, predictions: Array) -> tuple[Array, Array]:
        """Two arrays like the predictions: those of the round before, unless somebody still has one."""
        spare: tuple[Array, Array] | None = self.__dict__.pop("_spare", None)  # so that no other thread takes them too
        if spare is None or spare[0].shape != predictions.shape or _holders(spare) > _ALONE:
            spare = np.empty_like(predictions, np.float32), np.empty_like(predictions, np.float32)
        grad, hess = spare  # held from here on, before another thread can find them
        self._spare = spare
        return grad, hess

    def derive(
        self, labels: Any, predictions: Any, weight: Any, out: tuple[Array, Array] | None = None
    ) -> tuple[Array, Array]:
        """Gradient and Hessian, times the weights: float32, in the shape and layout of the predictions, or `out`."""
        target, predictions, weight = self.rows(labels, predictions, weight)
        grad, hess = out or self._outputs(predictions)
        self.loss.grad_hess(predictions, target, out=(grad, hess), **self.options)
        scale = self.hess_scale
        if scale is None:
            scale = self.class_scale(predictions.shape[1]) if self.loss.family == "rowwise" else 1.0
        if scale != 1:
            hess *= scale
        np.maximum(hess, self.floor, out=hess)
        if weight is not None:
            factor = weight.reshape(-1, *[1] * (predictions.ndim - 1))
            for each in (grad, hess):
                np.multiply(each, factor, out=each, casting="same_kind")
        return grad, hess


class Metric(FromLoss):
    """The weighted mean of a loss over the rows.

    Parameters
    ----------
    loss : Loss
        Of one number per element or per row.
    **options
        Parameters of the loss.
    """

    def __init__(self, loss: Loss[...], **options: Any) -> None:
        super().__init__(loss, "value_and_grad", options)

    def sums(self, labels: Any, predictions: Any, weight: Any) -> tuple[float, float]:
        """``sum(w * loss)`` and ``sum(w)``, where a row of several elements has their mean."""
        target, predictions, weight = self.rows(labels, predictions, weight)
        each = self.loss(predictions, target, reduction="none", **self.options).reshape(len(predictions), -1)
        if weight is None:
            weight = np.ones(len(each), np.float32)
        total = np.einsum("ij,i->", each, weight, dtype=np.float64)
        return float(total) / max(1, each.shape[1]), float(weight.sum(dtype=np.float64))

    def mean(self, y_true: Any, y_pred: Any, sample_weight: Any) -> float:
        """The mean, of ``(preds, dataset)`` or of ``(y_true, y_pred, sample_weight)``."""
        total, weight = self.sums(*self.handed(y_true, y_pred, sample_weight))
        return total / weight if weight else math.nan
