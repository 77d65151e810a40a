"""The losses of cosines and distances between rows: of pairs and of triplets."""

from __future__ import annotations

from numpy.typing import ArrayLike

from . import arrays
from .loss import Declaration, loss
from .run_rowsums import RowSums

__all__ = ["cosine_similarity"]


@loss("rowwise", grad_output=True)
def cosine_similarity(x1: ArrayLike, x2: ArrayLike, axis: int = -1, eps: float = 1e-8) -> Declaration:
    r"""Cosine of the angle between rows.

    Per row :math:`\frac{x \cdot y}{\max(\lVert x \rVert, \epsilon) \max(\lVert y \rVert, \epsilon)}`, as
    ``torch.nn.functional.cosine_similarity``, gradient included: that of a norm below `eps` is the norm's own.

    Parameters
    ----------
    x1, x2 : array_like
        Floating; they broadcast.
    axis : int
        The axis of the common shape along which the rows lie; torch's is 1.
    eps : float
        The least that a norm counts for. Where it is 0, so is the cosine with a row of zeros.

    Returns
    -------
    ndarray
        One per row: float64 for float64 input, else float32.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, there is no such axis, or `eps` is negative.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.cosine_similarity
    optax.losses.cosine_similarity
    keras.losses.CosineSimilarity : Its negative.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.cosine_similarity(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([1.0, 0.0]))
    array([1. , 0.6])
    """
    name = "cosine_similarity"
    if not arrays.number(eps, name, "eps") >= 0:
        raise ValueError(f"{name}: eps must not be negative, got {eps!r}")
    return RowSums(name, name, [("x1", x1), ("x2", x2)], axis=axis, reduction="none", params=(eps,))
