"""A sum of floating-point values without rounding: the same bits in any order, batching or merging."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNIT", "ExactSum", "divide"]

_UNIT_BITS = 1126
UNIT = 1 << _UNIT_BITS
"""What :attr:`ExactSum.total` counts is the inverse of this."""
# So many integers of up to _BITS bits add up exactly in float64, and stay in cache.
_CHUNK = 1 << 13
_BITS = 53 - 13
_STATE = {"sum": str, "nan": int, "inf": int, "minus_inf": int}
_SUM = re.compile(r"(-?)0x([1-9a-f][0-9a-f]*)p([+-]?[0-9]{1,5})|0")


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

    def __init__(self) -> None:
        self.total = 0
        self.nan = self.inf = self.minus_inf = 0

    @property
    def nonfinite(self) -> int:
        """How many of the values were infinite or NaN."""
        return self.nan + self.inf + self.minus_inf

    def add(self, values: NDArray[np.floating]) -> None:
        """Add every element of a float32 or float64 array."""
        values = values.reshape(-1)
        finite = np.isfinite(values)
        if not finite.all():
            odd = values[~finite]
            self.nan += int(np.isnan(odd).sum())
            self.inf += int((odd > 0).sum())
            self.minus_inf += int((odd < 0).sum())
            values = values[finite]
        with np.errstate(under="ignore"):
            for start in range(0, values.size, _CHUNK):
                self.total += _sum_finite(values[start : start + _CHUNK])

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
        if not found or shift < 0 or shift > 4096:
            raise ValueError(f"sum cannot be {state['sum']!r:.40}")
        made = cls()
        made.total = (int(found[2], 16) << shift) * (-1 if found[1] else 1) if found[2] else 0
        made.nan, made.inf, made.minus_inf = state["nan"], state["inf"], state["minus_inf"]
        return made


def divide(numerator: int, denominator: int) -> float:
    """The quotient of integers, correctly rounded: NaN of a division by 0, infinite beyond what float64 holds."""
    if not denominator:
        return math.nan
    try:
        return numerator / denominator
    except OverflowError:
        return math.copysign(math.inf, numerator)


def _sum_finite(values: NDArray[np.floating]) -> int:
    """Cut integers of `_BITS` bits off the values, from the top down, until nothing is left."""
    rest = values.astype(np.float64)
    total = 0
    while largest := float(np.abs(rest).max()):
        unit = math.frexp(largest)[1] - _BITS
        cut = np.trunc(np.ldexp(rest, -unit))
        total += int(cut.sum()) << (unit + _UNIT_BITS)
        rest -= np.ldexp(cut, unit)
    return total
