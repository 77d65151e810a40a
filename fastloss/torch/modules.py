"""The losses as modules: torch's own classes, whose forward calls the functions here."""

from __future__ import annotations

from typing import Any

import torch

from .functional import FUNCTIONS
from .table import TABLE

__all__ = ["MODULES"]

_FUNCTION_OF = {
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "CTCLoss": "ctc_loss",
    "CosineEmbeddingLoss": "cosine_embedding_loss",
    "CosineSimilarity": "cosine_similarity",
    "CrossEntropyLoss": "cross_entropy",
    "GaussianNLLLoss": "gaussian_nll_loss",
    "HingeEmbeddingLoss": "hinge_embedding_loss",
    "HuberLoss": "huber_loss",
    "KLDivLoss": "kl_div",
    "L1Loss": "l1_loss",
    "LinearCrossEntropyLoss": "linear_cross_entropy",
    "MSELoss": "mse_loss",
    "MarginRankingLoss": "margin_ranking_loss",
    "MultiLabelMarginLoss": "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "MultiMarginLoss": "multi_margin_loss",
    "NLLLoss": "nll_loss",
    "PairwiseDistance": "pairwise_distance",
    "PoissonNLLLoss": "poisson_nll_loss",
    "SmoothL1Loss": "smooth_l1_loss",
    "SoftMarginLoss": "soft_margin_loss",
    "TripletMarginLoss": "triplet_margin_loss",
    "TripletMarginWithDistanceLoss": "triplet_margin_with_distance_loss",
}
_ATTRIBUTE = {("PairwiseDistance", "p"): "norm"}


def _of_layer(self: Any, input: Any, target: Any) -> Any:
    """The forward of the module that has a linear layer."""
    shape = (self.num_classes, *self.out_features)
    weight, bias = self.linear.weight, self.linear.bias
    return FUNCTIONS["linear_cross_entropy"](
        input,
        weight.reshape(*shape, weight.shape[1]),
        target,
        linear_bias=None if bias is None else bias.reshape(shape),
        weight=self.weight,
        reduction=self.reduction,
        ignore_index=self.ignore_index,
        label_smoothing=self.label_smoothing,
        options=self.options,
    )


_FORWARD = {"LinearCrossEntropyLoss": _of_layer}


def _made(name: str) -> Any:
    base, function_name = getattr(torch.nn, name), _FUNCTION_OF[name]
    bridge, function = TABLE[function_name], FUNCTIONS[function_name]
    kept = ["weight", "pos_weight", "distance_function", "reduction", *bridge.options]
    attributes = [(each, _ATTRIBUTE.get((name, each), each)) for each in kept]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        settings = {each: getattr(self, attribute) for each, attribute in attributes if hasattr(self, attribute)}
        return function(*args, **kwargs, **settings)

    forward = _FORWARD.get(name, forward)
    forward.__qualname__ = f"{name}.forward"
    forward.__doc__ = f"The loss, by :func:`fastloss.torch.{function_name}`."
    doc = f"As ``torch.nn.{name}``; computed by :func:`fastloss.{bridge.loss}`."
    body = {"forward": forward, "__module__": "fastloss.torch", "__doc__": doc}
    return type(name, (base,), body)


MODULES = {name: _made(name) for name in _FUNCTION_OF if hasattr(torch.nn, name)}
"""The classes by their names."""
