"""The evaluation itself: options, updates, merging, and its state to keep and send."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, whole_number
from . import binary, regression, rowdata, tokens
from .part import Figures, Part, Plain, Rows
from .state import Record
from .task import Batch, Settings, Task
from .texts import Bytes

__all__ = ["Evaluation"]

_FORMAT = "fastloss.Evaluation"
_VERSION = 1
TASKS: dict[str, Task] = {task.name: task for task in (tokens.TASK, binary.TASK, regression.TASK)}


class Evaluation:
    """Metrics of predictions against labels, accumulated over any number of updates.

    Each update reads its logits once. Sums are exact, so the result has the same bits however the rows are
    cut into updates, in whatever order they come, and however partial evaluations are merged.

    What options cost, in time and in what is kept, is in ``docs/evaluation.md``.

    Parameters
    ----------
    ignore_index : int, default -100
        Rows with this label are not evaluated; they are counted as ``ignored``. Not of regression.
    top_k : int or tuple of int, default 5
        A row counts for the top-k accuracy if its label is among the `top_k` largest logits (of equal logits
        the lower class comes first). Several numbers give several accuracies. Of tokens alone.
    task : {"tokens", "binary", "regression"}
        What the rows are: logits over classes with a class index each; single logits with a label 0 or 1 each; or
        predicted numbers with a number each.
    standard_error : bool
        Report ``standard_error``, that of the mean loss, rows taken as independent.
    ranks : bool
        Report ``mean_rank`` and ``mean_reciprocal_rank`` of the label, where rank 1 is a correct prediction.
    bytes : bool
        Report ``bits_per_byte``; every update says how many bytes its rows stand for.
    sequences : bool
        Report ``sequence_loss`` and ``sequence_perplexity``, means over sequences of what each has by itself, and
        ``sequences``, how many there were; every update says which sequence a row belongs to. A sequence may go on
        in other updates and shards: memory grows with the number of sequences.
    calibration : int
        Report ``ece``, the expected calibration error over so many bins of equal width, ``mce``, the largest of a bin,
        and ``calibration``, the bins that have rows: a reliability diagram. Of tokens and binary labels.
    brier : bool
        Report ``brier``, the Brier score: over all classes from 0 to 2, of binary labels from 0 to 1.
    quantiles : float or tuple of float
        Report ``error_q{p}`` for each p, a quantile of the absolute error to 0.5 % of its size. Of regression alone.
    worst : int
        Report ``worst``, so many rows with the largest losses, each with its position.
    groups : bool
        Report ``groups``, the plain figures of every group of rows; every update says which group a row belongs to.

    Raises
    ------
    ValueError
        If an option has a value it cannot have.

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

    def __init__(
        self,
        ignore_index: int = -100,
        top_k: int | tuple[int, ...] = 5,
        *,
        task: str = "tokens",
        standard_error: bool = False,
        ranks: bool = False,
        bytes: bool = False,
        sequences: bool = False,
        calibration: int = 0,
        brier: bool = False,
        quantiles: float | tuple[float, ...] = (),
        worst: int = 0,
        groups: bool = False,
    ) -> None:
        if task not in TASKS:
            raise ValueError(f"Evaluation: task must be one of {', '.join(map(repr, TASKS))}, got {task!r}")
        self.task = task
        self.ignore_index, self.top_k = whole_number(ignore_index, "Evaluation", "ignore_index"), top_k
        asked = {
            "standard_error": standard_error,
            "ranks": ranks,
            "bytes": bytes,
            "sequences": sequences,
            "calibration": calibration,
            "brier": brier,
            "quantiles": quantiles,
            "worst": worst,
            "groups": groups,
        }
        known = {part.name: part for part in TASKS[task].parts}
        self._options: dict[str, Any] = {}
        for name, option in asked.items():
            if name not in known:
                if option:
                    raise ValueError(f"Evaluation: {name} is no option of task {task!r}")
                continue
            checked = known[name].check(option)
            if checked:
                self._options[name] = checked
        self._settings = TASKS[task].settings(self)
        self.reset()

    @property
    def options(self) -> dict[str, Any]:
        """What another like this one is made with: its task, what that depends on, and the options that are on."""
        return {"task": self.task, **self._settings, **self._options}

    def reset(self) -> None:
        """Forget every update."""
        self._classes: int | None = None
        self._parts = self._new_parts()

    def _new_parts(self) -> dict[str, Part]:
        plain = functools.partial(_plain, self.task, self._settings)
        chosen = [part for part in TASKS[self.task].parts if part.name in self._options]
        return {"plain": plain(), **{part.name: part(self._options[part.name], plain) for part in chosen}}

    def _fields(self) -> frozenset[str]:
        return frozenset(field for part in self._parts.values() for field in part.fields)

    @property
    def _plain(self) -> Plain:
        plain = self._parts["plain"]
        assert isinstance(plain, Plain)
        return plain

    def update(
        self,
        logits: Any,
        labels: Any,
        *,
        axis: int = -1,
        groups: Any = None,
        sequences: Any = None,
        bytes: Any = None,
        positions: Any = None,
        losses: Array | None = None,
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        logits : array_like
            Unnormalised log-probabilities; any shape, with the classes along `axis`. Of binary labels the log-odds, in
            regression the predictions.
        labels : array_like of int
            The true class of every row: the shape of `logits` without `axis`. Of binary labels and in regression the
            labels and targets, in the shape of `logits`.
        axis : int, default -1
            The class axis of `logits`; tokens alone have one.
        groups, sequences : array_like of int or str
            With the option of that name: which one each row belongs to. In the shape of `labels`, or of its first
            axes: then what is given for one of those counts for all of its rows.
        bytes : int or array_like of int
            With the option `bytes`: how many bytes of text every row stands for, in the shape of `labels` (ignored rows
            do not count); or of all rows together.
        positions : int or array_like of int
            With the option `worst`: what the rows are called, in the shape of `labels`; or what the first is called
            where the others follow it. By default rows are numbered as they come, from 0: shards that are evaluated
            apart need positions of their own.
        losses : ndarray of float, optional
            Array to write each row's loss into, in the shape of `labels`; NaN where a row is not evaluated. After an
            error some of it may be written.

        Raises
        ------
        ValueError
            If the shapes do not fit, the number of classes differs from earlier updates, or an option lacks what it
            needs of each row.
        IndexError
            If a label is out of range.
        TypeError
            If a dtype is not supported.

        Notes
        -----
        After an error the evaluation is what it was before the call.
        """
        given = {"groups": groups, "sequences": sequences, "bytes": bytes, "positions": positions}
        for name, value in given.items():
            option = "worst" if name == "positions" else name
            if value is not None and option not in self._options:
                raise ValueError(f"Evaluation: update was given {name}, but the evaluation has no option {option}")
            if value is None and option in self._options and name != "positions":
                raise ValueError(f"Evaluation: with the option {option}, update needs {name}")
        batch = TASKS[self.task].read(self._settings, logits, labels, axis, self._fields())
        if self._classes not in (None, batch.classes):
            raise ValueError(f"Evaluation: logits have {batch.classes} classes, those before had {self._classes}")
        if losses is not None and losses.shape != batch.shape:
            raise ValueError(f"Evaluation: losses must have the shape of the labels, {batch.shape}, has {losses.shape}")
        if positions is None and "worst" in self._options:
            given["positions"] = self._plain.count + self._plain.ignored
        extra = rowdata.columns(given, batch.shape)
        seen = self._new_parts()
        plain, *others = seen.values()
        assert isinstance(plain, Plain)
        if others or losses is not None or not plain.update_whole(batch):
            _read_rows(batch, extra, losses, seen)
        totals = seen.get("bytes")
        if isinstance(totals, Bytes) and rowdata.is_whole(bytes):
            totals.add(int(bytes))
        self._commit(seen, batch.classes)

    def merge_state(self, others: Evaluation | Mapping[str, Any] | Iterable[Evaluation | Mapping[str, Any]]) -> None:
        """Add what one or several other evaluations have seen; they stay as they are.

        Parameters
        ----------
        others : Evaluation, dict, or iterable of them
            Evaluations with the same options and number of classes; or their states, as of :meth:`to_dict`.

        Raises
        ------
        ValueError
            If an evaluation in `others` has other options, or a state is none; nothing is merged then.

        Notes
        -----
        Merging is associative and commutative, and an evaluation without updates changes nothing.

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
        for other in [others] if isinstance(others, (Evaluation, Mapping)) else others:
            merged._merge(other)
        self.__dict__.update(merged.__dict__)

    def compute(self, *, finite: bool = False) -> Figures:
        """Return the metrics of everything seen so far.

        Parameters
        ----------
        finite : bool
            Leave rows whose loss is infinite or NaN out of the means of the loss, and of what comes from it.

        Returns
        -------
        dict
            By name, in this order; of tokens:

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

            Of binary labels: ``loss`` (binary cross entropy), ``accuracy``, ``precision``, ``recall``, ``f1`` (of
            label 1, predicted where the logit is above 0), ``auc`` (of the ROC curve, by a histogram) and
            ``auc_error`` (by how much that may be off), ``positives``, and the counts. Of regression: ``mae``,
            ``mse``, ``rmse``, ``r2``, ``count`` and ``nonfinite``.

            Means over no rows are NaN. After these come the figures of the options, in the order in which the options
            are listed.
        """
        figures: Figures = {}
        for part in self._parts.values():
            figures.update(part.compute(self._plain, finite))
        return figures

    def to_dict(self) -> dict[str, Any]:
        """Return options and state, for JSON and for :meth:`from_dict`.

        Returns
        -------
        dict
            Of numbers, texts, lists and dicts that JSON holds without loss; with the version of the format.

        Examples
        --------
        >>> import json
        >>> import fastloss as fl
        >>> evaluation = fl.Evaluation(top_k=(1, 3))
        >>> evaluation.update([[0.0, 1.0]], [1])
        >>> text = json.dumps(evaluation.to_dict())
        >>> fl.Evaluation.from_dict(json.loads(text)).compute() == evaluation.compute()
        True
        """
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "options": {name: _jsonable(option) for name, option in self.options.items()},
            "classes": self._classes,
            "parts": {name: part.to_dict() for name, part in self._parts.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation whose :meth:`to_dict` this is.

        Parameters
        ----------
        state : dict
            As it was, or as it came back from JSON.

        Raises
        ------
        ValueError
            If `state` is anything else; the message says what is wrong.
        """
        record = Record(state, "the state")
        if record.take("format", str) != _FORMAT:
            record.refuse(f"is not of an evaluation: its format must be {_FORMAT!r}")
        version = record.take("version", int)
        if version != _VERSION:
            record.refuse(f"has version {version}; this fastloss reads version {_VERSION}")
        options = record.take("options", dict)
        try:
            made = cls(**{name: _unjson(option) for name, option in options.items()})
        except (TypeError, ValueError) as error:
            record.refuse(f"has options that cannot be: {error}")
        made._classes = record.optional("classes", int)
        if made._classes is not None and made._classes < 1:
            record.refuse(f"has {made._classes} classes")
        parts = record.record("parts")
        record.done()
        for name, part in made._parts.items():
            entry = parts.record(name)
            part.load(entry, made._plain)
            entry.done()
        parts.done()
        return made

    def __repr__(self) -> str:
        options = [(name, value) for name, value in self.options.items() if (name, value) != ("task", "tokens")]
        settings = ", ".join(f"{name}={value!r}" for name, value in options)
        plain = self._plain
        seen = f"loss {plain.loss(False):.6g} over {plain.count} rows"
        return f"Evaluation({settings}): {seen}, {plain.ignored} ignored"

    def _merge(self, other: Evaluation | Mapping[str, Any]) -> None:
        if isinstance(other, Mapping):
            other = Evaluation.from_dict(other)
        if not isinstance(other, Evaluation):
            raise TypeError(f"Evaluation: cannot merge {type(other).__name__}")
        mine, theirs = self.options, other.options
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                raise ValueError(f"Evaluation: cannot merge {name}={theirs.get(name)} into {name}={mine.get(name)}")
        if None not in (self._classes, other._classes) and self._classes != other._classes:
            raise ValueError(f"Evaluation: cannot merge {other._classes} classes into {self._classes}")
        self._commit(other._parts, other._classes)

    def _commit(self, parts: dict[str, Part], classes: int | None) -> None:
        self._classes = classes if self._classes is None else self._classes
        for name, part in self._parts.items():
            part.merge(parts[name])


def _read_rows(batch: Batch, extra: dict[str, Array], losses: Array | None, parts: dict[str, Part]) -> None:
    """Give parts the rows of a batch with what is known of each beside it, a block at a time."""
    first = 0
    flat: Any = losses
    if losses is not None:
        flat = losses.reshape(-1) if losses.flags.c_contiguous else losses.flat
    for fields, kept in batch.blocks():
        size = len(next(iter(fields.values())))
        fields.update({name: values[first : first + size] for name, values in extra.items()})
        if flat is not None:
            flat[first : first + size] = fields["loss"] if kept is None else np.where(kept, fields["loss"], np.nan)
        first += size
        rows = Rows(fields, kept, batch.classes)
        for part in parts.values():
            part.update(rows)


def _plain(task: str, settings: Settings) -> Plain:
    return TASKS[task].plain(settings, functools.partial(_plain, task, settings))


def _jsonable(option: Any) -> Any:
    return list(option) if isinstance(option, tuple) else option


def _unjson(option: Any) -> Any:
    return tuple(option) if isinstance(option, list) else option
