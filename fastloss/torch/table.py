"""Which of torch.nn.functional's losses fastloss computes, and when: one entry for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from .products import use_torch

__all__ = ["AUTOCAST", "DTYPES", "TABLE", "Bridge"]

Tensors = tuple[Any, ...]
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
LABELS = (torch.int64, torch.uint8)
SIGNS = (torch.int8, torch.int16, torch.int32, torch.int64)
DTYPES: Mapping[str, Callable[[Any, Any], bool]] = {
    "prediction": lambda found, input: found is input if input else found in FLOATS,
    "float": lambda found, input: found is input,
    "weight": lambda found, input: found is input,
    "bias": lambda found, input: found is input,
    "label": lambda found, input: found in LABELS,
    "class": lambda found, input: found is input or found is torch.int64,
    "sign": lambda found, input: found is input or found in SIGNS,
    "long": lambda found, input: found is torch.int64,
    "count": lambda found, input: found in (torch.int32, torch.int64),
}
"""By what a tensor is: whether torch takes its dtype beside that of the first, and without promotion."""


def _same(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """All of one shape: torch refuses others, broadcasts them with a warning, or it matters to no one."""
    shape = tensors[0].shape
    return all(each is None or each.shape == shape for each in tensors)


def _weighted(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """Input and target of one shape, with weights that broadcast to it."""
    shape = tensors[0].shape
    return tensors[1].shape == shape and all(
        each is None or each.shape == shape or _broadcasts(each.shape, shape) for each in tensors[2:]
    )


def _broadcasts(shape: Any, to: Any) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape, to[len(to) - len(shape) :], strict=True))


def _classes(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """Class indices for rows along axis 1, or probabilities of the input's shape."""
    input, target = tensors[:2]
    shape = input.shape
    if len(shape) == 0:
        return False
    if target.dtype is input.dtype:
        return bool(target.shape == shape and options[0] < 0)  # beside probabilities ignore_index is refused
    return bool(target.shape == (() if len(shape) == 1 else shape[:1] + shape[2:]))


def _rows(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """A matrix with a label for each row, or a row with its own."""
    input, target = tensors[:2]
    return bool(1 <= input.ndim <= 2 and target.shape == input.shape[:-1])


def _pairs(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """Two matrices, or two rows, with a label for each pair of rows."""
    one, other, target = tensors
    return bool(1 <= one.ndim <= 2 and one.shape == other.shape and target.shape == one.shape[:-1])


def _batch(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """As `_same`, of at least one axis."""
    return tensors[0].ndim > 0 and _same(tensors, options, reduction)


def _matrix(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """As `_same`, of one axis or two."""
    return tensors[0].ndim <= 2 and _batch(tensors, options, reduction)


def _scored(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """As `_weighted`, of at least one axis."""
    return tensors[0].ndim > 0 and _weighted(tensors, options, reduction)


def _variances(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """Variances of the input's shape; those of rows where the gradient needs no upstream of their own shape."""
    input, target, var = tensors
    shape = input.shape
    if target.shape != shape:
        return False
    by_row = len(shape) > 0 and var.shape in (shape[:-1], (*shape[:-1], 1))
    return bool(var.shape == shape or (by_row and reduction != "none"))


def _layer(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    """States of a linear layer with class indices, and its weights for one class axis."""
    input, weight, target, bias, class_weight = tensors
    return bool(
        1 <= input.ndim <= 2
        and weight.ndim == 2
        and input.shape[-1] == weight.shape[1]
        and target.shape == input.shape[:-1]
        and all(each is None or each.shape == weight.shape[:1] for each in (bias, class_weight))
    )


def _sequences(tensors: Tensors, options: tuple[Any, ...], reduction: str) -> bool:
    log_probs, targets, *lengths = tensors
    batch = log_probs.shape[1:-1]
    return bool(
        log_probs.dtype in FLOATS[:2]
        and 2 <= log_probs.ndim <= 3
        and targets.ndim <= 2
        and all(each.shape == batch for each in lengths)
    )


@dataclass(frozen=True)
class Bridge:
    """How one of torch's functions is computed by a loss of fastloss.

    Parameters
    ----------
    loss : str
        Of fastloss.
    tensors : mapping of str to str
        The tensors among torch's arguments in order, and what each is (:data:`DTYPES`); a "prediction" or "bias" is
        differentiated, a "bias" or "weight" may be left out.
    fits : function of the tensors, the options and the reduction
        Whether these are ones that torch takes, with shapes that it does not broadcast; all else is left to torch.
    options : mapping of str to str
        The other arguments that are handed on, and their types.
    row : {"", "class", "last", "dim"}
        Where the elements lie of which one number of the unreduced value is made: nowhere, it has one for each element;
        along torch's class axis; the last; the one that the option of this name says.
    names : mapping of str to str
        Of arguments, where fastloss has other ones.
    reductions : tuple of str
        Without any the value is not reduced.
    grad : tuple of str
        The reductions whose gradient is that of the sum times the upstream gradient; others are left to torch.
    defaults : mapping of str to object, optional
        Of all arguments, where torch's function has no signature.
    nones : mapping of str to object
        What None means for an option.
    prepare : function of the declared loss, optional
        Called before it is run.
    """

    loss: str
    tensors: Mapping[str, str]
    fits: Callable[[Tensors, tuple[Any, ...], str], bool] = _same
    options: Mapping[str, str] = field(default_factory=dict)
    row: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    reductions: tuple[str, ...] = ("none", "mean", "sum")
    grad: tuple[str, ...] = ("none", "mean", "sum", "batchmean")
    defaults: Mapping[str, Any] | None = None
    nones: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any], None] | None = None
    predictions: tuple[int, ...] = field(init=False)  # which of the tensors

    def __post_init__(self) -> None:
        found = tuple([i for i, kind in enumerate(self.tensors.values()) if kind in ("prediction", "bias")])
        object.__setattr__(self, "predictions", found)

    def axis(self, tensors: Tensors, options: tuple[Any, ...]) -> int | None:
        """The axis of a row."""
        if self.row == "class":
            return min(1, int(tensors[0].ndim) - 1)
        if self.row == "dim":
            return int(options[list(self.options).index("dim")])
        return -1 if self.row else None

    def shape(self, tensors: Tensors, options: tuple[Any, ...], reduction: str) -> tuple[Any, ...]:
        """The value's shape."""
        if reduction != "none":
            return ()
        shape, axis = tuple(tensors[0].shape), self.axis(tensors, options)
        if self.loss == "pdist":
            return (shape[0] * (shape[0] - 1) // 2,)
        if self.loss == "ctc_loss":
            return shape[1:-1]
        if axis is None:
            return shape
        axis %= len(shape)
        kept = (1,) if dict(zip(self.options, options, strict=True)).get("keepdim") else ()
        return (*shape[:axis], *kept, *shape[axis + 1 :])


_PAIR = {"input": "prediction", "target": "float"}
_WEIGHTED = {**_PAIR, "weight": "weight"}
_TRIPLET = dict.fromkeys(("anchor", "positive", "negative"), "prediction")
_TWO = dict.fromkeys(("x1", "x2"), "prediction")
_MARGIN = {"margin": "float"}

TABLE = {
    "l1_loss": Bridge("l1_loss", _WEIGHTED),
    "mse_loss": Bridge("mse_loss", _WEIGHTED),
    "smooth_l1_loss": Bridge("smooth_l1_loss", _PAIR, options={"beta": "float"}),
    "huber_loss": Bridge("huber_loss", _WEIGHTED, options={"delta": "float"}),
    "cross_entropy": Bridge(
        "cross_entropy", {"input": "prediction", "target": "class", "weight": "weight"}, _classes,
        {"ignore_index": "int", "label_smoothing": "float"}, "class",
    ),
    "nll_loss": Bridge(
        "nll_loss", {"input": "prediction", "target": "label", "weight": "weight"}, _classes, {"ignore_index": "int"},
        "class",
    ),
    "kl_div": Bridge("kl_div", _PAIR, options={"log_target": "bool"}, reductions=("none", "mean", "sum", "batchmean")),
    "binary_cross_entropy": Bridge("binary_cross_entropy", _WEIGHTED, _weighted),
    "binary_cross_entropy_with_logits": Bridge(
        "binary_cross_entropy_with_logits", {**_WEIGHTED, "pos_weight": "weight"}, _weighted
    ),
    "poisson_nll_loss": Bridge(
        "poisson_nll_loss", _PAIR, options={"log_input": "bool", "full": "bool", "eps": "float"}
    ),
    "gaussian_nll_loss": Bridge(
        "gaussian_nll_loss", {"input": "prediction", "target": "float", "var": "prediction"}, _variances,
        {"full": "bool", "eps": "float"},
    ),
    "soft_margin_loss": Bridge("soft_margin_loss", _PAIR),
    "hinge_embedding_loss": Bridge("hinge_embedding_loss", {"input": "prediction", "target": "sign"}, options=_MARGIN),
    "margin_ranking_loss": Bridge(
        "margin_ranking_loss", {"input1": "prediction", "input2": "prediction", "target": "sign"}, options=_MARGIN
    ),
    "multi_margin_loss": Bridge(
        "multi_margin_loss", {"input": "prediction", "target": "long", "weight": "weight"}, _rows,
        {"p": "int", **_MARGIN}, "last",
    ),
    "multilabel_margin_loss": Bridge(
        "multilabel_margin_loss", {"input": "prediction", "target": "long"}, _matrix, row="last"
    ),
    "multilabel_soft_margin_loss": Bridge("multilabel_soft_margin_loss", _WEIGHTED, _scored, row="last"),
    "cosine_similarity": Bridge(
        "cosine_similarity", _TWO, _batch, {"dim": "int", "eps": "float"}, "dim", {"dim": "axis"}, (),
        defaults={"dim": 1, "eps": 1e-8},
    ),
    "cosine_embedding_loss": Bridge(
        "cosine_embedding_loss", {"input1": "prediction", "input2": "prediction", "target": "sign"}, _pairs, _MARGIN,
        "last",
    ),
    "pairwise_distance": Bridge(
        "pairwise_distance", _TWO, _batch, {"p": "float", "eps": "float", "keepdim": "bool"}, "last", reductions=(),
        defaults={"p": 2.0, "eps": 1e-6, "keepdim": False},
    ),
    "triplet_margin_loss": Bridge(
        "triplet_margin_loss", _TRIPLET, _batch, {**_MARGIN, "p": "float", "eps": "float", "swap": "bool"}, "last"
    ),
    "triplet_margin_with_distance_loss": Bridge(
        "triplet_margin_loss", _TRIPLET, _batch, {**_MARGIN, "swap": "bool"}, "last"
    ),
    "ctc_loss": Bridge(
        "ctc_loss",
        {"log_probs": "prediction", "targets": "count", "input_lengths": "count", "target_lengths": "count"},
        _sequences, {"blank": "int", "zero_infinity": "bool"}, "last",
    ),
    "pdist": Bridge(
        "pdist", {"input": "prediction"}, _batch, {"p": "float"}, reductions=(), grad=(), defaults={"p": 2.0}
    ),
    "linear_cross_entropy": Bridge(
        "linear_cross_entropy",
        {
            "input": "prediction", "linear_weight": "prediction", "target": "long", "linear_bias": "bias",
            "weight": "weight",
        },
        _layer, {"ignore_index": "int", "label_smoothing": "float"}, "last",
        {"input": "hidden", "linear_weight": "weight", "linear_bias": "bias", "weight": "class_weight"},
        grad=("mean", "sum"), nones={"ignore_index": -100}, prepare=use_torch,
    ),
}  # fmt: skip
TABLE = {name: bridge for name, bridge in TABLE.items() if hasattr(torch.nn.functional, name)}
"""By the name that torch has for it; one that this torch lacks is left out."""

AUTOCAST = frozenset(TABLE) - {
    "cosine_similarity", "ctc_loss", "gaussian_nll_loss", "linear_cross_entropy", "multilabel_soft_margin_loss",
    "pairwise_distance", "pdist", "triplet_margin_with_distance_loss",
}  # fmt: skip
"""Those that autocast computes in float32."""
