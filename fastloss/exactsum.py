"""A sum of floating-point values without rounding: the same bits in any order, batching or merging."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactSum"]

# The sum is an integer number of 2**-1126, which divides every float64 and what is cut from them below.
_UNIT_BITS = 1126
# So many integers of up to _BITS bits add up exactly in float64, and stay in cache.
_CHUNK = 1 << 13
_BITS = 53 - 13


class ExactSum:
    """Running sum of float32 or float64 values, held as one integer in units of ``2**-1126``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastloss.exactsum import ExactSum
    >>> total = ExactSum()
    >>> total.add(np.array([1e16, 1.0, -1e16]))
    >>> total.mean(1)
    1.0
    """

    __slots__ = ("_nonfinite", "_total")

    def __init__(self) -> None:
        self._total = 0
        self._nonfinite = 0.0  # the sum of the infinities and NaNs met: 0 while there are none

    def add(self, values: NDArray[np.floating]) -> None:
        """Add every element of a float32 or float64 array."""
        values = values.reshape(-1)
        finite = np.isfinite(values)
        if not finite.all():
            self._nonfinite += sum(np.unique(values[~finite]).tolist())
            values = values[finite]
        with np.errstate(under="ignore"):
            for start in range(0, values.size, _CHUNK):
                self._total += _sum_finite(values[start : start + _CHUNK])

    def merge(self, other: ExactSum) -> None:
        """Add the sum held by another."""
        self._total += other._total
        self._nonfinite += other._nonfinite

    def mean(self, count: int) -> float:
        """Return the sum divided by `count`, correctly rounded (NaN when `count` is 0)."""
        if self._nonfinite != 0.0:
            return self._nonfinite
        return self._total / (count << _UNIT_BITS) if count else float("nan")


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
