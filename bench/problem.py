"""The arrays of one piece of work: made once, the same ones for everything that is measured on them."""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastloss as fl

from .work import Work

Array = NDArray[Any]

# Operands of pointwise losses that are no normal numbers.
KINDS: dict[str, dict[str, str]] = {
    "mape_loss": {"target": "fraction"},
    "msle_loss": {"input": "fraction", "target": "fraction"},
    "poisson_nll_loss": {"target": "fraction"},
    "gamma_nll_loss": {"target": "fraction"},
    "tweedie_nll_loss": {"target": "fraction"},
    "gaussian_nll_loss": {"var": "fraction"},
    "kl_div": {"target": "fraction"},
    "binary_cross_entropy": {"input": "fraction", "target": "bit"},
    "binary_cross_entropy_with_logits": {"target": "bit"},
    "sigmoid_focal_loss": {"target": "bit"},
    "soft_margin_loss": {"target": "sign"},
    "exponential_loss": {"target": "sign"},
    "hinge_loss": {"target": "sign"},
    "squared_hinge_loss": {"target": "sign"},
    "hinge_embedding_loss": {"target": "sign"},
    "margin_ranking_loss": {"target": "sign"},
}
# Rowwise losses whose target is 0 or 1 for every number of a row, -1 or 1 for a row, or a list of labels.
ROWS_OF_BITS = {"multilabel_soft_margin_loss", "dice_loss", "tversky_loss"}
SIGNS = {"cosine_embedding_loss"}
LISTS = {"multilabel_margin_loss"}
# Losses of rows whose target has the shape of the input.
ALIKE = {"kl_div_with_logits", "js_div_with_logits"}
# Losses that read one number of each row.
GATHERS = {"nll_loss"}
# Of a sequence's steps, so many for each label of its target.
STEPS_PER_LABEL = 5


def dtype_of(name: str) -> np.dtype[Any] | None:
    """The NumPy dtype of that name; None for bfloat16 where ml_dtypes is not installed."""
    if name != "bfloat16":
        return np.dtype(name)
    return np.dtype(import_module("ml_dtypes").bfloat16) if find_spec("ml_dtypes") else None


class Problem:
    """The arguments of one piece of work and room for what it writes."""

    def __init__(self, work: Work, dtype: np.dtype[Any], seed: int = 0) -> None:
        self.work = work
        self.dtype = dtype
        self._random = np.random.default_rng(seed)
        self.arguments: tuple[Array, ...] = tuple(map(self._argument, self._required()))
        self.keywords: dict[str, Any] = {} if work.axis == -1 else {"axis": work.axis}
        self._shape_rows()
        self.wide_value = self._has_wide_value()
        gradient = work.mode == "value_and_grad"
        # A value as large as the input has no gradient by itself: one comes from upstream.
        self.upstream = self._normal() if gradient and self.wide_value else None
        if self.upstream is not None:
            self.keywords["grad_output"] = self.upstream
        # Touched here, so that no page is new to whoever writes it.
        shapes = [work.shape] * self.wide_value
        shapes += [self.arguments[place].shape for place in self.leaves] if gradient else []
        self.writes = tuple(np.full(shape, 1, dtype) for shape in shapes)

    @property
    def input(self) -> Array:
        """The prediction."""
        return self.arguments[0]

    @property
    def out(self) -> Any:
        """Where the gradient goes, or the gradients."""
        places = self.writes[self.wide_value :]
        return places[0] if len(places) == 1 else places

    @property
    def leaves(self) -> list[int]:
        """The places of the predictions among the arguments."""
        return [place for place, name in enumerate(self._required()) if name in self.work.function.predictions]

    @property
    def reads(self) -> tuple[Array, ...]:
        """The arrays that the work is about."""
        return self.arguments if self.upstream is None else (*self.arguments, self.upstream)

    @property
    def gathers(self) -> bool:
        """Whether the work needs no more than a number of each row."""
        return self.work.loss in GATHERS

    @property
    def bytes(self) -> int:
        """Bytes read plus bytes written, every array once."""
        read = self.arguments[1:] if self.gathers else self.reads
        return sum(array.nbytes for array in (*read, *self.writes))

    def _required(self) -> list[str]:
        parameters = inspect.signature(self.work.function).parameters.values()
        return [each.name for each in parameters if each.default is each.empty]

    def _normal(self) -> Array:
        return (2 * self._random.standard_normal(self.work.shape, np.float32)).astype(self.dtype, copy=False)

    def _argument(self, name: str) -> Array:
        work = self.work
        if work.function.family == "sequence":
            return self._of_sequences(name)
        if work.function.family == "linear":
            return self._of_layer(name)
        if work.function.family == "embedding" and name in ("labels", "scale", "bias"):
            return self._random.permutation(work.shape[0]) // 4 if name == "labels" else np.array(2, self.dtype)
        if name in KINDS.get(work.loss, {}):
            return self._of_kind(KINDS[work.loss][name])
        if name != "target":
            return self._normal()
        if work.function.family == "rowwise" and work.loss not in ALIKE:
            return self._of_rows()
        return self._normal()

    def _of_kind(self, kind: str) -> Array:
        if kind == "fraction":
            return (0.01 + 0.98 * self._random.random(self.work.shape, np.float32)).astype(self.dtype, copy=False)
        bits = self._random.integers(2, size=self.work.shape, dtype=np.uint8).astype(self.dtype)
        return 2 * bits - 1 if kind == "sign" else bits

    def _of_rows(self) -> Array:
        work, rows = self.work, list(self.work.shape)
        if work.loss in ROWS_OF_BITS:
            return self._of_kind("bit")
        classes = rows.pop(work.axis)
        if work.loss in SIGNS:
            return self._random.choice([-1, 1], rows)
        if work.loss in LISTS:
            labels = self._random.integers(classes, size=work.shape)
            labels[..., min(3, classes - 1)] = -1
            return labels
        return self._random.integers(classes, size=rows)

    def _of_sequences(self, name: str) -> Array:
        steps, count, classes = self.work.shape
        labels = max(steps // STEPS_PER_LABEL, 1)
        if name == "log_probs":
            return np.asarray(fl.log_softmax(self._normal()))
        if name == "targets":
            return self._random.integers(1, classes, size=(count, labels))
        return np.full(count, steps if name == "input_lengths" else labels)

    def _of_layer(self, name: str) -> Array:
        rows, features, classes = self.work.shape
        if name == "target":
            return self._random.integers(classes, size=rows)
        numbers = self._random.standard_normal((classes if name == "weight" else rows, features), np.float32)
        numbers *= np.float32(2 / np.sqrt(features)) if name == "weight" else np.float32(1)
        return numbers.astype(self.dtype, copy=False)

    def _shape_rows(self) -> None:
        """Give the rows what is hardest about them."""
        if self.work.data == "confident":
            np.put_along_axis(self.input, self.arguments[1][..., None], 20, axis=-1)
        elif self.work.data == "rising":
            self.input[...] += np.linspace(0, 60, self.work.shape[-1], dtype=self.dtype)

    def _has_wide_value(self) -> bool:
        """Whether the value has one number per number of the input, found out on a few of them."""
        if self.work.function.family in ("sequence", "linear", "embedding"):
            return False
        few = [each[(slice(2),) * each.ndim] for each in self.arguments]
        few = [np.minimum(each, 1) if each.dtype.kind == "i" else each for each in few]
        return bool(np.shape(self.work.function(*few, **self.keywords)) == few[0].shape)
