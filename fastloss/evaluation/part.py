"""What an evaluation is made of: rows that were read, and parts that add them up."""

from __future__ import annotations

import abc
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
from ..exactsum import ExactSum
from .state import Record

__all__ = ["Figures", "Part", "Plain", "Rows", "exp", "is_key", "key_order"]

Figures = dict[str, Any]
"""What is computed, by name, in the order in which it is shown."""


class Rows:
    """Rows of a batch that were read: of those evaluated an array for each field, and how many were left out.

    Parameters
    ----------
    fields : dict of str to ndarray
        By name, each with one element for every row of the batch.
    kept : ndarray of bool or None
        Which rows are evaluated; None: all.
    classes : int or None
        How many classes there are.
    """

    __slots__ = ("classes", "count", "fields", "ignored", "left")

    def __init__(self, fields: dict[str, Array], kept: Array | None, classes: int | None) -> None:
        size = len(next(iter(fields.values())))
        self.fields, self.classes = fields, classes
        self.left: dict[str, Array] = {}
        if kept is not None:
            self.fields = {name: values[kept] for name, values in fields.items()}
            self.left = {name: values[~kept] for name, values in fields.items() if name in _KEPT_OF_IGNORED}
        self.count = len(next(iter(self.fields.values())))
        self.ignored = size - self.count

    def __getitem__(self, name: str) -> Array:
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def slice(self, first: int, last: int) -> Rows:
        """Some of the rows evaluated, one after the other."""
        return Rows({name: values[first:last] for name, values in self.fields.items()}, None, self.classes)

    def by(self, name: str, fields: tuple[str, ...]) -> tuple[list[Any], Array, Rows]:
        """The distinct values of a field, where the rows of each begin and the end, and `fields` in that order."""
        keys = self.fields[name]
        rows = Rows({field: self.fields[field] for field in fields}, None, self.classes)
        if self.count > 1 and not (keys[1:] >= keys[:-1]).all():
            order = np.argsort(_narrow(keys), kind="stable")
            rows.fields = {field: values[order] for field, values in rows.fields.items()}
            keys = keys[order]
        starts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        first = np.array([0, *starts.tolist(), self.count] if self.count else [0], np.int64)
        return keys[first[:-1]].tolist(), first, rows

    def left_by(self, name: str) -> dict[Any, int]:
        """How many ignored rows have each value of a field."""
        if name not in self.left:
            return {}
        found, counts = np.unique(self.left[name], return_counts=True)
        return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _narrow(keys: Array) -> Array:
    """Numbers in the same order, of 16 bits where they lie close together: NumPy sorts those in linear time."""
    if keys.dtype.kind == "i":
        low = int(keys.min())
        if int(keys.max()) - low < 1 << 16:
            return (keys - low).astype(np.uint16)
    return keys


_KEPT_OF_IGNORED = ("groups",)


class Part(abc.ABC):
    """Something that is added up over rows. Its state is exact: no order and no grouping of updates and merges shows.

    A part is made from its option's value; one made anew is the identity of :meth:`merge`.
    """

    name: ClassVar[str]
    """The option that asks for it."""
    fields: ClassVar[tuple[str, ...]] = ()
    """What it needs of each row."""

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        self.option, self.plain = option, plain

    @classmethod
    def check(cls, option: Any) -> Any:
        """Return the option's value as it is kept; what is not true switches the part off."""
        if not isinstance(option, (bool, np.bool_)):
            raise ValueError(f"Evaluation: {cls.name} must be True or False, got {option!r}")
        return bool(option)

    @classmethod
    def whole(cls, option: Any, low: int, high: int = 2**63 - 1) -> int:
        """Return an option that is a whole number."""
        try:
            number = operator.index(option)
        except TypeError:
            raise ValueError(f"Evaluation: {cls.name} must be a whole number, got {option!r}") from None
        if not low <= number <= high:
            raise ValueError(f"Evaluation: {cls.name} must be from {low} to {high}, got {option!r}")
        return number

    @abc.abstractmethod
    def update(self, rows: Rows) -> None:
        """Add rows."""

    @abc.abstractmethod
    def merge(self, other: Any) -> None:
        """Add what another part of the same option has seen."""

    @abc.abstractmethod
    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures; `plain` holds those of the task, `finite` leaves out rows without a finite loss."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the state in numbers, texts and lists that JSON has."""

    @abc.abstractmethod
    def load(self, record: Record, plain: Plain) -> None:
        """Take the state that :meth:`to_dict` gave, after `plain` took its own."""


class Plain(Part):
    """The figures every evaluation of a task has: at least how many rows there were, and of what loss."""

    name = "plain"

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._loss = ExactSum()
        self.count = self.ignored = 0

    @property
    def nonfinite(self) -> int:
        """How many losses are infinite or NaN."""
        return self._loss.nonfinite

    @property
    def missing(self) -> int:
        """How many losses are NaN."""
        return self._loss.nan

    def update_whole(self, batch: Any) -> bool:
        """Add a batch of which no row is wanted by itself, if there is a quicker way for that; whether there was."""
        return False

    def loss(self, finite: bool) -> float:
        """Return the mean loss."""
        return self._loss.mean(self.count, finite=finite)

    def merge(self, other: Any) -> None:
        """Add what another has seen."""
        self._loss.merge(other._loss)
        self.count += other.count
        self.ignored += other.ignored

    def segments(self, rows: Rows, first: Array) -> Iterator[Plain]:
        """A part for each segment of rows, that has seen nothing else; `first` says where they begin, and the end."""
        for start, end in itertools.pairwise(first.tolist()):
            made = self.plain()
            made.update(rows.slice(start, end))
            yield made


def exp(value: float) -> float:
    """The exponential; infinite where it overflows."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def is_key(value: Any) -> bool:
    """Whether this may name a group or a sequence."""
    return type(value) is str or (type(value) is int and -(2**63) <= value < 2**63)


def key_order(key: Any) -> tuple[bool, Any]:
    """Integers in order, then texts."""
    return isinstance(key, str), key
