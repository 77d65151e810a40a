"""Pointwise losses written out, of what torch and jax.numpy both have: for a library that lacks the loss itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def written_out(xp: Any) -> dict[str, Function]:
    """The mean of every pointwise loss, for the module of a library."""

    def softplus(x: Any) -> Any:
        return xp.logaddexp(x, xp.zeros_like(x))

    def positive_part(x: Any) -> Any:
        return xp.where(x > 0, x, xp.zeros_like(x))

    def huber(d: Any) -> Any:
        size = xp.abs(d)
        return xp.where(size < 1, 0.5 * d * d, size - 0.5)

    def focal(x: Any, t: Any) -> Any:
        p = 1 / (1 + xp.exp(-x))
        q = p * (1 - t) + (1 - p) * t
        return (0.25 * t + 0.75 * (1 - t)) * q * q * (softplus(x) - x * t)

    each: dict[str, Function] = {
        "l1_loss": lambda x, t: xp.abs(x - t),
        "mse_loss": lambda x, t: (x - t) ** 2,
        "mape_loss": lambda x, t: xp.abs((x - t) / t),
        "msle_loss": lambda x, t: (xp.log1p(x) - xp.log1p(t)) ** 2,
        "smooth_l1_loss": lambda x, t: huber(x - t),
        "huber_loss": lambda x, t: huber(x - t),
        "log_cosh_loss": lambda x, t: xp.logaddexp(x - t, t - x) - math.log(2),
        "quantile_loss": lambda x, t: xp.where(x > t, 0.5 * (x - t), 0.5 * (t - x)),
        "poisson_nll_loss": lambda x, t: xp.exp(x) - t * x,
        "gamma_nll_loss": lambda x, t: x + t * xp.exp(-x),
        "tweedie_nll_loss": lambda x, t: 2 * (xp.exp(0.5 * x) + t * xp.exp(-0.5 * x)),
        "gaussian_nll_loss": lambda x, t, v: 0.5 * (xp.log(v) + (x - t) ** 2 / v),
        "kl_div": lambda x, t: t * (xp.log(t) - x),
        "binary_cross_entropy": lambda x, t: -(t * xp.log(x) + (1 - t) * xp.log1p(-x)),
        "binary_cross_entropy_with_logits": lambda x, t: softplus(x) - x * t,
        "sigmoid_focal_loss": focal,
        "soft_margin_loss": lambda x, t: softplus(-t * x),
        "exponential_loss": lambda x, t: xp.exp(-t * x),
        "hinge_loss": lambda x, t: positive_part(1 - t * x),
        "squared_hinge_loss": lambda x, t: positive_part(1 - t * x) ** 2,
        "hinge_embedding_loss": lambda x, t: xp.where(t == 1, x, positive_part(1 - x)),
        "margin_ranking_loss": lambda x1, x2, t: positive_part(-t * (x1 - x2)),
    }

    def mean(function: Function) -> Function:
        # Its own signature: how many arrays it takes is read from it.
        if function.__code__.co_argcount == 3:
            return lambda x, y, z: function(x, y, z).mean()
        return lambda x, t: function(x, t).mean()

    return {
        **{name: mean(function) for name, function in each.items()},
        "rmse_loss": lambda x, t: xp.sqrt(((x - t) ** 2).mean()),
    }
