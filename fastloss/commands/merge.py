"""``fastloss merge``: states of evaluations that were run apart, as one."""

from __future__ import annotations

import argparse

from ..failure import Failure
from . import tables
from .output import check
from .state import State

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Merge states."""
    for path in (args.json, args.markdown, args.state):
        check(path)
    total, *others = (_complete(path) for path in args.states)
    seen = dict.fromkeys(total.inputs, args.states[0])
    for path, other in zip(args.states[1:], others, strict=True):
        twice = next(
            (
                name
                for name in other.inputs
                if other.inputs[name] and name in total.inputs and total.inputs[name] == other.inputs[name]
            ),
            None,
        )
        if twice is not None:
            raise Failure(f"{path}: has {twice} in it, which {seen[twice]} has too")
        try:
            total.evaluation.merge_state(other.evaluation)
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
        total.rows += other.rows
        total.inputs |= other.inputs
        seen |= dict.fromkeys(other.inputs, path)
    figures = {**total.evaluation.compute(), "states": args.states, "inputs": list(total.inputs)}
    title = f"{len(args.states)} states, {total.rows:,} rows"
    if args.state:
        total.save(args.state)
    tables.show(args, title, tables.sections(figures), figures)


def _complete(path: str) -> State:
    state = State.load(path)
    if not state.complete:
        raise Failure(f"{path}: of a run that was interrupted after {state.rows:,} rows; --resume goes on with it")
    return state
