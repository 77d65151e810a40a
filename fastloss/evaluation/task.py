"""What a task is: how its batches are read, its plain figures, and the options it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ..arrays import Array
from .part import Part, Plain

__all__ = ["Batch", "Settings", "Task"]

Settings = Mapping[str, Any]
"""What the plain figures depend on, by the name of its argument."""


class Batch(Protocol):
    """A batch whose shapes have been checked, and that has not been read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the labels."""

    @property
    def classes(self) -> int | None:
        """How many there are, where rows are over classes."""

    def blocks(self) -> Iterator[tuple[dict[str, Array], Array | None]]:
        """What is asked of each row, a block of rows at a time in C order, and which rows are evaluated."""


class Task(NamedTuple):
    """One kind of evaluation."""

    name: str
    settings: Callable[[Any], dict[str, Any]]
    """Checks an evaluation's settings."""
    read: Callable[[Settings, Any, Any, int, frozenset[str]], Batch]
    """From settings, predictions, labels, the class axis and the fields that are asked for."""
    plain: Callable[[Settings, Callable[[], Plain]], Plain]
    """Of settings; and what makes another."""
    parts: tuple[type[Part], ...]
    """Those of its options, in the order of their figures."""
