"""Divergences of two rows of logits, along any class axis: what distillation minimises, without a softmax in memory."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run import Rowwise

__all__ = ["js_div_with_logits", "kl_div_with_logits"]


def _declare(name: str, input: ArrayLike, target: ArrayLike, temperature: Any, reduction: str, axis: int) -> Rowwise:
    found = arrays.temperature(temperature, name)
    return Rowwise(name, name, input, axis, reduction=reduction, dense=target, temperature=found)


@loss("rowwise")
def kl_div_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    temperature: float = 1.0,
    *,
    reduction: str = "mean",
    axis: int = -1,
) -> Declaration:
    r"""Kullback-Leibler divergence of the target's softmax from the input's.

    With :math:`p = \operatorname{softmax}(x / T)` and :math:`q = \operatorname{softmax}(t / T)`, per row

    .. math:: \sum_j q_j \log \frac{q_j}{p_j},

    and by the input the gradient :math:`(p - q) / T`. Exact also where both rows nearly agree.

    Parameters
    ----------
    input : array_like
        Logits of the student, floating, with the classes along `axis`; ``(C,)`` is a single row.
    target : array_like
        Logits of the teacher, in the shape of `input`.
    temperature : float
        Both logits are divided by it. The value is not multiplied by its square, as some write distillation.
    reduction : {"mean", "sum", "none"}
        "mean" is that of the rows: what torch calls "batchmean" for two dimensions.
    axis : int
        The class axis.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torch.nn.functional.kl_div : Of ``log_softmax(input / T)`` and ``softmax(target / T)``.
    optax.losses.kl_divergence_with_log_targets : Of the log-softmax of both.
    js_div_with_logits

    Notes
    -----
    A class masked by -inf in `target` counts nothing; one masked in `input` alone makes the row's loss +inf.

    References
    ----------
    G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> student, teacher = np.array([[0.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    >>> round(fl.kl_div_with_logits(student, teacher), 6)
    0.123284
    >>> value, grad = fl.kl_div_with_logits.value_and_grad(student, teacher, temperature=2.0)
    >>> grad.round(4)
    array([[-0.0593,  0.0296,  0.0296]])
    """
    return _declare("kl_div_with_logits", input, target, temperature, reduction, axis)


@loss("rowwise")
def js_div_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    temperature: float = 1.0,
    *,
    reduction: str = "mean",
    axis: int = -1,
) -> Declaration:
    r"""Jensen-Shannon divergence of the softmaxes of input and target.

    With :math:`p = \operatorname{softmax}(x / T)`, :math:`q = \operatorname{softmax}(t / T)` and
    :math:`m = (p + q) / 2`, per row

    .. math:: \frac12 \sum_j \Big( p_j \log \frac{p_j}{m_j} + q_j \log \frac{q_j}{m_j} \Big),

    which is symmetric and at most log 2; the gradient is by the input.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`; ``(C,)`` is a single row.
    target : array_like
        Logits, in the shape of `input`.
    temperature : float
        Both logits are divided by it.
    reduction : {"mean", "sum", "none"}
        "mean" is that of the rows.
    axis : int
        The class axis.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    kl_div_with_logits
    scipy.spatial.distance.jensenshannon : The square root of it, from probabilities.

    Notes
    -----
    A class masked by -inf counts nothing in the row where it is masked; the loss is finite.

    References
    ----------
    J. Lin, "Divergence Measures Based on the Shannon Entropy", 1991.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, t = np.array([[0.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]])
    >>> round(fl.js_div_with_logits(x, t), 6)
    0.030028
    >>> round(fl.js_div_with_logits([0.0, -np.inf], [-np.inf, 0.0]), 6)
    0.693147
    """
    return _declare("js_div_with_logits", input, target, temperature, reduction, axis)
