"""``fastloss evaluate``: the figures of files of logits, and all that is written about them."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import time
from typing import Any

import numpy as np

from .. import report
from .._version import __version__
from ..evaluation import Evaluation
from ..failure import Failure
from ..files import EXTRAS, Block, Dataset, Spec, ahead
from ..threads import get_num_threads
from . import html, plot, tables
from .losses import LossFile
from .output import check, write
from .shield import Interrupted, Shield
from .state import State, fingerprints

__all__ = ["run"]

_OPTIONS = ("ranks", "calibration", "brier", "quantiles", "worst")  # of Evaluation, under the same names
CHECKPOINT = 60.0
"""Seconds between states that are written on the way."""
_BINS = 15  # of the calibration, where a picture is asked for and nothing else is said
_FILES = ("state", "per_token", "plot", "html")
# What has to be the same for a run to be gone on with, besides the files and the evaluation's options.
_READING = ("logits_key", "targets_key", "dtype", "shape", "targets_dtype", "first_row", *(f"{e}_key" for e in EXTRAS))


def run(args: argparse.Namespace) -> None:
    """Evaluate files."""
    args.state = args.state or args.resume
    for path in (args.json, args.markdown):
        check(path, stdout=True)
    for name in _FILES:
        check(getattr(args, name))
    if args.plot or args.html:
        plot.check(args.plot)
    dataset = _dataset(args)
    state = State(_evaluation(args, dataset), inputs=fingerprints(dataset), reading=_reading(args))
    if args.resume:
        state.resume(args.resume)
    start, clock = state.rows, time.perf_counter()
    losses = _evaluate(args, dataset, state)
    seconds = time.perf_counter() - clock
    read = state.rows - start
    computed = _with_places(state.evaluation.compute(), dataset, args.first_row)
    figures = {
        **computed,
        "logits": args.logits,
        "targets": args.targets,
        "per_token": None if args.per_token is None else os.path.abspath(args.per_token),
        "shape": [state.rows // max(1, math.prod(dataset.logits.lead)), *dataset.shape[1:]],
        "dtype": dataset.dtype,
        "seconds": seconds,
        "tokens_per_second": read / seconds,
        "gigabytes_per_second": read * dataset.row_bytes / seconds / 1e9,
        "threads": get_num_threads(),
        "fastloss": __version__,
    }
    shape = " x ".join(f"{size:,}" for size in figures["shape"])
    title = f"{os.path.basename(args.logits)}: {shape} {figures['dtype']}"
    sections = [*tables.sections(computed), tables.speed(figures)]
    tables.show(args, title, sections, figures)
    if losses is not None:
        try:
            _draw(args, title, sections, figures, losses)
        finally:
            if losses != args.per_token:
                os.unlink(losses)


def _dataset(args: argparse.Namespace) -> Dataset:
    """Open the files."""
    extras = {name: Spec(getattr(args, name), getattr(args, f"{name}_key")) for name in EXTRAS}
    return Dataset(
        Spec(args.logits, args.logits_key),
        Spec(args.targets, args.targets_key),
        {name: spec for name, spec in extras.items() if spec != Spec()},
        classes=args.task == "tokens",
        ignore_index=None if args.task == "regression" else args.ignore_index,
        dtype=args.dtype,
        shape=args.shape,
        targets_dtype=args.targets_dtype,
    )


def _evaluation(args: argparse.Namespace, dataset: Dataset) -> Evaluation:
    options = {name: getattr(args, name) for name in _OPTIONS} | dict.fromkeys(dataset.extras, True)
    if (args.plot or args.html) and args.task != "regression" and not args.calibration:
        options["calibration"] = _BINS
    try:
        return Evaluation(args.ignore_index, args.top_k, task=args.task, standard_error=True, **options)
    except ValueError as error:
        raise Failure(str(error).removeprefix("Evaluation: ")) from None


def _loss_dtype(args: argparse.Namespace, dataset: Dataset) -> np.dtype[Any]:
    """Return what the evaluation computes losses in."""
    double = args.task == "regression" or dataset.logits.dtype.newbyteorder("=") == np.float64
    return np.dtype(np.float64 if double else np.float32)


def _reading(args: argparse.Namespace) -> dict[str, Any]:
    return {name: list(value) if isinstance(value := getattr(args, name), tuple) else value for name in _READING}


def _evaluate(args: argparse.Namespace, dataset: Dataset, state: State) -> str | None:
    """Add all rows from `state.rows` on; return the file of their losses, if one was asked for or is needed."""
    path = args.per_token or next((f"{each}.losses.npy" for each in (args.plot, args.html) if each), None)
    losses = None if path is None else LossFile(path, _loss_dtype(args, dataset), state.rows)
    try:
        with Shield() as shield:
            _add_all(args, dataset, state, losses, shield)
            with shield.adding():
                if losses is not None:
                    losses.finish(dataset.logits.lead)
                state.complete = True
                if args.state:
                    state.save(args.state)
    except Interrupted as interruption:
        if not args.state or not state.rows or state.complete:
            raise
        _save(args, state, losses)
        raise Interrupted(interruption.number, _how_to_go_on(args, dataset, state)) from None
    finally:
        if losses is not None:
            losses.close(keep=state.saved)
    return path


def _how_to_go_on(args: argparse.Namespace, dataset: Dataset, state: State) -> str:
    of = "" if dataset.rows is None else f" of {dataset.rows:,}"
    return f"interrupted after {state.rows:,}{of} rows; --resume {args.state} goes on"


def _add_all(args: argparse.Namespace, dataset: Dataset, state: State, losses: LossFile | None, shield: Shield) -> None:
    total = None if dataset.rows is None else (dataset.rows - state.rows) * dataset.row_bytes
    saved = time.monotonic()
    with (
        report.progress("evaluating", total, quiet=args.quiet) as advance,
        contextlib.closing(ahead(dataset.blocks(args.block_size, state.rows))) as blocks,
    ):
        for block in blocks:
            with shield.adding():
                _add(args, dataset, state, losses, block)
            if args.state and time.monotonic() - saved >= CHECKPOINT:
                _save(args, state, losses)
                saved = time.monotonic()
            advance(block.logits.nbytes)


def _add(args: argparse.Namespace, dataset: Dataset, state: State, losses: LossFile | None, block: Block) -> None:
    given: dict[str, Any] = dict(block.extras)
    if args.worst:
        given["positions"] = args.first_row + block.first
    if losses is not None:
        given["losses"] = np.empty(len(block.targets), _loss_dtype(args, dataset))
    try:
        state.evaluation.update(block.logits, block.targets, **given)
    except IndexError:
        raise Failure(dataset.bad_target(block)) from None
    except (TypeError, ValueError) as error:
        raise Failure(f"{dataset.logits.place(block.first)[0]}: {error}") from None
    if losses is not None:
        losses.add(given["losses"])
    state.rows += len(block.targets)


def _save(args: argparse.Namespace, state: State, losses: LossFile | None) -> None:
    if losses is not None:
        losses.flush()
    state.save(args.state)


def _with_places(computed: dict[str, Any], dataset: Dataset, first_row: int) -> dict[str, Any]:
    """Say of the worst rows in which file they are."""
    for row in computed.get("worst", []):
        row["file"], row["row"] = dataset.logits.place(row["position"] - first_row)
    return computed


def _draw(args: argparse.Namespace, title: str, sections: list[tables.Section], figures: Any, losses: str) -> None:
    if args.plot:
        write(args.plot, plot.draw(figures, losses, plot.picture_format(args.plot)))
    if args.html:
        write(args.html, html.page(title, sections, plot.draw(figures, losses, "png"), figures))
