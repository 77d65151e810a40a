"""States read back from JSON: every number is checked, and what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from ..arrays import Array
from ..exactsum import ExactSum

__all__ = ["Record"]

_LARGEST = 2**63 - 1
_TYPES = {bool: "true or false", int: "an integer", str: "a text", list: "a list", dict: "an object"}


class Record:
    """An object of a state, whose entries are taken one by one.

    Parameters
    ----------
    entries : Any
        What was read; anything but a dict with texts as keys is refused.
    where : str
        What it is, for errors.

    Raises
    ------
    ValueError
        Here and in every method: if the entry is not what it must be.
    """

    __slots__ = ("_entries", "_where")

    def __init__(self, entries: Any, where: str) -> None:
        self._where = where
        if type(entries) is not dict:
            self.refuse(f"must be an object, is {_brief(entries)}")
        self._entries: dict[str, Any] = dict(entries)

    def refuse(self, why: str) -> NoReturn:
        """Refuse the state, saying why."""
        raise ValueError(f"Evaluation state: {self._where} {why}")

    def take(self, name: str, kind: type) -> Any:
        """An entry of one type, which has then been taken."""
        if name not in self._entries:
            self.refuse(f"has no {name!r}")
        value = self._entries.pop(name)
        if type(value) is not kind:
            self.refuse(f"has {_brief(value)} as {name!r}, must be {_TYPES[kind]}")
        return value

    def optional(self, name: str, kind: type) -> Any:
        """As `take`; None where the entry is null."""
        if self._entries.get(name, 0) is None:
            return self._entries.pop(name)
        return self.take(name, kind)

    def count(self, name: str, most: int = _LARGEST) -> int:
        """A number of rows."""
        value: int = self.take(name, int)
        if not 0 <= value <= most:
            self.refuse(f"has {_brief(value)} as {name!r}, must be from 0 to {most}")
        return value

    def counts(self, name: str, length: int | None = None, low: int = 0, most: int = _LARGEST) -> Array:
        """A list of integers as an array."""
        values = self.take(name, list)
        if length is not None and len(values) != length:
            self.refuse(f"has {len(values)} numbers in {name!r}, must have {length}")
        for value in values:
            if type(value) is not int or not low <= value <= most:
                self.refuse(f"has {_brief(value)} in {name!r}, must be integers from {low} to {most}")
        return np.array(values, np.int64)

    def sum(self, name: str, count: int) -> ExactSum:
        """An exact sum of so many values."""
        entries = self.take(name, dict)
        try:
            found = ExactSum.from_dict(entries)
        except ValueError as error:
            self.refuse(f"has no exact sum in {name!r}: {error}")
        if found.nonfinite > count:
            self.refuse(f"has {found.nonfinite} values that are not finite in {name!r}, of {count}")
        return found

    def record(self, name: str) -> Record:
        """An object within."""
        return Record(self.take(name, dict), f"{self._where}, {name!r}")

    def pairs(self, name: str, key: Callable[[Any], bool]) -> Iterator[tuple[Any, Record]]:
        """Objects by key, as a list of [key, object]; each key once."""
        seen = set()
        for entry in self.take(name, list):
            if type(entry) is not list or len(entry) != 2:
                self.refuse(f"has {_brief(entry)} in {name!r}, must be pairs of a key and an object")
            if not key(entry[0]) or entry[0] in seen:
                self.refuse(f"has {_brief(entry[0])} as a key in {name!r}, or twice")
            seen.add(entry[0])
            yield entry[0], Record(entry[1], f"{self._where}, {name!r} {entry[0]!r}")

    def done(self) -> None:
        """Refuse entries that nobody has taken."""
        if self._entries:
            self.refuse(f"has entries that are not known: {_brief(sorted(self._entries, key=repr))}")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
