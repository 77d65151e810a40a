"""What an evaluation costs: over the loss alone, and from a file over an array in memory."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastloss as fl
from fastloss.files import Dataset, Spec

from .measure import Contender, Plan, interleave
from .problem import Array
from .run import FASTLOSS, Outcome, Result
from .work import Goal

SHAPES = ((1_000_000, 10), (8192, 1000), (1024, 32000))
STORED = (16384, 32000)  # a gigabyte of float16
BLOCK = 1 << 26


def made(shape: tuple[int, ...], dtype: type) -> tuple[Array, Array]:
    """Logits and labels."""
    random = np.random.default_rng(0)
    logits = np.empty(shape, dtype)
    for first in range(0, shape[0], 1024):
        logits[first : first + 1024] = 2 * random.standard_normal((min(1024, shape[0] - first), shape[1]), np.float32)
    return logits, random.integers(shape[1], size=shape[0])


def update(logits: Array, labels: Array) -> None:
    """The plain figures of an array."""
    fl.Evaluation().update(logits, labels)


def update_from(paths: list[str]) -> None:
    """The plain figures of files, a block at a time."""
    evaluation = fl.Evaluation()
    for block in Dataset(Spec(paths[0]), Spec(paths[1])).blocks(BLOCK):
        evaluation.update(block.logits, block.targets)


def judged(name: str, calls: dict[str, Callable[[], Any]], size: int, bound: float, plan: Plan) -> list[Result]:
    """Measure in turns, and judge by the time over the other's."""
    result = Result(name, bytes=size)
    result.samples = interleave({key: Contender(call) for key, call in calls.items()}, plan)
    own, other = (sample.median for sample in result.samples.values())
    result.outcomes = [Outcome(Goal("beside", bound), own / other)]
    return [result]


def run_plain(plan: Plan, shape: tuple[int, ...]) -> list[Result]:
    """The plain figures, beside cross entropy alone."""
    logits, labels = made(shape, np.float32)
    calls = {
        FASTLOSS: functools.partial(update, logits, labels),
        "cross_entropy": functools.partial(fl.cross_entropy, logits, labels),
    }
    return judged(f"Evaluation {'x'.join(map(str, shape))} float32", calls, logits.nbytes, 1.3, plan)


def run_file(plan: Plan) -> list[Result]:
    """A file of float16 logits in the page cache, beside the same array in memory."""
    logits, labels = made(STORED, np.float16)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("logits.npy", "labels.npy")]
        for path, array in zip(paths, (logits, labels), strict=True):
            np.save(path, array)
        calls = {
            FASTLOSS: functools.partial(update_from, paths),
            "in memory": functools.partial(update, logits, labels),
        }
        return judged("Evaluation of a file of 1 GB float16", calls, logits.nbytes, 1.25, plan)


def jobs(plan: Plan) -> dict[str, Callable[[], list[Result]]]:
    """By what `--filter` searches."""
    found: dict[str, Callable[[], list[Result]]] = {
        f"Evaluation {'x'.join(map(str, shape))}": functools.partial(run_plain, plan, shape) for shape in SHAPES
    }
    return {**found, "Evaluation of a file": functools.partial(run_file, plan)}
