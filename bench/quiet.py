"""Whether the cores are this process's own: other work on them, or on the other half of a core, is measured."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable

import numpy as np

import fastloss as fl

# Elements of float16, which lie in the caches of two cores and are enough for all threads to share; and calls, of
# which the fastest counts.
ELEMENTS, CALLS = 1 << 19, 5

# How much longer than in the best tenth of the checks the work may take on cores that are ours. There it mostly varies
# by 0.02; another guest of the same processor costs 0.1 to 0.4, and two threads that share one core 0.7 or more.
SLACK = 1.08


class Watch:
    """Arithmetic in the caches of the cores, on all threads: whatever else runs there makes it take longer.

    What is best is found out as checks are made, so a watch is made once and kept for the whole run.
    """

    def __init__(self) -> None:
        logits = np.linspace(-4, 4, ELEMENTS, dtype=np.float16)
        targets = logits > 0
        self._work: Callable[[], object] = lambda: fl.binary_cross_entropy_with_logits(logits, targets)
        self._times = sorted(self._seconds() for _ in range(20))

    def _seconds(self) -> float:
        least = float("inf")
        for _ in range(CALLS):
            start = time.perf_counter()
            self._work()
            least = min(least, time.perf_counter() - start)
        return least

    def __call__(self) -> bool:
        """Whether the cores are as fast as they can be."""
        seconds = self._seconds()
        insort(self._times, seconds)
        return seconds <= SLACK * self._times[len(self._times) // 10]
