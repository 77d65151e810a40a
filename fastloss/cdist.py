"""Matrices of distances: of all rows from all others."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .loss import Declaration, loss
from .run_distances import AllDistances, Condensed

__all__ = ["cdist", "pdist"]


@loss("embedding", grad_output=True, predictions=("x1", "x2"))
def cdist(x1: ArrayLike, x2: ArrayLike, p: float = 2.0) -> Declaration:
    r"""Distances of every row of one matrix from every row of another.

    Per pair of rows :math:`\lVert x_i - y_j \rVert_p`, as ``torch.cdist``. The gradient of a distance of 0 is 0.

    Parameters
    ----------
    x1, x2 : array_like
        Floating, ``(..., M, D)`` and ``(..., N, D)``; what is before the last two axes broadcasts.
    p : float
        Of the norm: from 0, which counts what differs, to infinity, the largest difference.

    Returns
    -------
    ndarray
        ``(..., M, N)``; float64 for float64 input, else float32.

    Raises
    ------
    ValueError
        If a shape does not fit, or `p` is negative.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.cdist
    scipy.spatial.distance.cdist
    sklearn.metrics.pairwise_distances
    pairwise_distance : Of rows one by one.

    Notes
    -----
    Euclidean distances come from products that BLAS makes, :math:`\lVert x \rVert^2 + \lVert y \rVert^2 - 2 x y`, and
    where that would cancel from the difference itself: near rows lose nothing, and the distance of equal rows is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.cdist(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 0.0]]))
    array([[0., 3.],
           [5., 4.]])
    """
    return AllDistances("cdist", x1, x2, p)


@loss("embedding", grad_output=True)
def pdist(input: ArrayLike, p: float = 2.0) -> Declaration:
    r"""Distances between the rows of a matrix.

    Per pair of rows :math:`\lVert x_i - x_j \rVert_p` with :math:`i < j`, as ``torch.nn.functional.pdist``. The
    gradient of a distance of 0 is 0.

    Parameters
    ----------
    input : array_like
        Floating, ``(N, D)``.
    p : float
        Of the norm: from 0, which counts what differs, to infinity, the largest difference.

    Returns
    -------
    ndarray
        ``(N (N - 1) / 2,)``: row 0 with rows 1, 2, ..., then row 1 with rows 2, ...; float64 for float64 input, else
        float32.

    Raises
    ------
    ValueError
        If a shape does not fit, or `p` is negative.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.pdist
    scipy.spatial.distance.pdist
    cdist

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.pdist(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]]))
    array([5., 3., 4.])
    """
    return Condensed("pdist", input, p)
