"""Linear layers with their loss: cross entropy of logits that are never held."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .loss import Declaration, loss
from .rowwise import check_parameters
from .run_linear import LinearCrossEntropy

__all__ = ["linear_cross_entropy"]


@loss("linear", predictions=("hidden", "weight", "bias"))
def linear_cross_entropy(
    hidden: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Declaration:
    r"""Cross entropy of a linear layer's logits, which are made a tile at a time and never held.

    With :math:`x = W h + b` for each row h,

    .. math:: (1 - \epsilon)\, w_t (\operatorname{lse} - x_t)
              + \frac{\epsilon}{C} \sum_j w_j (\operatorname{lse} - x_j) + z \operatorname{lse}^2,

    as :func:`cross_entropy` of ``hidden @ weight.T + bias``. Beside the arrays given and the gradients it takes less
    than 64 MB, however many rows and classes there are.

    Parameters
    ----------
    hidden : array_like
        What the layer is applied to, floating, of shape ``(..., D)``; ``(D,)`` is a single row.
    weight : array_like of shape (C, D)
        The layer's weights, floating: a row for each class.
    target : array_like
        Class indices of any integer dtype, in the shape of `hidden` without its last axis.
    bias : array_like of shape (C,), optional
        Added to the logits, floating.
    class_weight : array_like of shape (C,), optional
        Factor of each class.
    ignore_index : int
        Rows with this label count for nothing; their hidden states are not read.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the class weights of the rows that count. The result is a Python float accumulated
        in float64; with "none", an array of one per row.
    label_smoothing : float
        In [0, 1].
    z_loss : float
        Adds ``z_loss * lse**2`` to each row that counts (PaLM, Chowdhery et al. 2022).
    softcap : float, optional
        Replaces each logit x by ``softcap * tanh(x / softcap)`` (Gemma 2, 2024).

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit; the message names it.
    IndexError
        If a label is out of range; the message names the first.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    cross_entropy : of logits
    torch.nn.functional.linear_cross_entropy : names them input, linear_weight, target, linear_bias, weight
    cut_cross_entropy.linear_cross_entropy

    Notes
    -----
    ``value_and_grad`` gives the gradients of `hidden`, `weight` and, if there is one, `bias`, in a tuple. They are not
    written while what they are the gradients of is read: an ``out=`` that overlaps with an argument takes a temporary
    array. Logits and gradients are float32 products by NumPy's matmul (float64 if an argument is float64); float16 and
    bfloat16 arguments are converted a tile at a time, and their gradients are rounded once.

    References
    ----------
    E. Wijmans, B. Huval, A. Hertzberg, V. Koltun, P. Krähenbühl, "Cut Your Losses in Large-Vocabulary Language Models",
    ICLR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> hidden, weight = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    >>> round(fl.linear_cross_entropy(hidden, weight, [0, 1]), 6)
    0.395495
    >>> value, (by_hidden, by_weight) = fl.linear_cross_entropy.value_and_grad(hidden, weight, [0, 1])
    >>> by_hidden.round(3)
    array([[-0.213,  0.027],
           [ 0.212, -0.106]])
    """
    name = "linear_cross_entropy"
    check_parameters(name, label_smoothing, z_loss, softcap)
    return LinearCrossEntropy(
        name,
        hidden,
        weight,
        target,
        bias,
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap or 0.0,
    )
