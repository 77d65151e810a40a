"""A sum of floating-point values without rounding: the same bits in any order, batching or merging."""

from __future__ import annotations

import itertools
import math
import re
import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core, arrays
from .arrays import Array
from .threads import get_num_threads, wanted

__all__ = ["UNIT", "ExactSum", "divide", "lengths", "pieces", "sum_of", "tally"]

_UNIT_BITS = 1074
UNIT = 1 << _UNIT_BITS
"""What :attr:`ExactSum.total` counts is the inverse of this, which divides every float64."""
_STATE = {"sum": str, "nan": int, "inf": int, "minus_inf": int}
_SUM = re.compile(r"(-?)0x([1-9a-f][0-9a-f]*)p([+-]?[0-9]{1,5})|0")
_HIGHEST = 4096
"""Bits of a sum in a state: a float64 and as many of them as there may ever be."""
_DIGITS = 4 * _core.SUM_DIGITS
_COUNTS = struct.Struct("3q")
PIECE = 1 << 16
"""Elements of a piece at the least: to wake another thread for fewer takes longer than to add them up."""
_MOST = 1 << 26
"""Elements of a piece: its digits have room for more."""
_NO_BOUNDS = np.empty(0, np.int64)


class ExactSum:
    """Running sum of float32 or float64 values, held as one integer in units of ``2**-1074``.

    Infinities and NaNs are counted apart.

    Examples
    --------
    >>> import numpy as np
    >>> from fastloss.exactsum import ExactSum
    >>> total = ExactSum()
    >>> total.add(np.array([1e16, 1.0, -1e16]))
    >>> total.mean(1)
    1.0
    >>> total.to_dict()
    {'sum': '0x1p0', 'nan': 0, 'inf': 0, 'minus_inf': 0}
    """

    __slots__ = ("inf", "minus_inf", "nan", "total")

    def __init__(self, total: int = 0, nan: int = 0, inf: int = 0, minus_inf: int = 0) -> None:
        self.total, self.nan, self.inf, self.minus_inf = total, nan, inf, minus_inf

    @property
    def nonfinite(self) -> int:
        """How many of the values were infinite or NaN."""
        return self.nan + self.inf + self.minus_inf

    def add(self, values: Array) -> None:
        """Add every element of a float32 or float64 array."""
        for each in tally([values], pieces(values.size))[0]:
            self.merge(each[0])

    def merge(self, other: ExactSum) -> None:
        """Add the sum held by another."""
        self.total += other.total
        self.nan += other.nan
        self.inf += other.inf
        self.minus_inf += other.minus_inf

    def mean(self, count: int, *, finite: bool = False) -> float:
        """Return the sum divided by `count`, correctly rounded (NaN when that is 0).

        Parameters
        ----------
        count : int
            How many values there were.
        finite : bool
            Whether only those count that are finite; else one that is not makes the mean infinite or NaN.
        """
        if finite:
            count -= self.nonfinite
        elif self.nonfinite:
            return math.nan if self.nan or (self.inf and self.minus_inf) else math.inf if self.inf else -math.inf
        return divide(self.total, count * UNIT)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON has it; the sum as hexadecimal digits times a power of two."""
        total, shift = abs(self.total), -_UNIT_BITS
        zeros = (total & -total).bit_length() - 1 if total else 0
        sign = "-" if self.total < 0 else ""
        text = f"{sign}{total >> zeros:#x}p{shift + zeros}" if total else "0"
        return {"sum": text, "nan": self.nan, "inf": self.inf, "minus_inf": self.minus_inf}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> ExactSum:
        """Return the sum that :meth:`to_dict` told of.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        if type(state) is not dict or set(state) != set(_STATE):
            raise ValueError(f"must have {', '.join(_STATE)}")
        for name, kind in _STATE.items():
            if type(state[name]) is not kind or (kind is int and not 0 <= state[name] < 2**63):
                raise ValueError(f"{name} cannot be {state[name]!r:.40}")
        found = _SUM.fullmatch(state["sum"])
        shift = _UNIT_BITS + int(found[3]) if found and found[3] else 0
        digits = 4 * len(found[2]) if found and found[2] else 0
        if not found or shift < 0 or shift + digits > _HIGHEST:
            raise ValueError(f"sum cannot be {state['sum']!r:.40}")
        total = (int(found[2], 16) << shift) * (-1 if found[1] else 1) if found[2] else 0
        return cls(total, state["nan"], state["inf"], state["minus_inf"])


def pieces(count: int) -> Array:
    """Where segments begin that threads may share, and the end: of values that have one sum, in whichever pieces."""
    shares = max(1, min(get_num_threads(), count // PIECE), count // _MOST)
    return np.array([count * i // shares for i in range(shares + 1)], np.int64)


def lengths(first: Array) -> list[int]:
    """Of segments."""
    places = first.tolist()
    return [end - start for start, end in itertools.pairwise(places)]


def tally(
    values: Sequence[Array], first: Array, rank: Array | None = None, bounds: Array = _NO_BOUNDS
) -> tuple[list[list[ExactSum]], Array]:
    """Exact sums of arrays by segments of their elements, and how many ranks are below each bound.

    Parameters
    ----------
    values : sequence of ndarray
        At most four, float32 or float64 all of them, of one length.
    first : ndarray of int64
        Where each segment begins, and the end of the last.
    rank : ndarray of int64, optional
        Of the same length; -1 is below no bound.
    bounds : ndarray of int64
        What ranks are compared with.

    Returns
    -------
    list of list of ExactSum, ndarray
        Of each segment the sum of every array; and (segments, bounds) counts.
    """
    double = values[0].dtype == np.float64
    taken = tuple(arrays.contiguous(each.reshape(-1), double) for each in values)
    found, within = _core.tally(double, taken, rank, bounds, first, wanted())
    return [[sum_of(each) for each in of_arrays] for of_arrays in found], within


def sum_of(found: Array) -> ExactSum:
    """From the bytes of an fl_sum (csrc/fastloss.h)."""
    content = found.tobytes()
    digits = content[:_DIGITS]
    if sys.byteorder == "big":  # within each of them
        digits = np.frombuffer(digits, ">u4").astype("<u4").tobytes()
    return ExactSum(int.from_bytes(digits, "little", signed=True), *_COUNTS.unpack_from(content, _DIGITS))


def divide(numerator: int, denominator: int) -> float:
    """The quotient of integers, correctly rounded: NaN of a division by 0, infinite beyond what float64 holds."""
    if not denominator:
        return math.nan
    try:
        return numerator / denominator
    except OverflowError:
        return math.copysign(math.inf, numerator)
