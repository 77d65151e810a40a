"""Losses in scikit-learn: its ``log_loss`` without the one-hot matrix, and scorers from any loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import metrics

from .arrays import Array
from .binary import binary_cross_entropy
from .boosting import Metric
from .loss import Loss
from .run_rowsums import RowSums

__all__ = ["Score", "log_loss", "scorer"]


def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike | None = None,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    check_input: bool = True,
) -> float:
    r"""Log loss of predicted probabilities, as :func:`sklearn.metrics.log_loss`.

    The mean of :math:`-\log p_{i, y_i}`, with probabilities clipped to :math:`[\epsilon, 1 - \epsilon]` for the
    :math:`\epsilon` of their dtype. scikit-learn's own makes a one-hot matrix and takes logarithms of everything; this
    reads the probabilities once, to check them, and takes logarithms of one in a row.

    Parameters
    ----------
    y_true : array_like of shape (n,)
        Labels: numbers or strings.
    y_proba : array_like of shape (n, K) or (n,)
        Probabilities of the classes in the order of the sorted labels, or of the second of two.
    normalize : bool
        Whether to return the mean; if not, the sum.
    sample_weight : array_like of shape (n,), optional
        Weights of the rows.
    labels : array_like of shape (K,), optional
        The labels there are. Default: those in `y_true`.
    y_pred : array_like
        What `y_proba` was called before scikit-learn 1.9.
    check_input : bool
        Whether to look at the probabilities of all classes: are they in [0, 1], and do rows add up to 1? If not, no
        others are read than those of the rows' own classes. Not in scikit-learn.

    Returns
    -------
    float

    Raises
    ------
    ValueError, TypeError
        As scikit-learn, and with its warnings: for whatever is not probabilities of floating dtype with labels and
        weights that fit, the answer is that of :func:`sklearn.metrics.log_loss` itself.

    See Also
    --------
    sklearn.metrics.log_loss
    fastloss.cross_entropy : From logits.

    Examples
    --------
    >>> from fastloss.sklearn import log_loss
    >>> proba = [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]
    >>> round(log_loss(["spam", "ham", "ham", "spam"], proba), 5)
    0.21616
    """
    if (y_proba is None) == (y_pred is None):
        raise TypeError("log_loss: give either y_proba or y_pred, which is its older name")
    given = y_pred if y_proba is None else y_proba
    chosen = _chosen(y_true, np.asarray(given), labels, check_input)
    weight = None if sample_weight is None else np.asarray(sample_weight)
    if chosen is None or not _are_weights(weight, chosen):
        theirs = metrics.log_loss(y_true, given, normalize=normalize, sample_weight=sample_weight, labels=labels)
        return float(theirs)
    eps = np.finfo(chosen.dtype).eps
    total: float = binary_cross_entropy(np.clip(chosen, eps, 1 - eps), np.True_, weight, reduction="sum")
    if not normalize:
        return total
    return total / (len(chosen) if weight is None else float(weight.sum(dtype=np.float64)))


def _chosen(y_true: ArrayLike, probabilities: Array, labels: ArrayLike | None, check_all: bool) -> Array | None:
    """The probability of each row's own class; None where scikit-learn would say something, or has to decide."""
    if probabilities.dtype not in (np.float32, np.float64) or probabilities.ndim not in (1, 2):
        return None
    numbered = _class_numbers(np.asarray(y_true), None if labels is None else np.asarray(labels))
    if numbered is None or len(numbered[0]) != len(probabilities):
        return None
    numbers, classes = numbered
    columns = 1 if probabilities.ndim == 1 else probabilities.shape[1]
    if len(classes) != max(columns, 2):
        return None
    rows = probabilities.reshape(-1, columns)
    if columns == 1:
        rows = np.concatenate([1 - rows, rows], axis=1)
    chosen = rows[np.arange(len(rows)), numbers]
    return chosen if _are_probabilities(rows if check_all else chosen[:, None]) else None


def _class_numbers(y: Array, labels: Array | None) -> tuple[Array, Array] | None:
    """Each label's number among the sorted classes, and these; None where it is not plain how to sort them."""
    known = y if labels is None else labels
    if y.ndim != 1 or known.ndim != 1 or not (y.size and known.size and _sortable(y) and _sortable(known)):
        return None
    if (y.dtype.kind in "biuf") != (known.dtype.kind in "biuf"):
        return None
    classes = _distinct(known)
    if labels is not None and not np.array_equal(labels, classes):
        return None
    if classes.dtype.kind in "biu" and classes[0] == 0 and classes[-1] == len(classes) - 1:
        numbers = y
    else:
        numbers = np.searchsorted(classes, y)
    if labels is not None and not np.array_equal(classes[np.clip(numbers, 0, len(classes) - 1).astype(np.intp)], y):
        return None
    return numbers.astype(np.intp, copy=False), classes


def _distinct(labels: Array) -> Array:
    """Sorted; of small whole numbers by counting them."""
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < labels.size:
        return np.flatnonzero(np.bincount(labels.astype(np.intp, copy=False)))
    return np.unique(labels)


def _sortable(labels: Array) -> bool:
    """Whether these are numbers of classes, or strings."""
    if labels.dtype.kind == "f":
        return bool(np.isfinite(labels).all() and (labels == np.floor(labels)).all())
    return labels.dtype.kind in "biuU" or (labels.dtype.kind == "O" and set(map(type, labels)) == {str})


def _are_probabilities(found: Array) -> bool:
    """Whether all are in [0, 1], and the rows of several add up to 1 so well that scikit-learn is silent."""
    sums = RowSums("log_loss", "total_probability", [("y_proba", found)], reduction="none").value()
    # Nearer to the tolerance than this, scikit-learn's own sum decides.
    tolerance = 0.99 * np.sqrt(np.finfo(found.dtype).eps) if found.shape[1] > 1 else 1
    return bool((np.abs(sums - 1) <= tolerance).all())


def _are_weights(weight: Array | None, rows: Array) -> bool:
    """Whether scikit-learn would take these weights without a word."""
    if weight is None:
        return True
    return bool(
        weight.dtype.kind in "biuf" and weight.shape == rows.shape and np.isfinite(weight).all() and weight.sum() != 0
    )


class Score:
    """The mean of a loss, called as scikit-learn's metrics are: ``(y_true, y_pred, sample_weight=None)``.

    Parameters
    ----------
    loss : Loss
        Of one number per prediction or per row of classes.
    response_method : str
        What `y_pred` is the result of. Unless "predict", the labels of classes become their numbers.
    labels : array_like, optional
        The labels there are. Default: those in `y_true`.
    **options
        Parameters of the loss.
    """

    def __init__(self, loss: Loss[...], response_method: str, labels: ArrayLike | None = None, **options: Any) -> None:
        self.metric = Metric(loss, **options)
        self.response_method, self.labels = response_method, labels
        self.__name__ = loss.name

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The mean, weighted."""
        target, predictions = np.asarray(y_true), np.asarray(y_pred)
        if self.response_method != "predict" and target.ndim == 1:
            numbered = _class_numbers(target, None if self.labels is None else np.asarray(self.labels))
            columns = predictions.shape[1] if predictions.ndim == 2 else 2
            if numbered is None:
                raise ValueError(f"{self.__name__}: labels must be the sorted classes, of which all of y_true are")
            if len(numbered[1]) != columns:
                raise ValueError(
                    f"{self.__name__}: predictions are of {columns} classes, the labels of {len(numbered[1])}: "
                    "name all of them by labels="
                )
            target = numbered[0]
        return self.metric.mean(target, predictions, sample_weight)


def scorer(
    loss: Loss[...], *, response_method: str = "predict", labels: ArrayLike | None = None, **options: Any
) -> Callable[..., float]:
    """Make a scorer from a loss: the negative mean, for ``cross_val_score``, ``GridSearchCV`` and the like.

    Parameters
    ----------
    loss : Loss
        One with a gradient, of one number per prediction or per row of classes.
    response_method : {"predict", "decision_function", "predict_proba"}
        The method of the estimator that makes predictions: numbers, logits, or probabilities. With the latter two the
        labels of classes become their numbers, in sorted order: of two classes 0 and 1 (for losses of signs -1 and 1).
    labels : array_like, optional
        The labels there are, sorted; needed where a part of the data may lack one. Default: those in the data.
    **options
        Parameters of the loss.

    Returns
    -------
    callable
        A scorer as of :func:`sklearn.metrics.make_scorer`, which greater is better of; it takes ``sample_weight``.

    Raises
    ------
    TypeError
        If `loss` is not such a loss, or an option is none of its parameters.
    ValueError
        When called, if labels and predictions do not fit.

    See Also
    --------
    sklearn.metrics.make_scorer

    Examples
    --------
    >>> import fastloss as fl
    >>> from fastloss.sklearn import scorer
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> x, y = load_iris(return_X_y=True)
    >>> scoring = scorer(fl.cross_entropy, response_method="decision_function")
    >>> cross_val_score(LogisticRegression(max_iter=1000), x, y, scoring=scoring).round(2)
    array([-0.15, -0.11, -0.19, -0.15, -0.11])
    """
    score = Score(loss, response_method, labels, **options)
    made: Callable[..., float] = metrics.make_scorer(score, response_method=response_method, greater_is_better=False)
    return made
