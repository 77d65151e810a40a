"""Timing several ways of doing one thing, interleaved in one run."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median, quantiles

Call = Callable[[], object]

# Calls that take longer, in seconds, are not warmed up again before every turn.
SLOW = 0.5


@dataclass(frozen=True)
class Contender:
    """One way of doing a piece of work, and the context its calls run in."""

    call: Call
    context: Callable[[], AbstractContextManager[object]] = nullcontext

    def result(self) -> object:
        """What one call returns."""
        with self.context():
            return self.call()

    def seconds(self, calls: int) -> float:
        """The mean time of a few calls in a row."""
        call = self.call
        with self.context():
            start = time.perf_counter()
            for _ in repeat(None, calls):
                call()
            return (time.perf_counter() - start) / calls


@dataclass(frozen=True)
class Plan:
    """How often and how long to measure.

    `rounds` is how many turns each contender gets: fewer, but at least `least`, when they would take it more
    than `budget` seconds, and one alone when its call does. A turn repeats the call until it has lasted about
    `turn` seconds, and is taken again where the cores were not `quiet` before and after it: each contender may try
    `tries` times as often as it has turns.
    """

    rounds: int
    budget: float
    turn: float = 0.01
    least: int = 3
    tries: int = 5
    quiet: Callable[[], bool] = lambda: True


@dataclass
class Sample:
    """What was measured, one number per turn: on quiet cores, or `disturbed`, which count where there are no others.

    `lost` is how often the cores were not quiet, before a turn or after it.
    """

    numbers: list[float] = field(default_factory=list)
    calls: int = 1
    disturbed: list[float] = field(default_factory=list)
    lost: int = 0

    @property
    def counted(self) -> list[float]:
        """The numbers that count."""
        return self.numbers or self.disturbed

    @property
    def median(self) -> float:
        """The middle one: what the ratios are formed of."""
        return median(self.counted)

    @property
    def least(self) -> float:
        """The smallest one: what is left when nothing else disturbed."""
        return min(self.counted)

    def summary(self) -> dict[str, float]:
        """Median, least and quartiles, and what they are of."""
        several = self.counted * 2 if len(self.counted) == 1 else self.counted
        low, _, high = quantiles(several, n=4, method="inclusive")
        return {
            "median": self.median,
            "min": self.least,
            "q1": low,
            "q3": high,
            "turns": len(self.counted),
            "calls_per_turn": self.calls,
            "disturbed": len(self.disturbed),
        }


def settle(limit: float = 0.1) -> None:
    """Wait until the other threads of this process no longer spin, as pools do for a while after work."""
    until = time.perf_counter() + limit
    while time.perf_counter() < until:
        busy = time.process_time()
        time.sleep(0.002)
        if time.process_time() - busy < 0.0005:
            return


def interleave(contenders: Mapping[str, Contender], plan: Plan) -> dict[str, Sample]:
    """Measure all contenders in turns: A B C D, C A D B, and so on, every round in an order of its own.

    Before each timed turn the process settles, and a contender that is not slow makes a call that is not
    timed: none is timed in what another left behind.
    """
    samples: dict[str, Sample] = {}
    turns: dict[str, int] = {}
    warmed: set[str] = set()
    for name, contender in contenders.items():
        settle()
        once = contender.seconds(1)
        if once < SLOW:
            once = max(contender.seconds(1), 1e-9)  # a clock may be coarse
            warmed.add(name)
        calls = max(1, round(plan.turn / once))
        affordable = int(plan.budget / (once * (calls + 1)))
        samples[name] = Sample(calls=calls)
        turns[name] = min(plan.rounds, max(1 if once > plan.budget else plan.least, affordable))

    order = list(contenders)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(plan.rounds):
            for name in random.Random(number).sample(order, len(order)):
                if _plays(number, turns[name], plan.rounds):
                    _turn(contenders[name], samples[name], name in warmed, plan)
    finally:
        if collecting:
            gc.enable()
    return samples


def _turn(contender: Contender, sample: Sample, warm: bool, plan: Plan) -> None:
    """One turn of a contender, on quiet cores if that can be had."""
    while True:
        patient = sample.lost < plan.tries * plan.rounds
        quiet = plan.quiet()
        if quiet or not patient:
            settle()
            if warm:
                contender.seconds(1)
            seconds = contender.seconds(sample.calls)
            quiet = plan.quiet() and quiet
            if quiet or not patient:
                (sample.numbers if quiet else sample.disturbed).append(seconds)
                return
        else:
            time.sleep(0.02)
        sample.lost += 1


def _plays(number: int, turns: int, rounds: int) -> bool:
    """Whether one with so many turns has one in this round: they are spread evenly."""
    return math.floor(number * turns / rounds) != math.floor((number + 1) * turns / rounds)
