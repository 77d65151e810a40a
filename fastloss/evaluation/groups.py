"""The plain figures of every group of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .part import Figures, Part, Plain, Rows, is_key, key_order
from .state import Record

__all__ = ["Groups"]


class Groups(Part):
    """An evaluation's plain part for every group."""

    name = "groups"

    def __init__(self, option: Any, plain: Callable[[], Plain]) -> None:
        super().__init__(option, plain)
        self._groups: dict[Any, Plain] = {}

    def _group(self, key: Any) -> Plain:
        if key not in self._groups:
            self._groups[key] = self.plain()
        return self._groups[key]

    def update(self, rows: Rows) -> None:
        """Add rows."""
        keys, first, ordered = rows.by("groups")
        for key, part in zip(keys, self.plain().segments(ordered, first), strict=True):
            self._group(key).merge(part)
        for key, count in rows.left_by("groups").items():
            self._group(key).ignored += count

    def merge(self, other: Groups) -> None:
        """Add what another has seen."""
        for key, plain in other._groups.items():
            self._group(key).merge(plain)

    def compute(self, plain: Plain, finite: bool) -> Figures:
        """Return the figures of each group, by its name; in order, integers before texts."""
        groups = {key: self._groups[key] for key in sorted(self._groups, key=key_order)}
        return {"groups": {key: group.compute(group, finite) for key, group in groups.items()}}

    def to_dict(self) -> dict[str, Any]:
        """Return the state."""
        keys = sorted(self._groups, key=key_order)
        return {"groups": [[key, self._groups[key].to_dict()] for key in keys]}

    def load(self, record: Record, plain: Plain) -> None:
        """Take a state."""
        count = ignored = 0
        for key, entry in record.pairs("groups", is_key):
            group = self._group(key)
            group.load(entry, plain)
            entry.done()
            count, ignored = count + group.count, ignored + group.ignored
        if (count, ignored) != (plain.count, plain.ignored):
            record.refuse(f"has groups of {count} rows altogether, of {plain.count}")
