"""What an evaluation is made of: rows that were read, and parts that add them up."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array
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

    def by(self, name: str) -> Iterator[tuple[Any, Rows]]:
        """Split by the values of a field: each value with the rows that have it."""
        keys, first, counts, order = _sorted(self.fields[name])
        values = {field: each if order is None else each[order] for field, each in self.fields.items()}
        left = self.left.get(name)
        missing = dict(zip(*_counted(left), strict=True)) if left is not None and len(left) else {}
        for key, start, count in zip(keys, first, counts, strict=True):
            rows = Rows({field: each[start : start + count] for field, each in values.items()}, None, self.classes)
            rows.ignored = missing.pop(key, 0)
            yield key, rows
        for key, count in missing.items():
            rows = Rows({field: each[:0] for field, each in values.items()}, None, self.classes)
            rows.ignored = count
            yield key, rows


_KEPT_OF_IGNORED = ("groups",)


def _sorted(keys: Array) -> tuple[list[Any], list[int], list[int], Array | None]:
    """The distinct keys, where each begins and how often it occurs, once rows are put in the given order."""
    order = None if len(keys) < 2 or (keys[1:] >= keys[:-1]).all() else np.argsort(keys, kind="stable")
    found, first, counts = np.unique(keys if order is None else keys[order], return_index=True, return_counts=True)
    return found.tolist(), first.tolist(), counts.tolist(), order


def _counted(keys: Array) -> tuple[list[Any], list[int]]:
    found, counts = np.unique(keys, return_counts=True)
    return found.tolist(), counts.tolist()


class Part:
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
    def whole(cls, option: Any, low: int) -> int:
        """Return an option that is a whole number."""
        try:
            number = operator.index(option)
        except TypeError:
            raise ValueError(f"Evaluation: {cls.name} must be a whole number, got {option!r}") from None
        if number < low:
            raise ValueError(f"Evaluation: {cls.name} must be at least {low}, got {option!r}")
        return number

    def update(self, rows: Rows) -> None:
        """Add rows."""
        raise NotImplementedError

    def merge(self, other: Any) -> None:
        """Add what another part of the same option has seen."""
        raise NotImplementedError

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures; `plain` holds those of the task, `finite` leaves out rows without a finite loss."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return the state in numbers, texts and lists that JSON has."""
        raise NotImplementedError

    def load(self, record: Record, plain: Plain) -> None:
        """Take the state that :meth:`to_dict` gave, after `plain` took its own."""
        raise NotImplementedError


class Plain(Part):
    """The figures every evaluation of a task has: at least how many rows there were, and of what loss."""

    name = "plain"
    count: int
    ignored: int
    nonfinite: int

    def loss(self, finite: bool) -> float:
        """Return the mean loss."""
        raise NotImplementedError


def exp(value: float) -> float:
    """E to that power; infinite where it overflows."""
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
