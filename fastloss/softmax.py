"""What softmax is made of, per row of classes: logsumexp, softmax, log_softmax, and score, which is all at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arrays
from .loss import Declaration, loss
from .run import RowMap, Rowwise

__all__ = ["Score", "log_softmax", "logsumexp", "score", "softmax"]


class _LogSumExp(Rowwise):
    """logsumexp, whose value may keep the class axis."""

    __slots__ = ("keepdims",)
    keepdims: bool

    def _shaped(self, value: NDArray[Any]) -> NDArray[Any]:
        return np.expand_dims(value, self.axis) if self.keepdims else value

    def value(self) -> Any:
        return self._shaped(super().value())

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        value, grad = super().value_and_grad(out, grad_output)
        return self._shaped(value), grad


@loss("rowwise", grad_output=True)
def logsumexp(input: ArrayLike, axis: int = -1, keepdims: bool = False) -> Declaration:
    r"""Logarithm of the sum of exponentials: :math:`\log \sum_j e^{x_j}`, without overflow.

    As ``torch.logsumexp`` and ``scipy.special.logsumexp``. Its gradient is the softmax; of a row that is all -inf the
    value is -inf and the gradient 0.

    Parameters
    ----------
    input : array_like
        Floating.
    axis : int
        The axis to sum along.
    keepdims : bool
        Whether the result keeps that axis, with length 1.

    Returns
    -------
    ndarray
        float64 for float64 input, else float32.

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torch.logsumexp
    scipy.special.logsumexp
    jax.nn.logsumexp

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.logsumexp(np.array([[1000.0, 1000.0], [0.0, -np.inf]])).round(4)
    array([1000.6931,    0.    ])
    """
    declared = _LogSumExp("logsumexp", "logsumexp", input, axis, reduction="none")
    declared.keepdims = keepdims
    return declared


@loss("rowwise", grad_output=True)
def softmax(input: ArrayLike, axis: int = -1) -> Declaration:
    r"""Softmax: :math:`e^{x_j} / \sum_k e^{x_k}`.

    Parameters
    ----------
    input : array_like
        Floating.
    axis : int
        The class axis.

    Returns
    -------
    ndarray
        Of the shape and dtype of `input`. A row that is all -inf gives NaN.

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torch.nn.functional.softmax
    scipy.special.softmax
    jax.nn.softmax

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.softmax(np.array([0.0, 0.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """
    return RowMap("softmax", input, axis)


@loss("rowwise", grad_output=True)
def log_softmax(input: ArrayLike, axis: int = -1) -> Declaration:
    r"""Logarithm of the softmax: :math:`x_j - \log \sum_k e^{x_k}`.

    Parameters
    ----------
    input : array_like
        Floating.
    axis : int
        The class axis.

    Returns
    -------
    ndarray
        Of the shape and dtype of `input`. A row that is all -inf gives NaN.

    Raises
    ------
    ValueError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    torch.nn.functional.log_softmax
    scipy.special.log_softmax
    jax.nn.log_softmax

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> fl.log_softmax(np.array([0.0, 40.0]))
    array([-4.00000000e+01, -4.24835426e-18])
    """
    return RowMap("log_softmax", input, axis)


class Score(NamedTuple):
    """What one read of the logits says of each row."""

    log_prob: NDArray[Any]
    """Log-probability of the target; 0 where the row is ignored."""
    entropy: NDArray[Any]
    """Shannon's entropy of the row, in nats."""
    rank: NDArray[np.int64]
    """Classes before the target by falling logit, ties by index: 0 is a correct prediction; -1 where ignored."""
    prediction: NDArray[np.int64]
    """The first largest class; -1 where the row has a NaN."""
    logsumexp: NDArray[Any]
    """The row's logsumexp."""


class _Score(Rowwise):
    """score: five arrays per row instead of one."""

    __slots__ = ()

    def value(self) -> Score:
        shape, dtype = arrays.row_shape(self.input, self.axis), np.float64 if self.double else np.float32
        log_prob, entropy, logsumexp = (np.empty(shape, dtype) for _ in range(3))
        rank, prediction = np.empty(shape, np.int64), np.empty(shape, np.int64)
        self._run(self.code, value=log_prob, extra=(rank, prediction, entropy, logsumexp))
        return Score(log_prob, entropy, rank, prediction, logsumexp)


@loss("rowwise", grad=False)
def score(input: ArrayLike, target: ArrayLike, *, ignore_index: int = -100, axis: int = -1) -> Declaration:
    r"""All that evaluation asks of each row, from one read of the logits.

    Per row

    .. math:: \log p_t, \quad -\sum_j p_j \log p_j, \quad |\{j : x_j > x_t\}|, \quad \operatorname{argmax}_j x_j,
              \quad \log \sum_j e^{x_j},

    with p the softmax of the logits x; ties count by class.

    Parameters
    ----------
    input : array_like
        Logits, floating, with the classes along `axis`.
    target : array_like
        Class indices of any integer dtype, in the shape of `input` without `axis`.
    ignore_index : int
        Rows with this label get log_prob 0 and rank -1.
    axis : int
        The class axis.

    Returns
    -------
    Score
        Named tuple of arrays, one element per row: ``log_prob, entropy, rank, prediction, logsumexp``.

    Raises
    ------
    ValueError, IndexError, TypeError
        As :func:`cross_entropy`.

    See Also
    --------
    selective_log_softmax : the first alone
    entropy : the second alone
    cross_entropy

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> found = fl.score(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]), [2, 0])
    >>> found.rank, found.prediction
    (array([1, 0]), array([1, 0]))
    >>> found.log_prob.round(4)
    array([-1.4076, -1.0986])
    """
    return _Score("score", "score", input, axis, reduction="none", label=target, ignore_index=ignore_index)
