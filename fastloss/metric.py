"""Losses of pairs: over all pairs of a batch of embeddings with labels."""

from __future__ import annotations

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run_pairwise import Metric, Pairwise

__all__ = [
    "circle_loss",
    "contrastive_loss",
    "nt_xent_loss",
    "supcon_loss",
]


@loss("embedding")
def contrastive_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    pos_margin: float = 0.0,
    neg_margin: float = 1.0,
    metric: Metric = "euclidean",
    *,
    normalize: bool = True,
    reduction: str = "mean",
) -> Declaration:
    r"""Pairs of one label pulled together, others pushed apart.

    Per anchor :math:`\sum_p \max(0, d_{ap} - m_{pos}) + \sum_n \max(0, m_{neg} - d_{an})`.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,)
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    pos_margin, neg_margin : float
        From which distance on a pair of one label counts, and up to which another does.
    metric : {"euclidean", "squared", "cosine"}
        The distance, its square, or 1 - cosine.
    normalize : bool
        Divide the embeddings by their norms first.
    reduction : {"mean", "sum", "none"}
        "mean" takes that of the pairs of one label whose loss is above 0, and adds that of the others likewise.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    pytorch_metric_learning.losses.ContrastiveLoss
    sentence_transformers.losses.OnlineContrastiveLoss

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`.

    References
    ----------
    Hadsell, Chopra and LeCun, Dimensionality Reduction by Learning an Invariant Mapping, 2006.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> fl.contrastive_loss(x, [0, 0, 1])
    2.414213...
    """
    name = "contrastive_loss"
    params = arrays.number(pos_margin, name, "pos_margin"), arrays.number(neg_margin, name, "neg_margin")
    return Pairwise(
        name, embeddings, labels, reduction=reduction, metric=metric, unit=bool(normalize), params=params, parts=True
    )


@loss("embedding")
def circle_loss(
    embeddings: ArrayLike, labels: ArrayLike, m: float = 0.4, gamma: float = 80.0, *, reduction: str = "mean"
) -> Declaration:
    r"""Circle loss: similarities pushed to 1 and 0, each the harder the farther it is from there.

    Per anchor :math:`\log(1 + \sum_n e^{\gamma a_n (s_n - m)} \sum_p e^{-\gamma a_p (s_p - 1 + m)})` with the
    cosines `s` and :math:`a_n = \max(0, s_n + m)`, :math:`a_p = \max(0, 1 + m - s_p)`, which are constants to the
    gradient, as in the paper. Anchors without positive or without negative are left out.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,)
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    m : float
        The relaxation of both aims.
    gamma : float
        The scale.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of anchors that are not left out, and is 0 where all are.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    pytorch_metric_learning.losses.CircleLoss

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`.

    References
    ----------
    Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> fl.circle_loss(x, [0, 0, 1], gamma=1.0)
    0.789009...
    """
    name = "circle_loss"
    params = arrays.number(m, name, "m"), arrays.number(gamma, name, "gamma")
    return Pairwise(name, embeddings, labels, reduction=reduction, metric=None, unit=True, params=params)


@loss("embedding")
def nt_xent_loss(
    embeddings: ArrayLike, labels: ArrayLike, temperature: float = 0.07, *, reduction: str = "mean"
) -> Declaration:
    r"""Normalized temperature-scaled cross entropy: every positive against the anchor's negatives.

    Per anchor :math:`-\sum_p \log \frac{e^{s_{ap}/\tau}}{e^{s_{ap}/\tau} + \sum_n e^{s_{an}/\tau}}` with the
    cosines `s`.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,) or int
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another:
        2 is SimCLR's batch.
    temperature : float
        Above 0.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of pairs of one label, and is 0 where there are none; "none" gives the sum of each
        anchor's pairs.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    pytorch_metric_learning.losses.NTXentLoss
    supcon_loss : Positives count in the denominator too.

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`. A row of zeros has the cosine 0 with every other, and
    gradient 0.

    References
    ----------
    Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 2.0]])
    >>> fl.nt_xent_loss(x, 2, temperature=1.0)
    0.885449...
    """
    return _similar("nt_xent_loss", embeddings, labels, temperature, reduction)


@loss("embedding")
def supcon_loss(
    embeddings: ArrayLike, labels: ArrayLike, temperature: float = 0.1, *, reduction: str = "mean"
) -> Declaration:
    r"""Supervised contrastive loss: the positives' mean log-probability among all other embeddings.

    Per anchor :math:`-\frac{1}{P} \sum_p \log \frac{e^{s_{ap}/\tau}}{\sum_{j \ne a} e^{s_{aj}/\tau}}` with the
    cosines `s` and the number `P` of positives. Anchors without positives are left out.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,) or int
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    temperature : float
        Above 0.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of anchors that are not left out, and is 0 where all are.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape or a parameter does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    pytorch_metric_learning.losses.SupConLoss : 0 where all have one label.
    nt_xent_loss

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`. A row of zeros has the cosine 0 with every other, and
    gradient 0.

    References
    ----------
    Khosla et al., Supervised Contrastive Learning, 2020: the loss "out".

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.0, 2.0]])
    >>> fl.supcon_loss(x, [0, 1, 0, 1], temperature=1.0)
    0.885449...
    """
    return _similar("supcon_loss", embeddings, labels, temperature, reduction)


def _similar(name: str, embeddings: ArrayLike, labels: ArrayLike, temperature: float, reduction: str) -> Declaration:
    return Pairwise(
        name,
        embeddings,
        labels,
        reduction=reduction,
        metric=None,
        unit=True,
        temperature=arrays.temperature(temperature, name),
    )
