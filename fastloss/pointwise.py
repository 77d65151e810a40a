"""The pointwise losses: one number per element, operands broadcast as NumPy's."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .loss import Declaration, loss
from .run import Pointwise

__all__ = ["binary_cross_entropy_with_logits", "mse_loss"]


@loss("pointwise", hess=True)
def mse_loss(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, *, reduction: str = "mean"
) -> Declaration:
    r"""Mean squared error.

    Per element :math:`w (x - t)^2`, as ``torch.nn.functional.mse_loss``.

    Parameters
    ----------
    input : array_like
        Predictions; floating.
    target : array_like
        Floating, integer or boolean; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts. With it, "mean" divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If the shapes do not broadcast or `reduction` is none of the three.
    TypeError
        If a dtype is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, t = np.array([1.0, 2.0, 4.0]), np.array([1, 1, 2])
    >>> fl.mse_loss(x, t, reduction="none")
    array([0., 1., 4.])
    >>> fl.mse_loss.value_and_grad(x, t, reduction="sum")
    (5.0, array([0., 2., 4.]))
    """
    return Pointwise(
        "mse_loss",
        [("input", input)],
        [("target", target)],
        weight,
        reduction=reduction,
        mean_by_weight=True,
    )


@loss("pointwise", hess=True)
def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    *,
    reduction: str = "mean",
) -> Declaration:
    r"""Binary cross entropy of logits.

    Per element :math:`w [(1 - t) \operatorname{softplus}(x) + p\, t \operatorname{softplus}(-x)]`, as
    ``torch.nn.functional.binary_cross_entropy_with_logits``, without overflow or cancellation anywhere. An infinite
    logit that agrees with its target costs 0.

    Parameters
    ----------
    input : array_like
        Logits; floating.
    target : array_like
        Probabilities of the positive class, or labels 0 and 1 of any integer dtype or bool; broadcasts.
    weight : array_like, optional
        Factor of each element; broadcasts.
    pos_weight : array_like, optional
        Factor of the positive class; broadcasts, so that one per class fits ``(N, C)`` logits.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If the shapes do not broadcast or `reduction` is none of the three.
    TypeError
        If a dtype is not supported.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, t = np.array([0.0, 3.0, -1000.0]), np.array([1, 1, 0])
    >>> fl.binary_cross_entropy_with_logits(x, t, reduction="none").round(4)
    array([0.6931, 0.0486, 0.    ])
    >>> grad, hess = fl.binary_cross_entropy_with_logits.grad_hess(x, t)
    >>> grad.round(4), hess.round(4)
    (array([-0.5   , -0.0474,  0.    ]), array([0.25  , 0.0452, 0.    ]))
    """
    others, kernel = [("target", target)], None
    if pos_weight is not None:
        others.append(("pos_weight", pos_weight))
        kernel = "binary_cross_entropy_with_logits_pos_weight"
    return Pointwise(
        "binary_cross_entropy_with_logits",
        [("input", input)],
        others,
        weight,
        kernel=kernel,
        reduction=reduction,
    )
