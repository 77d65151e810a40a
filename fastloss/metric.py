"""The losses of metric learning: over all pairs of a batch of embeddings with labels."""

from __future__ import annotations

from typing import Literal

from numpy.typing import ArrayLike

from . import arrays, embedding
from .loss import Declaration, loss
from .run_pairwise import Pairwise

__all__ = [
    "batch_all_triplet_loss",
    "batch_hard_triplet_loss",
    "batch_semihard_triplet_loss",
    "circle_loss",
    "contrastive_loss",
    "nt_xent_loss",
    "supcon_loss",
]

Metric = Literal["euclidean", "squared", "cosine"]


def _triplets(
    name: str, embeddings: ArrayLike, labels: ArrayLike, margin: float, metric: str, soft_margin: bool, reduction: str
) -> Declaration:
    params = (arrays.number(margin, name, "margin"), float(bool(soft_margin)))
    return Pairwise(
        name,
        embeddings,
        labels,
        reduction=reduction,
        metric=metric,
        params=params,
        picks=name == "batch_hard_triplet_loss",
    )


@loss("embedding")
def batch_all_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    margin: float = 5.0,
    metric: Metric = "euclidean",
    *,
    soft_margin: bool = False,
    reduction: str = "mean",
) -> Declaration:
    r"""Triplet loss of every triplet in a batch.

    Per anchor :math:`\sum_{p} \sum_{n} \max(0, d_{ap} - d_{an} + m)` over the embeddings `p` with the anchor's
    label and `n` with others; with `soft_margin` :math:`\log(1 + e^{d_{ap} - d_{an}})` in the place of the maximum.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,)
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    margin : float
        How much farther a negative should be than a positive.
    metric : {"euclidean", "squared", "cosine"}
        The distance, its square, or 1 - cosine.
    soft_margin : bool
        Take the softplus; `margin` has no part in it.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of triplets whose loss is above 0, and is 0 where there are none; "none" gives the
        sum of each anchor's triplets.

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
    sentence_transformers.losses.BatchAllTripletLoss
    pytorch_metric_learning.losses.TripletMarginLoss : Of normalized embeddings.
    batch_hard_triplet_loss

    Notes
    -----
    Takes memory for some stretches of rows of the distances, never for all of them; the gradient of a distance 0 is 0.
    An infinity or a NaN in any embedding makes the loss and its gradient NaN.

    References
    ----------
    Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    >>> fl.batch_all_triplet_loss(x, [0, 0, 1], margin=3.0)
    0.918861...
    """
    return _triplets("batch_all_triplet_loss", embeddings, labels, margin, metric, soft_margin, reduction)


@loss("embedding")
def batch_hard_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    margin: float = 5.0,
    metric: Metric = "euclidean",
    *,
    soft_margin: bool = False,
    reduction: str = "mean",
) -> Declaration:
    r"""Triplet loss of each anchor's farthest positive and nearest negative.

    Per anchor :math:`\max(0, \max_p d_{ap} - \min_n d_{an} + m)`; with `soft_margin`
    :math:`\log(1 + e^{\max_p d_{ap} - \min_n d_{an}})`. Anchors without positive or without negative are left out. Of
    several as far away, the slope is that of the first in the order of the labels.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,)
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    margin : float
        How much farther the negative should be than the positive.
    metric : {"euclidean", "squared", "cosine"}
        The distance, its square, or 1 - cosine.
    soft_margin : bool
        Take the softplus; `margin` has no part in it.
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
    sentence_transformers.losses.BatchHardTripletLoss : Counts the anchors left out as losses too.
    sentence_transformers.losses.BatchHardSoftMarginTripletLoss
    pytorch_metric_learning.miners.BatchHardMiner

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`.

    References
    ----------
    Hermans, Beyer and Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    >>> fl.batch_hard_triplet_loss(x, [0, 0, 1], margin=3.0)
    0.918861...
    """
    return _triplets("batch_hard_triplet_loss", embeddings, labels, margin, metric, soft_margin, reduction)


@loss("embedding")
def batch_semihard_triplet_loss(
    embeddings: ArrayLike,
    labels: ArrayLike,
    margin: float = 5.0,
    metric: Metric = "euclidean",
    *,
    soft_margin: bool = False,
    reduction: str = "mean",
) -> Declaration:
    r"""Triplet loss of each pair of one label and the nearest negative that is farther away.

    Per anchor :math:`\sum_p \max(0, d_{ap} - d_{an(p)} + m)`, where `n(p)` is the nearest negative with
    :math:`d_{an} > d_{ap}`, or the farthest of all where there is none.

    Parameters
    ----------
    embeddings : array_like
        Floating, ``(N, D)``.
    labels : array_like of shape (N,)
        Of any integer dtype. One number n: the embeddings are n views of N / n samples, one view after another.
    margin : float
        How much farther the negative should be than the positive.
    metric : {"euclidean", "squared", "cosine"}
        The distance, its square, or 1 - cosine.
    soft_margin : bool
        Take the softplus; `margin` has no part in it.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of pairs of one label whose anchor has a negative, and is 0 where there are none;
        "none" gives the sum of each anchor's pairs.

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
    sentence_transformers.losses.BatchSemiHardTripletLoss
    tensorflow_addons.losses.triplet_semihard_loss
    pytorch_metric_learning.distances

    Notes
    -----
    Memory and NaN as for :func:`batch_all_triplet_loss`.

    References
    ----------
    Schroff, Kalenichenko and Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    >>> fl.batch_semihard_triplet_loss(x, [0, 0, 1], margin=3.0)
    0.918861...
    """
    return _triplets("batch_semihard_triplet_loss", embeddings, labels, margin, metric, soft_margin, reduction)


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
        temperature=embedding.temperature(temperature, name),
    )
