"""Evaluation: a language model's or classifier's metrics, accumulated over batches, files and workers."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .exactsum import ExactSum
from .softmax import score

__all__ = ["Evaluation"]


class Evaluation:
    """Metrics of logits against labels, accumulated over any number of updates.

    Each update reads its logits once. Sums are exact, so the result has the same bits however the rows are
    cut into updates, in whatever order they come, and however partial evaluations are merged.

    Parameters
    ----------
    ignore_index : int, default -100
        Rows with this label are not evaluated; they are counted as ``ignored``.
    top_k : int, default 5
        A row counts for the top-k accuracy if its label is among the `top_k` largest logits (of equal logits
        the lower class comes first).

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> evaluation = fl.Evaluation(top_k=2)
    >>> evaluation.update(np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]]), np.array([0, 2]))
    >>> evaluation.update(np.array([[0.0, 0.0, 0.0]]), np.array([-100]))
    >>> evaluation
    Evaluation(ignore_index=-100, top_k=2): loss 1.28873 over 2 rows, 1 ignored
    >>> for name, value in evaluation.compute().items():
    ...     print(f"{name:14} {value:.4f}")
    loss           1.2887
    perplexity     3.6282
    bits_per_token 1.8592
    accuracy       0.5000
    top2_accuracy  1.0000
    entropy        0.6783
    count          2.0000
    ignored        1.0000
    nonfinite      0.0000
    """

    def __init__(self, ignore_index: int = -100, top_k: int = 5) -> None:
        self.ignore_index = operator.index(ignore_index)
        self.top_k = operator.index(top_k)
        if self.top_k < 1:
            raise ValueError(f"Evaluation: top_k must be at least 1, got {top_k}")
        self.reset()

    def reset(self) -> None:
        """Forget every update."""
        self._classes: int | None = None
        self._loss = ExactSum()
        self._entropy = ExactSum()
        self._count = 0
        self._ignored = 0
        self._nonfinite = 0
        self._correct = 0
        self._in_top_k = 0

    def update(self, logits: Any, labels: Any, *, axis: int = -1) -> None:
        """Add a batch.

        Parameters
        ----------
        logits : array_like
            Unnormalised log-probabilities; any shape, with the classes along `axis`.
        labels : array_like of int
            The true class of every row: the shape of `logits` without `axis`.
        axis : int, default -1
            The class axis of `logits`.

        Raises
        ------
        ValueError
            If the shapes do not fit, or the number of classes differs from earlier updates.
        IndexError
            If a label is out of range.
        TypeError
            If a dtype is not supported.

        Notes
        -----
        After an error the evaluation is what it was before the call.
        """
        classes = self._check_classes(np.shape(logits), axis)
        rows = score(logits, labels, ignore_index=self.ignore_index, axis=axis)
        rank = rows.rank.reshape(-1)
        loss = np.negative(rows.log_prob).reshape(-1)
        entropy = rows.entropy.reshape(-1)
        kept = rank >= 0
        count = int(np.count_nonzero(kept))
        if count < rank.size:
            rank, loss, entropy = rank[kept], loss[kept], entropy[kept]
        self._classes = classes
        self._loss.add(loss)
        self._entropy.add(entropy)
        self._count += count
        self._ignored += kept.size - count
        self._nonfinite += count - int(np.count_nonzero(np.isfinite(loss)))
        self._correct += int(np.count_nonzero(rank == 0))
        self._in_top_k += int(np.count_nonzero(rank < min(self.top_k, classes)))

    def merge_state(self, others: Evaluation | Iterable[Evaluation]) -> None:
        """Add what one or several other evaluations have seen; they stay as they are.

        Parameters
        ----------
        others : Evaluation or iterable of Evaluation
            Evaluations with the same `ignore_index`, `top_k` and number of classes.

        Raises
        ------
        ValueError
            If an evaluation in `others` has other parameters; nothing is merged then.

        Examples
        --------
        >>> import fastloss as fl
        >>> parts = [fl.Evaluation(), fl.Evaluation()]
        >>> for part, label in zip(parts, [0, 1]):
        ...     part.update([[0.0, 0.0]], [label])
        >>> total = fl.Evaluation()
        >>> total.merge_state(parts)
        >>> total.compute()["count"], total.compute()["accuracy"]
        (2, 0.5)
        """
        merged = copy.deepcopy(self)
        for other in [others] if isinstance(others, Evaluation) else others:
            merged._merge(other)
        self.__dict__.update(merged.__dict__)

    def compute(self) -> dict[str, float]:
        """Return the metrics of everything seen so far.

        Returns
        -------
        dict of str to float
            In this order:

            ``loss``
                Mean negative log-likelihood of the labels, in nats.
            ``perplexity``
                ``exp(loss)``; infinite where that overflows.
            ``bits_per_token``
                ``loss / log(2)``.
            ``accuracy``
                Fraction of rows whose label is the (first) largest logit.
            ``top{k}_accuracy``
                Fraction of rows whose label is among the `top_k` largest logits.
            ``entropy``
                Mean entropy of the predicted distributions, in nats.
            ``count``, ``ignored``
                Number of rows evaluated, and of rows left out for their label (int).
            ``nonfinite``
                Number of evaluated rows whose loss is infinite or NaN, and with it ``loss`` (int).

            Means over no rows are NaN.
        """
        loss = self._loss.mean(self._count)
        return {
            "loss": loss,
            "perplexity": _exp(loss),
            "bits_per_token": loss / math.log(2.0),
            "accuracy": self._fraction(self._correct),
            f"top{self.top_k}_accuracy": self._fraction(self._in_top_k),
            "entropy": self._entropy.mean(self._count),
            "count": self._count,
            "ignored": self._ignored,
            "nonfinite": self._nonfinite,
        }

    def __repr__(self) -> str:
        settings = f"Evaluation(ignore_index={self.ignore_index}, top_k={self.top_k})"
        seen = f"loss {self._loss.mean(self._count):.6g} over {self._count} rows"
        return f"{settings}: {seen}, {self._ignored} ignored"

    def _check_classes(self, shape: tuple[int, ...], axis: int) -> int:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"Evaluation: axis {axis} is out of range for logits of shape {shape}")
        classes = shape[axis]
        if self._classes not in (None, classes):
            raise ValueError(f"Evaluation: logits have {classes} classes, those before had {self._classes}")
        return classes

    def _merge(self, other: Evaluation) -> None:
        if not isinstance(other, Evaluation):
            raise TypeError(f"Evaluation: cannot merge {type(other).__name__}")
        for name in ("ignore_index", "top_k"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"Evaluation: cannot merge {name}={theirs} into {name}={mine}")
        if None not in (self._classes, other._classes) and self._classes != other._classes:
            raise ValueError(f"Evaluation: cannot merge {other._classes} classes into {self._classes}")
        self._classes = other._classes if self._classes is None else self._classes
        self._loss.merge(other._loss)
        self._entropy.merge(other._entropy)
        for name in ("_count", "_ignored", "_nonfinite", "_correct", "_in_top_k"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def _fraction(self, rows: int) -> float:
        return rows / self._count if self._count else math.nan


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
