"""fastloss: loss functions, their gradients and their Hessians, at the speed of memory, on the CPU, from NumPy.

>>> import numpy as np
>>> import fastloss as fl
>>> logits, labels = np.zeros((4, 10), np.float32), np.array([1, 2, 3, 4])
>>> round(fl.cross_entropy(logits, labels), 4)
2.3026
>>> value, grad = fl.cross_entropy.value_and_grad(logits, labels)
"""

from __future__ import annotations

from . import _openmp  # noqa: F401
from ._version import __version__
from .binary import binary_cross_entropy, binary_cross_entropy_with_logits, sigmoid_focal_loss
from .cdist import cdist, pdist
from .config import config, show_config
from .ctc import ctc_loss
from .distance import (
    cosine_embedding_loss,
    cosine_similarity,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .divergence import js_div_with_logits, kl_div_with_logits
from .evaluation import Evaluation, evaluate
from .focal import focal_loss
from .likelihood import gamma_nll_loss, gaussian_nll_loss, kl_div, poisson_nll_loss, tweedie_nll_loss
from .linear import linear_cross_entropy
from .margin import multi_margin_loss, multilabel_margin_loss, multilabel_soft_margin_loss
from .matching import clip_loss, info_nce_loss, siglip_loss
from .metric import circle_loss, contrastive_loss, nt_xent_loss, supcon_loss
from .overlap import dice_loss, tversky_loss
from .regression import (
    huber_loss,
    l1_loss,
    log_cosh_loss,
    mape_loss,
    mse_loss,
    msle_loss,
    quantile_loss,
    rmse_loss,
    smooth_l1_loss,
)
from .rowwise import cross_entropy, entropy, nll_loss, perplexity, selective_log_softmax
from .signed import (
    exponential_loss,
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    soft_margin_loss,
    squared_hinge_loss,
)
from .softmax import Score, log_softmax, logsumexp, score, softmax
from .threads import get_num_threads, num_threads, set_num_threads
from .triplets import batch_all_triplet_loss, batch_hard_triplet_loss, batch_semihard_triplet_loss

__all__ = [
    "Evaluation",
    "Score",
    "__version__",
    "batch_all_triplet_loss",
    "batch_hard_triplet_loss",
    "batch_semihard_triplet_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cdist",
    "circle_loss",
    "clip_loss",
    "config",
    "contrastive_loss",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dice_loss",
    "entropy",
    "evaluate",
    "exponential_loss",
    "focal_loss",
    "gamma_nll_loss",
    "gaussian_nll_loss",
    "get_num_threads",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "info_nce_loss",
    "js_div_with_logits",
    "kl_div",
    "kl_div_with_logits",
    "l1_loss",
    "linear_cross_entropy",
    "log_cosh_loss",
    "log_softmax",
    "logsumexp",
    "mape_loss",
    "margin_ranking_loss",
    "mse_loss",
    "msle_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "nt_xent_loss",
    "num_threads",
    "pairwise_distance",
    "pdist",
    "perplexity",
    "poisson_nll_loss",
    "quantile_loss",
    "rmse_loss",
    "score",
    "selective_log_softmax",
    "set_num_threads",
    "show_config",
    "siglip_loss",
    "sigmoid_focal_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "squared_hinge_loss",
    "supcon_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "tversky_loss",
    "tweedie_nll_loss",
]
