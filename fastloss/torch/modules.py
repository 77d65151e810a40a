"""The losses as modules: torch's own classes, whose forward calls the functions here."""

from __future__ import annotations

import inspect
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


def _layer(module: Any) -> dict[str, Any]:
    """The arguments that a module with a linear layer takes from it."""
    linear, shape = module.linear, (module.num_classes, *module.out_features)
    return {
        "linear_weight": linear.weight.reshape(*shape, linear.in_features),
        "linear_bias": None if linear.bias is None else linear.bias.reshape(shape),
        "options": module.options,
    }


_MORE = {"LinearCrossEntropyLoss": _layer}


def _made(name: str) -> Any:
    base, function_name = getattr(torch.nn, name), _FUNCTION_OF[name]
    bridge, function = TABLE[function_name], FUNCTIONS[function_name]
    kept = ["weight", "pos_weight", "distance_function", "reduction", *bridge.options]
    more = _MORE.get(name, lambda module: {})
    attributes = [(each, _ATTRIBUTE.get((name, each), each)) for each in kept]

    names = tuple(inspect.signature(base.forward).parameters)[1:]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > len(names):
            return base.forward(self, *args, **kwargs)  # which refuses them
        settings = {each: getattr(self, attribute) for each, attribute in attributes if hasattr(self, attribute)}
        return function(**dict(zip(names, args, strict=False)), **kwargs, **settings, **more(self))

    forward.__qualname__ = f"{name}.forward"
    forward.__doc__ = f"The loss, by :func:`fastloss.torch.{function_name}`."
    doc = f"As ``torch.nn.{name}``; computed by :func:`fastloss.{bridge.loss}`."
    body = {"forward": forward, "__module__": "fastloss.torch", "__doc__": doc}
    return type(name, (base,), body)


MODULES = {name: _made(name) for name in _FUNCTION_OF if hasattr(torch.nn, name)}
"""The classes by their names."""
