"""The limits of a machine on a piece of work, with all threads: its arrays read and written once, or its products."""

from __future__ import annotations

import numpy as np

import fastloss as fl
from fastloss import _core

from .measure import Call, Contender
from .problem import Array, Problem

# Below this the time of a call is not the time of its memory.
LEAST_BYTES = 1 << 20


def limit(problem: Problem) -> Contender | None:
    """Read all that the work reads and write as much as it writes, past the caches.

    As many arrays are copied as are written, from those that are read; the others are only read. None for
    work that is too small or does not read all of its input. Of a linear layer its products alone, of
    embeddings one product of all with all.
    """
    family = problem.work.function.family
    if family in ("linear", "embedding"):
        return Contender(_products(problem) if family == "linear" else _all_pairs(problem))
    if problem.gathers or problem.bytes < LEAST_BYTES:
        return None
    copied = list(zip(problem.reads, problem.writes, strict=False))
    return Contender(_pass(copied, problem.reads[len(copied) :]))


def _pass(copied: list[tuple[Array, Array]], read: tuple[Array, ...]) -> Call:
    pairs = [(raw(source), raw(destination)) for source, destination in copied]
    rest = [raw(array) for array in read]

    def call() -> None:
        threads = fl.get_num_threads()
        for source, destination in pairs:
            _core.copy_probe(source, destination, threads)
        for array in rest:
            _core.read_probe(array, threads)

    return call


def _products(problem: Problem) -> Call:
    """NumPy's of whole arrays, the logits among them: one for the value, and two more for the gradients."""
    real = np.float64 if problem.dtype == np.float64 else np.float32
    hidden, weight = (each.astype(real, copy=False) for each in problem.arguments[:2])
    logits = np.full((len(hidden), len(weight)), 1, real)
    out = [np.full_like(hidden, 1), np.full_like(weight, 1)] if problem.writes else []

    def call() -> None:
        np.matmul(hidden, weight.T, out=logits)
        if out:
            np.matmul(logits, weight, out=out[0])
            np.matmul(logits.T, hidden, out=out[1])

    return call


def _all_pairs(problem: Problem) -> Call:
    """NumPy's product of all embeddings with all, whole."""
    real = np.float64 if problem.dtype == np.float64 else np.float32
    left = problem.input.astype(real, copy=False)
    right, pairs = left.copy(), np.full((len(left), len(left)), 1, real)
    return lambda: np.matmul(left, right.T, out=pairs)


def raw(array: Array) -> Array:
    """The bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8)
