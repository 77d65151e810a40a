"""Data to boost on, drawn once for the tests of each library; and which of their objectives a loss has to equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl
from fastloss.loss import Loss

ROWS = 1500
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 4))
WEIGHT = RNG.uniform(0.1, 3, ROWS).astype(np.float32)
NOISE = RNG.normal(size=ROWS)
BITS = (X[:, 0] + NOISE > 1).astype(int)
CLASSES = np.digitize(X[:, 0] + NOISE, [-1, 0, 1])
NUMBERS = X[:, 0] + NOISE
COUNTS = RNG.poisson(np.exp(X[:, 0] / 2))
AMOUNTS = RNG.gamma(2, np.exp(X[:, 0] / 2))


class Twin(NamedTuple):
    """A built-in objective's name, its parameters, the labels, and the objective from a loss that equals it."""

    name: str
    params: dict[str, Any]
    labels: np.ndarray
    objective: Any


def twins(objective: Callable[..., Any], named: dict[Loss[...], tuple[str, dict[str, Any]]]) -> list[Twin]:
    """Those of a library, which has other names and parameters for each loss."""
    options: dict[Loss[...], tuple[np.ndarray, dict[str, Any]]] = {
        fl.binary_cross_entropy_with_logits: (BITS, {}),
        fl.mse_loss: (NUMBERS, {"weight": 0.5}),
        fl.poisson_nll_loss: (COUNTS, {"hess_scale": np.exp(0.7)}),
        fl.gamma_nll_loss: (AMOUNTS, {}),
        fl.tweedie_nll_loss: (AMOUNTS, {}),
        fl.cross_entropy: (CLASSES, {}),
    }
    return [Twin(*named[loss], labels, objective(loss, **given)) for loss, (labels, given) in options.items()]
