"""``fastloss merge``: states of evaluations that were run apart, as one."""

from __future__ import annotations

import argparse
import os

from ..failure import Failure
from . import tables
from .output import check
from .state import State

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Merge states."""
    for path in (args.json, args.markdown):
        check(path, stdout=True)
    check(args.state)
    states = [_complete(path) for path in args.states]
    _refuse_twice(args.states, states)
    total = states[0]
    for path, state in zip(args.states[1:], states[1:], strict=True):
        try:
            total.evaluation.merge_state(state.evaluation)
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
        total.rows += state.rows
        total.inputs |= state.inputs
    figures = {**total.evaluation.compute(), "states": args.states, "inputs": list(total.inputs)}
    title = f"{len(args.states)} states, {total.rows:,} rows"
    if args.state:
        total.save(args.state)
    tables.show(args, title, tables.sections(figures), figures)


def _refuse_twice(paths: list[str], states: list[State]) -> None:
    """Refuse states of the same file, whose rows would count twice: by its name, size and time of writing."""
    held: dict[tuple[str, tuple[int, ...]], int] = {}
    for i, state in enumerate(states):
        for name, fingerprint in state.inputs.items():
            first = held.setdefault((os.path.basename(name), tuple(fingerprint)), i)
            if fingerprint and first != i:
                raise Failure(f"{paths[i]}: has {name} in it, which {paths[first]} has too")


def _complete(path: str) -> State:
    state = State.load(path)
    if not state.complete:
        raise Failure(f"{path}: of a run that was interrupted after {state.rows:,} rows; --resume goes on with it")
    return state
