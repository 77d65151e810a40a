"""The interface of a file format: which arrays a file holds, and their rows in order, a piece at a time."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..failure import Failure

__all__ = ["Array", "Facts", "Piece", "Reader", "facts", "reading"]

Array = NDArray[Any]


class Facts(NamedTuple):
    """What is known of an array before it is read: rows (None: how many shows in the end), a row's shape, the dtype."""

    rows: int | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Piece(NamedTuple):
    """Some rows of an array.

    Parameters
    ----------
    values : ndarray
    valid : ndarray of bool, optional
        Which rows hold something; None: all.
    ready : callable, optional
        Called with a part of `values`, in order, before that is read.
    """

    values: Array
    valid: Array | None = None
    ready: Callable[[Array], None] | None = None


class Reader(ABC):
    """One file.

    Parameters
    ----------
    name : str
        The file, for errors.
    arrays : dict of str to Facts
        The arrays in it that have rows. The one of a format that holds a single array is called "".
    """

    def __init__(self, name: str, arrays: dict[str, Facts]) -> None:
        self.name = name
        self.arrays = arrays

    @abstractmethod
    def pieces(self, key: str, first: int, rows: int) -> Iterator[Piece]:
        """Read an array from row `first` on, in pieces of 1 to `rows` rows.

        Where several arrays are read side by side, all are asked for before the first piece of any is taken.
        """


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Say in one line that a file is not `what`; a library raises errors of many types where bytes are damaged."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the system's own
        reason = str(error).partition("\n")[0]
        raise Failure(f"{what}: {reason or type(error).__name__}") from None


def facts(shape: Sequence[int], dtype: np.dtype[Any]) -> Facts:
    """Return the facts of an array of at least one dimension."""
    return Facts(shape[0], tuple(shape[1:]), dtype)
