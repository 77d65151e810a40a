"""Losses of one prediction with two outcomes, 0 and 1: of probabilities and of logits."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .arrays import in_two, number_in
from .loss import Declaration, loss
from .run import Pointwise

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "sigmoid_focal_loss"]


@loss("pointwise", hess=True)
def binary_cross_entropy(
    input: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, *, reduction: str = "mean"
) -> Declaration:
    r"""Binary cross entropy of probabilities.

    Per element :math:`-w [t \log x + (1 - t) \log(1 - x)]` with logarithms no less than -100, as
    ``torch.nn.functional.binary_cross_entropy``.

    Parameters
    ----------
    input : array_like
        Probabilities of the positive class, in [0, 1], floating.
    target : array_like
        Probabilities of the positive class, or labels 0 and 1 of any integer dtype or bool; broadcasts with `input`.
    weight : array_like, optional
        Factor of each element; broadcasts.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If `input` or `target` is outside [0, 1], the shapes do not broadcast or `reduction` is none of the three.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.binary_cross_entropy
    keras.losses.BinaryCrossentropy
    sklearn.metrics.log_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.binary_cross_entropy([0.5, 0.9, 0.0], [1, 1, 1], reduction="none").round(4)
    array([  0.6931,   0.1054, 100.    ])
    """
    return Pointwise(
        "binary_cross_entropy",
        [("input", input)],
        [("target", target)],
        weight,
        reduction=reduction,
        refused="input and target must be in [0, 1]",
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
    ValueError, TypeError
        As :func:`mse_loss`.

    See Also
    --------
    torch.nn.functional.binary_cross_entropy_with_logits
    optax.losses.sigmoid_binary_cross_entropy

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
        "binary_cross_entropy_with_logits", [("input", input)], others, weight, kernel=kernel, reduction=reduction
    )


@loss("pointwise", hess=True)
def sigmoid_focal_loss(
    input: ArrayLike, target: ArrayLike, alpha: float | None = 0.25, gamma: float = 2.0, *, reduction: str = "mean"
) -> Declaration:
    r"""Binary cross entropy of logits that counts easy elements for less.

    Per element :math:`\alpha_t\, q^\gamma [(1 - t) \operatorname{softplus}(x) + t \operatorname{softplus}(-x)]` with
    :math:`\alpha_t = \alpha t + (1 - \alpha)(1 - t)` and :math:`q = (1 - t) \sigma(x) + t\, \sigma(-x)`, whose power is
    taken by way of its logarithm and does not underflow before the loss does.

    Parameters
    ----------
    input : array_like
        Logits; floating.
    target : array_like
        Probabilities of the positive class, or labels 0 and 1 of any integer dtype or bool; broadcasts with `input`.
    alpha : float, optional
        Weight of the positive class, in [0, 1]; None (or -1, as in torchvision) for no weights at all.
    gamma : float
        How much less; at least 0, which is :func:`binary_cross_entropy_with_logits`.
    reduction : {"mean", "sum", "none"}
        What to make of the elements: a Python float accumulated in float64, or with "none" the array.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`mse_loss`, and if a parameter is not one of those above.

    See Also
    --------
    torchvision.ops.sigmoid_focal_loss
    optax.losses.sigmoid_focal_loss
    keras.losses.BinaryFocalCrossentropy

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection", 2017

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.sigmoid_focal_loss([0.0, 3.0], [1, 1], reduction="none").round(6)
    array([4.3322e-02, 2.7000e-05])
    """
    name = "sigmoid_focal_loss"
    positive = negative = 1.0
    if alpha is not None and alpha != -1:
        positive = number_in(alpha, name, "alpha", 0.0, 1.0)
        negative = 1 - positive
    gamma = number_in(gamma, name, "gamma", 0.0)
    return Pointwise(
        name,
        [("input", input)],
        [("target", target)],
        reduction=reduction,
        kernel="sigmoid_focal_loss_gamma_2" if gamma == 2 else name,
        params=(positive, negative, *in_two(gamma)),
    )
