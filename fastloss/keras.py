"""Keras's losses, computed by fastloss: ``keras.losses.Loss`` classes for ``model.compile`` on every backend.

Every class is a subclass of Keras's own of that name, with its arguments, defaults and configuration, and gives its
values and gradients: with sample weights, masks, and every reduction. Where fastloss does not compute the same, the
class is Keras's own: cross entropies of softmax probabilities (``from_logits=False``, but for those of which the
TensorFlow backend knows the logits), targets that are broadcast, and other devices than the CPU. So logits, with
``from_logits=True``, are what is fast.

Of Keras's other losses fastloss has none that is the same: CategoricalFocalCrossentropy and CategoricalHinge take
soft targets, KLDivergence takes probabilities, Circle is another one.

What differs: Dice and Tversky of two empty sets are 0, not 1; BinaryFocalCrossentropy of logits does not clip their
sigmoid at 1e-7; a label that is out of range is an error.

>>> import numpy as np
>>> import fastloss.keras
>>> loss = fastloss.keras.SparseCategoricalCrossentropy(from_logits=True)
>>> round(float(loss(np.array([1, 4]), np.zeros((2, 5), "float32"))), 4)
1.6094
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
from keras import ops
from keras.src.backend import get_keras_mask, set_keras_mask  # a tensor's mask has no public name

_BACKEND = keras.backend.backend()
_MODULES = {"jax": "fastloss.jax", "tensorflow": "fastloss.tensorflow", "torch": "fastloss.torch.call"}
if _BACKEND not in _MODULES:
    raise ImportError(f"fastloss.keras: the backend of Keras must be one of {', '.join(_MODULES)}, is {_BACKEND}")
_FUNCTIONS: dict[str, Callable[..., Any]] = importlib.import_module(_MODULES[_BACKEND]).FUNCTIONS

_REDUCTIONS = {"sum_over_batch_size": "mean", "mean": "mean", "mean_with_sample_weight": "mean", "sum": "sum"}
"""What they are without weights."""


@dataclass(frozen=True)
class Terms:
    """A loss of fastloss that is, but for a factor, what a loss of Keras adds up.

    Parameters
    ----------
    loss : str
    arguments : tuple
        Its arrays, predictions first.
    options : dict
        Its other arguments.
    mean : int, optional
        The axis along which Keras takes the mean; without one the loss has one number for each row as it is.
    factor : float
    reductions : tuple of str
        Those of fastloss's loss that are Keras's.
    mask : tensor, optional
        Which samples count.
    """

    loss: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    mean: int | None = None
    factor: float = 1.0
    reductions: tuple[str, ...] = ("none", "mean", "sum")
    mask: Any = None

    def each(self) -> Any:
        """One number for each sample."""
        more = {"reduction": "none"} if self.reductions else {}
        value = _FUNCTIONS[self.loss](*self.arguments, **self.options, **more)
        value = value if self.mean is None else ops.mean(value, axis=self.mean)
        value = value if self.factor == 1 else value * self.factor
        if self.mask is not None:
            set_keras_mask(value, mask=self.mask)
        return value

    def reduced(self, reduction: str) -> Any:
        """Their mean or sum; None where that is not made in one pass."""
        length = 1 if self.mean is None else self.arguments[0].shape[self.mean]
        if reduction not in self.reductions or self.mask is not None or (reduction == "sum" and length is None):
            return None
        factor = self.factor / length if reduction == "sum" else self.factor
        value = _FUNCTIONS[self.loss](*self.arguments, **self.options, reduction=reduction)
        return value if factor == 1 else value * factor


# --- which terms: of the targets, the predictions and the arguments of Keras's class; None where it is Keras's own


def _epsilon() -> float:
    return float(keras.config.epsilon())


def _smoothed(t: Any, label_smoothing: float) -> Any:
    return t * (1.0 - label_smoothing) + 0.5 * label_smoothing if label_smoothing else t


def _elements(loss: str) -> Callable[..., Terms]:
    """A loss of every element, without or with one parameter of the same name."""
    return lambda t, x, **options: Terms(loss, (x, t), options, mean=-1)


def _percentage(t: Any, x: Any) -> Terms:
    weight = 100.0 / ops.maximum(ops.abs(t), _epsilon())
    return Terms("l1_loss", (x, t, weight), mean=-1, reductions=("none",))


def _logarithmic(t: Any, x: Any) -> Terms:
    return Terms("msle_loss", (ops.maximum(x, _epsilon()), ops.maximum(t, _epsilon())), mean=-1)


def _poisson(t: Any, x: Any) -> Terms:
    return Terms("poisson_nll_loss", (x, t), {"log_input": False, "eps": _epsilon()}, mean=-1)


def _signed(loss: str) -> Callable[..., Terms]:
    """Targets of 0 and 1 alone are -1 and 1."""

    def terms(t: Any, x: Any) -> Terms:
        binary = ops.all(ops.logical_or(ops.equal(t, 0), ops.equal(t, 1)))
        return Terms(loss, (x, ops.where(binary, 2.0 * t - 1.0, t)), mean=-1)

    return terms


def _cosine(t: Any, x: Any, axis: int) -> Terms:
    return Terms("cosine_similarity", (x, t), {"axis": axis, "eps": _epsilon()}, factor=-1.0, reductions=())


def _binary(t: Any, x: Any, from_logits: bool, label_smoothing: float, axis: int) -> Terms:
    t, logits = _smoothed(t, label_smoothing), x if from_logits else _logits(x, "Sigmoid")
    if logits is not None:
        return Terms("binary_cross_entropy_with_logits", (logits, t), mean=axis)
    return Terms("binary_cross_entropy", (ops.clip(x, _epsilon(), 1.0 - _epsilon()), t), mean=axis)


def _binary_focal(
    t: Any,
    x: Any,
    from_logits: bool,
    label_smoothing: float,
    axis: int,
    apply_class_balancing: bool,
    alpha: float,
    gamma: float,
) -> Terms | None:
    if not from_logits:
        return None
    options = {"alpha": alpha if apply_class_balancing else None, "gamma": gamma}
    return Terms("sigmoid_focal_loss", (x, _smoothed(t, label_smoothing)), options, mean=axis)


def _categorical(t: Any, x: Any, from_logits: bool, label_smoothing: float, axis: int) -> Terms | None:
    logits = x if from_logits else _logits(x, "Softmax")
    if logits is None:
        return None
    return Terms("cross_entropy", (logits, t), {"label_smoothing": float(label_smoothing), "axis": axis})


def _sparse(t: Any, x: Any, from_logits: bool, ignore_class: int | None, axis: int) -> Terms | None:
    logits = x if from_logits else _logits(x, "Softmax")
    if logits is None:
        return None
    if len(t.shape) == len(x.shape) and t.shape[axis] == 1:
        t = ops.squeeze(t, axis=axis)
    t = ops.cast(t, "int32")
    if ignore_class is None:  # nor is the label that torch ignores
        return Terms("cross_entropy", (logits, t), {"axis": axis, "ignore_index": -(2**62)})
    mask = ops.not_equal(t, ignore_class)
    return Terms("cross_entropy", (logits, t), {"axis": axis, "ignore_index": ignore_class}, mask=mask)


def _ctc(t: Any, x: Any) -> Terms:
    lengths = ops.sum(ops.cast(ops.not_equal(t, 0), "int32"), axis=-1)
    steps = ops.full_like(lengths, x.shape[1])
    log_probs = ops.transpose(ops.log_softmax(x, axis=-1), (1, 0, 2))
    # fastloss's mean is of losses divided by the lengths of their targets.
    return Terms("ctc_loss", (log_probs, ops.cast(t, "int32"), steps, lengths), reductions=("none", "sum"))


def _overlap(t: Any, x: Any, axis: Any, alpha: float = 0.5, beta: float = 0.5) -> Terms:
    # What Keras calls false positives are elements that are missed.
    axis = tuple(axis) if isinstance(axis, list) else axis
    options = {"alpha": float(beta), "beta": float(alpha), "axis": axis, "smooth": 0.0, "from_logits": False}
    return Terms("tversky_loss", (x, t), options)


TABLE: dict[str, Callable[..., Terms | None]] = {
    "MeanSquaredError": _elements("mse_loss"),
    "MeanAbsoluteError": _elements("l1_loss"),
    "MeanAbsolutePercentageError": _percentage,
    "MeanSquaredLogarithmicError": _logarithmic,
    "Huber": _elements("huber_loss"),
    "LogCosh": _elements("log_cosh_loss"),
    "Hinge": _signed("hinge_loss"),
    "SquaredHinge": _signed("squared_hinge_loss"),
    "Poisson": _poisson,
    "CosineSimilarity": _cosine,
    "BinaryCrossentropy": _binary,
    "BinaryFocalCrossentropy": _binary_focal,
    "CategoricalCrossentropy": _categorical,
    "SparseCategoricalCrossentropy": _sparse,
    "Dice": _overlap,
    "Tversky": _overlap,
    "CTC": _ctc,
}
"""The terms of every class."""

_BY_ROW = ("SparseCategoricalCrossentropy", "CTC")
"""Those whose targets have another shape than the predictions."""


def _logits(output: Any, activation: str) -> Any:
    """What probabilities were made of, where Keras takes a loss from that instead: on TensorFlow."""
    if _BACKEND != "tensorflow":
        return None
    if hasattr(output, "_keras_logits"):
        return output._keras_logits
    made_by = None if hasattr(output, "numpy") else getattr(output, "op", None)
    return made_by.inputs[0] if made_by is not None and made_by.type == activation else None


def _on_cpu(x: Any) -> bool:
    if _BACKEND == "torch":
        return bool(x.device.type == "cpu")
    return _BACKEND == "tensorflow" or bool(importlib.import_module("jax").default_backend() == "cpu")


def _same_rank(t: Any, x: Any) -> tuple[Any, Any]:
    """Targets and predictions of which one lacks a last axis of length 1, as Keras brings them together."""
    by = len(t.shape) - len(x.shape)
    if abs(by) != 1 or (t if by == 1 else x).shape[-1] != 1:
        return t, x
    longer, shorter = (t, x) if by == 1 else (x, t)
    if len(shorter.shape) == 1:
        shorter = ops.expand_dims(shorter, axis=-1)
    else:
        longer = ops.squeeze(longer, axis=-1)
    return (longer, shorter) if by == 1 else (shorter, longer)


def _terms(name: str, loss: Any, y_true: Any, y_pred: Any) -> Terms | None:
    """The terms of a call, None where it is Keras's own."""
    if not _on_cpu(y_pred):
        return None
    t, x = _same_rank(y_true, y_pred)
    if name not in _BY_ROW:
        pairs = zip(t.shape, x.shape, strict=False)
        if len(t.shape) != len(x.shape) or not all(None in pair or pair[0] == pair[1] for pair in pairs):
            return None
        t = ops.cast(t, x.dtype)
    return TABLE[name](t, x, **loss._fn_kwargs)


# --- the classes


def _made(name: str) -> Any:
    base = getattr(keras.losses, name)

    def __call__(self: Any, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss; in one pass where every sample counts alike."""
        whole = sample_weight is None and self.reduction in _REDUCTIONS and not keras.tree.is_nested(y_pred)
        if whole and get_keras_mask(y_pred) is None and _replicas() == 1:
            x = ops.convert_to_tensor(y_pred, dtype=self.dtype)
            t = ops.convert_to_tensor(y_true, dtype=None if name in _BY_ROW else self.dtype)
            terms = _terms(name, self, t, x)
            value = None if terms is None else terms.reduced(_REDUCTIONS[self.reduction])
            if value is not None:
                return value
        return super(made, self).__call__(y_true, y_pred, sample_weight)

    def call(self: Any, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        terms = None if keras.tree.is_nested(y_pred) else _terms(name, self, y_true, y_pred)
        return super(made, self).call(y_true, y_pred) if terms is None else terms.each()

    doc = f"As ``keras.losses.{name}``, computed by fastloss."
    body = {"__call__": __call__, "call": call, "__doc__": doc, "__module__": __name__}
    made: Any = type(name, (base,), {**body, "__signature__": inspect.signature(base)})
    for each in (__call__, call):
        each.__qualname__ = f"{name}.{each.__name__}"
    return keras.saving.register_keras_serializable("fastloss")(made)


def _replicas() -> int:
    """How many replicas a loss is divided among."""
    if _BACKEND != "tensorflow":
        return 1
    return int(importlib.import_module("tensorflow").distribute.get_strategy().num_replicas_in_sync)


LOSSES = {name: _made(name) for name in TABLE}
"""The classes by their names."""

globals().update(LOSSES)

__all__ = [*LOSSES]

if TYPE_CHECKING:
    from keras.losses import *  # noqa: F403
