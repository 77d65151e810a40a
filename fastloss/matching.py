"""The losses that match each row of a batch with its own among candidates: InfoNCE, CLIP, SigLIP."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from . import arrays, embedding
from .arrays import Array
from .loss import Declaration, loss
from .run_matching import Matching, OwnCandidates, pairwise_sigmoid, softmax_both_ways, softmax_of_rows

__all__ = ["clip_loss", "info_nce_loss", "siglip_loss"]


@loss("embedding", predictions=("query", "positive", "negatives"))
def info_nce_loss(
    query: ArrayLike,
    positive: ArrayLike,
    negatives: ArrayLike | None = None,
    temperature: float = 0.05,
    similarity: Literal["cosine", "dot"] = "cosine",
    *,
    in_batch: bool = True,
    symmetric: bool = False,
    reduction: str = "mean",
) -> Declaration:
    r"""Cross entropy of picking each query's positive among candidates.

    Per query :math:`-\log \frac{e^{s(q, p) / \tau}}{\sum_c e^{s(q, c) / \tau}}`. The candidates `c` are all
    positives and all hard negatives of the batch, as in DPR and in sentence-transformers' MultipleNegativesRankingLoss;
    without `in_batch` the query's own positive and its own negatives.

    Parameters
    ----------
    query, positive : array_like
        Floating, ``(N, D)``: row i of `positive` is the right one for row i of `query`.
    negatives : array_like, optional
        Hard negatives, floating: ``(N, K, D)``.
    temperature : float
        Above 0: what similarities are divided by.
    similarity : {"cosine", "dot"}
        Whether rows are divided by their norms first.
    in_batch : bool
        Whether what belongs to other queries counts as negative too; if not, `negatives` must be given.
    symmetric : bool
        Take the mean with the cross entropy of picking each positive's query among all queries, as CLIP does.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of queries.

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
    sentence_transformers.losses.MultipleNegativesRankingLoss
    sentence_transformers.losses.MultipleNegativesSymmetricRankingLoss : With `symmetric`.
    pytorch_metric_learning.losses.NTXentLoss
    clip_loss

    Notes
    -----
    Takes memory for some rows of the similarities, never for all of them. `value_and_grad` gives the gradient by
    `query`, by `positive`, and where there are any by `negatives`. A row of zeros has the cosine 0 with every other,
    and gradient 0.

    References
    ----------
    van den Oord, Li and Vinyals, Representation Learning with Contrastive Predictive Coding, 2018.
    Karpukhin et al., Dense Passage Retrieval for Open-Domain Question Answering, 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> q, p = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [0.0, 2.0]])
    >>> fl.info_nce_loss(q, p, temperature=1.0)
    0.479109...
    """
    name = "info_nce_loss"
    sides = [
        ("query", embedding.matrix(query, name, "query")),
        ("positive", embedding.matrix(positive, name, "positive")),
    ]
    if similarity not in ("cosine", "dot"):
        raise ValueError(f'{name}: similarity must be "cosine" or "dot", got {similarity!r}')
    if negatives is not None:
        found = arrays.floating(negatives, name, "negatives")
        if found.ndim != 3:
            raise ValueError(f"{name}: negatives must be (queries, of each, width), has shape {found.shape}")
        sides.append(("negatives", found))
    scale, unit = 1 / arrays.temperature(temperature, name), similarity == "cosine"
    if in_batch:
        kernel = softmax_both_ways if symmetric else softmax_of_rows
        return Matching(name, kernel, sides, reduction=reduction, unit=unit, scale=scale)
    if symmetric or negatives is None:
        wrong = "symmetric" if symmetric else "without negatives"
        raise ValueError(f"{name}: without in_batch each query has its own negatives alone; it cannot be {wrong}")
    return OwnCandidates(name, sides, reduction=reduction, unit=unit, scale=scale)


@loss("embedding", predictions=("image", "text", "scale"))
def clip_loss(image: ArrayLike, text: ArrayLike, scale: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""CLIP's loss: cross entropy of picking each image's text, and of picking each text's image.

    Per pair :math:`\frac12 (\log \sum_j e^{l_{ij}} + \log \sum_j e^{l_{ji}}) - l_{ii}` with
    :math:`l_{ij} = a \langle x_i, y_j \rangle`. Features are taken as they are: CLIP's have norm 1.

    Parameters
    ----------
    image, text : array_like
        Features, floating: ``(N, D)``.
    scale : array_like
        One number, `a`: CLIP learns its logarithm.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of pairs.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    open_clip.ClipLoss
    siglip_loss
    info_nce_loss : One way, with hard negatives.

    Notes
    -----
    Takes memory for some rows of the similarities, never for all of them. `value_and_grad` gives the gradient by
    `image`, `text` and `scale`.

    References
    ----------
    Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> image, text = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [0.0, 1.0]])
    >>> fl.clip_loss(image, text, 10.0)
    0.036364...
    """
    name = "clip_loss"
    factor = _scalar(scale, name, "scale")
    return Matching(
        name, softmax_both_ways, _pair(name, image=image, text=text), reduction=reduction, scale=float(factor),
        scalars=[("scale", factor)],
    )  # fmt: skip


@loss("embedding", predictions=("image", "text", "scale", "bias"))
def siglip_loss(
    image: ArrayLike, text: ArrayLike, scale: ArrayLike, bias: ArrayLike, *, reduction: str = "mean"
) -> Declaration:
    r"""SigLIP's loss: of every image and every text, whether they belong together.

    Per image :math:`\log(1 + e^{-l_{ii}}) + \sum_{j \ne i} \log(1 + e^{l_{ij}})` with
    :math:`l_{ij} = a \langle x_i, y_j \rangle + b`. Features are taken as they are: SigLIP's have norm 1.

    Parameters
    ----------
    image, text : array_like
        Features, floating: ``(N, D)``.
    scale, bias : array_like
        One number each, `a` and `b`.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of images.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape does not fit.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    open_clip.SigLipLoss
    clip_loss

    Notes
    -----
    Takes memory for some rows of the similarities, never for all of them. `value_and_grad` gives the gradient by
    `image`, `text`, `scale` and `bias`.

    References
    ----------
    Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> image, text = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [0.0, 1.0]])
    >>> fl.siglip_loss(image, text, 10.0, -5.0)
    0.687639...
    """
    name = "siglip_loss"
    factor, term = _scalar(scale, name, "scale"), _scalar(bias, name, "bias")
    return Matching(
        name, pairwise_sigmoid, _pair(name, image=image, text=text), reduction=reduction, scale=float(factor),
        bias=float(term), scalars=[("scale", factor), ("bias", term)],
    )  # fmt: skip


def _pair(loss: str, **sides: Any) -> list[tuple[str, Array]]:
    return [(name, embedding.matrix(value, loss, name)) for name, value in sides.items()]


def _scalar(value: Any, loss: str, name: str) -> Array:
    """One number, as an array."""
    found = arrays.floating(np.float64(value) if isinstance(value, (int, float)) else value, loss, name)
    if found.ndim:
        raise ValueError(f"{loss}: {name} must be one number, has shape {found.shape}")
    return found
