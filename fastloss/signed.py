"""Losses of a margin with a sign -1 or +1: how far a prediction is on the side that the sign asks for."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .arrays import LARGEST, in_two, number_in
from .loss import Declaration, loss
from .run import Pointwise

__all__ = [
    "exponential_loss",
    "hinge_embedding_loss",
    "hinge_loss",
    "margin_ranking_loss",
    "soft_margin_loss",
    "squared_hinge_loss",
]


@loss("pointwise", hess=True)
def soft_margin_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Logistic loss of signs.

    Per element :math:`\log(1 + e^{-t x})`, as ``torch.nn.functional.soft_margin_loss``, and finite wherever x is.

    Parameters
    ----------
    input : array_like
        Margins; floating.
    target : array_like
        -1 and +1, of any floating or signed integer dtype; broadcasts with `input`.
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
    torch.nn.functional.soft_margin_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.soft_margin_loss([0.0, -1000.0], [1, 1], reduction="none").round(4)
    array([6.931e-01, 1.000e+03])
    """
    return Pointwise("soft_margin_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise", hess=True)
def exponential_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Exponential loss of signs: AdaBoost's.

    Per element :math:`e^{-t x}`.

    Parameters
    ----------
    input : array_like
        Margins; floating.
    target : array_like
        -1 and +1, of any floating or signed integer dtype; broadcasts with `input`.
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
    sklearn.ensemble.GradientBoostingClassifier : its ``loss="exponential"``

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.exponential_loss([0.0, 1.0], [1, -1], reduction="none").round(4)
    array([1.    , 2.7183])
    """
    return Pointwise("exponential_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise")
def hinge_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Hinge loss of signs.

    Per element :math:`\max(0, 1 - t x)`. Its slope where this is just 0 is taken as 0.

    Parameters
    ----------
    input : array_like
        Margins; floating.
    target : array_like
        -1 and +1, of any floating or signed integer dtype; broadcasts with `input`.
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
    optax.losses.hinge_loss
    sklearn.metrics.hinge_loss
    keras.losses.Hinge

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.hinge_loss([0.5, 2.0, 2.0], [1, 1, -1], reduction="none")
    array([0.5, 0. , 3. ])
    """
    return Pointwise("hinge_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise", hess=True)
def squared_hinge_loss(input: ArrayLike, target: ArrayLike, *, reduction: str = "mean") -> Declaration:
    r"""Squared hinge loss of signs.

    Per element :math:`\max(0, 1 - t x)^2`.

    Parameters
    ----------
    input : array_like
        Margins; floating.
    target : array_like
        -1 and +1, of any floating or signed integer dtype; broadcasts with `input`.
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
    keras.losses.SquaredHinge

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.squared_hinge_loss([0.5, 2.0, 2.0], [1, 1, -1], reduction="none")
    array([0.25, 0.  , 9.  ])
    """
    return Pointwise("squared_hinge_loss", [("input", input)], [("target", target)], reduction=reduction)


@loss("pointwise")
def hinge_embedding_loss(
    input: ArrayLike, target: ArrayLike, margin: float = 1.0, *, reduction: str = "mean"
) -> Declaration:
    r"""Distances small for the sign +1, and beyond a margin for -1.

    Per element :math:`x` if t = 1 and :math:`\max(0, m - x)` if t = -1, as
    ``torch.nn.functional.hinge_embedding_loss``; their sum for any other t.

    Parameters
    ----------
    input : array_like
        Distances; floating.
    target : array_like
        -1 and +1, of any floating or signed integer dtype; broadcasts with `input`.
    margin : float
        The margin m.
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
    torch.nn.functional.hinge_embedding_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.hinge_embedding_loss([0.25, 0.25, 3.0], [1, -1, -1], reduction="none")
    array([0.25, 0.75, 0.  ])
    """
    name = "hinge_embedding_loss"
    params = in_two(number_in(margin, name, "margin", -LARGEST))
    return Pointwise(name, [("input", input)], [("target", target)], reduction=reduction, params=params)


@loss("pointwise", predictions=("input1", "input2"))
def margin_ranking_loss(
    input1: ArrayLike, input2: ArrayLike, target: ArrayLike, margin: float = 0.0, *, reduction: str = "mean"
) -> Declaration:
    r"""How far two predictions are from the order that a sign asks for.

    Per element :math:`\max(0, m - t (x_1 - x_2))`, as ``torch.nn.functional.margin_ranking_loss``. It is differentiated
    by both predictions.

    Parameters
    ----------
    input1, input2 : array_like
        Predictions; floating. They broadcast.
    target : array_like
        +1 where `input1` should be larger, -1 where `input2` should; broadcasts.
    margin : float
        By how much, m.
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
    torch.nn.functional.margin_ranking_loss

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.margin_ranking_loss.value_and_grad([1.0, 2.0], [3.0, 0.0], [1, 1], reduction="sum")
    (2.0, (array([-1.,  0.]), array([1., 0.])))
    """
    name = "margin_ranking_loss"
    return Pointwise(
        name,
        [("input1", input1), ("input2", input2)],
        [("target", target)],
        reduction=reduction,
        params=(number_in(margin, name, "margin", -LARGEST),),
    )
