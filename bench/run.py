"""Measuring one piece of work: who takes part, whether they agree, and which goals are met."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import Any

import numpy as np

import fastloss as fl

from . import peers
from .limits import limit
from .measure import Contender, Plan, Sample, interleave
from .problem import Array, Problem, dtype_of
from .work import MEASURES, Goal, Work

MEDIAN = attrgetter("median")
LEAST = attrgetter("least")

LIMIT = "limit"
FASTLOSS = "fastloss"
NEW = "fastloss, new array"
FLOAT32 = "fastloss, float32"

# How far the numbers of a peer may be from fastloss's before the report says so, relative to the largest.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 5e-2}


@dataclass(frozen=True)
class Outcome:
    """What was reached of one goal."""

    goal: Goal
    reached: float

    @property
    def met(self) -> bool:
        """Whether the goal was reached."""
        return self.goal.met(self.reached)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        measure, relation = MEASURES[self.goal.measure]
        goal = f"{relation} {self.goal.bound:g}"
        return {"measure": measure, "goal": goal, "reached": self.reached, "met": self.met}


@dataclass
class Result:
    """What was measured of one piece of work."""

    name: str
    samples: dict[str, Sample] = field(default_factory=dict)
    unit: str = "s"
    bytes: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def ratio(self, measure: str, of: Callable[[Sample], float] = MEDIAN) -> float | None:
        """One of the measures that goals are about, None where it was not measured."""
        times = {name: of(sample) for name, sample in self.samples.items()}
        own = times.get(FASTLOSS)
        if own is None or measure in ("seconds", "bytes"):
            return own
        if measure in peers.PEERS:
            return times[measure] / own if measure in times else None
        if measure == "peer":
            return min((times[name] / own for name in peers.PEERS if name in times), default=None)
        base = {"limit": LIMIT, "float32": FLOAT32}[measure]
        return own / times[base] if base in times else None

    def judge(self, goals: Iterable[Goal]) -> None:
        """Compare with the goals what was measured of them; note where the minima would say another thing."""
        for goal in goals:
            reached, least = self.ratio(goal.measure), self.ratio(goal.measure, LEAST)
            if reached is None or least is None:
                self.notes.append(f"not measured: {MEASURES[goal.measure][0]}")
                continue
            self.outcomes.append(Outcome(goal, reached))
            if goal.met(least) != goal.met(reached):
                self.notes.append(f"unsure: by the minima {MEASURES[goal.measure][0]} is {least:.3g}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        timed = self.unit == "s"
        return {
            "name": self.name,
            "unit": self.unit,
            "bytes": self.bytes,
            "samples": {name: sample.summary() for name, sample in self.samples.items()},
            **({"time_over_limit": self.ratio("limit"), "fastest_peer_over_time": self.ratio("peer")} if timed else {}),
            "goals": [outcome.as_dict() for outcome in self.outcomes],
            "notes": self.notes,
        }


def run(work: Work, plan: Plan, names: Iterable[str]) -> Result:
    """Measure one piece of work with the peers of those names."""
    result = Result(work.name)
    dtype = dtype_of(work.dtype)
    if dtype is None:
        result.notes.append("skipped: ml_dtypes is not installed")
        return result
    if work.through and find_spec(work.through) is None:
        result.notes.append(f"skipped: {work.through} is not installed")
        return result
    problem = Problem(work, dtype)
    result.bytes = problem.bytes
    contenders = ours(problem)
    bound = limit(problem)
    if bound is not None:
        contenders = {LIMIT: bound, **contenders}
    expected = numbers(contenders[FASTLOSS].result())
    for name in names:
        try:
            contender = peers.prepare(name, problem)
            if contender is None:
                continue
            result.notes += differences(name, expected, numbers(contender.result()), TOLERANCE[work.dtype])
        except Exception as error:  # whatever another library raises is its result
            first = (str(error).strip() or "no message").splitlines()[0]
            result.notes.append(f"{name} failed: {type(error).__name__}: {first}")
        else:
            contenders[name] = contender
    result.samples = interleave(contenders, plan)
    result.judge(work.goals)
    return result


def ours(problem: Problem) -> dict[str, Contender]:
    """The ways fastloss itself is measured: into a reused array, into a new one, of float32 beside halves."""
    work, keywords = problem.work, problem.keywords
    if work.through:
        return {FASTLOSS: peers.bridged(problem)}
    calls: dict[str, Callable[[], object]] = {}
    if work.mode == "value":
        calls[FASTLOSS] = functools.partial(work.function, *problem.arguments, **keywords)
    else:
        fused = functools.partial(work.function.value_and_grad, *problem.arguments, **keywords)
        calls[FASTLOSS] = functools.partial(fused, out=problem.out)
        calls[NEW] = fused
    if any(goal.measure == "float32" for goal in work.goals):
        calls[FLOAT32] = _float32(problem)
    return {name: Contender(call) for name, call in calls.items()}


def _float32(problem: Problem) -> Callable[[], object]:
    """The same work on the same numbers as float32."""
    function = problem.work.function
    kinds = [each if each.dtype.kind in "iu" else each.astype(np.float32) for each in problem.arguments]
    if problem.work.mode == "value":
        return functools.partial(function, *kinds, **problem.keywords)
    out = np.full(problem.work.shape, 1, np.float32)  # of one prediction: no work with that goal has more
    return functools.partial(function.value_and_grad, *kinds, out=out, **problem.keywords)


def numbers(result: Any) -> list[Array]:
    """The arrays of a result in order, as float64: all of a small one, every 997th number of a large one."""
    if isinstance(result, tuple):
        return [array for part in result for array in numbers(part)]
    if hasattr(result, "detach"):
        result = result.detach()
        if result.dtype == import_module("torch").bfloat16:
            result = result.float()
    array = np.asarray(result).reshape(-1)
    return [array[:: 997 if array.size > 100_000 else 1].astype(np.float64)]


def differences(name: str, expected: list[Array], found: list[Array], tolerance: float) -> list[str]:
    """A note where a peer's numbers are not fastloss's."""
    for one, other in zip(expected, found, strict=True):
        scale = np.abs(one).max(initial=1e-30)
        off = np.abs(one - other).max(initial=0) / scale if one.shape == other.shape else np.inf
        if not off <= tolerance:
            return [f"{name} differs from fastloss by {off:.1e} of the largest number"]
    return []


def run_scaling(work: Work, plan: Plan, threads: int) -> Result:
    """Measure one piece of work, and the machine's limit on it, with one thread and with all."""
    result = Result(f"{work.name}: {threads} threads over 1")
    dtype = dtype_of(work.dtype)
    if dtype is None or threads < 2:
        result.notes.append("skipped: needs two threads")
        return result
    problem = Problem(work, dtype)
    result.bytes = problem.bytes
    calls = {FASTLOSS: ours(problem)[FASTLOSS]}
    bound = limit(problem)
    if bound is not None:
        calls[LIMIT] = bound
    ways = {1: "1 thread", threads: f"{threads} threads"}
    contenders = {
        f"{name}, {way}": Contender(each.call, functools.partial(fl.num_threads, count))
        for name, each in calls.items()
        for count, way in ways.items()
    }
    result.samples = samples = interleave(contenders, plan)
    gains = {name: samples[f"{name}, {ways[1]}"].median / samples[f"{name}, {ways[threads]}"].median for name in calls}
    result.outcomes = [Outcome(goal, gains[FASTLOSS]) for goal in work.goals]
    if LIMIT in gains:
        result.notes.append(f"the machine's own bandwidth gains {gains[LIMIT]:.2f}")
    return result
