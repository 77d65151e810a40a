"""Losses of triplets: over all triplets of a batch of embeddings with labels, or the hard ones among them."""

from __future__ import annotations

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run_pairwise import Metric, Pairwise

__all__ = ["batch_all_triplet_loss", "batch_hard_triplet_loss", "batch_semihard_triplet_loss"]


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
    pytorch_metric_learning.miners.TripletMarginMiner : Picks all of them, given `type_of_triplets="semihard"`.

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
