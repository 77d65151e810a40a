"""The command line: ``fastloss evaluate``, ``fastloss demo``, ``fastloss info``."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import npy, report
from ._version import __version__
from .config import show_config
from .evaluation import Evaluation
from .threads import get_num_threads, num_threads

__all__ = ["main"]

EXIT_STATUS = """\
exit status:
  0    done
  1    the data could not be evaluated; one line on standard error says why
  2    wrong usage
  130  interrupted
  141  standard output was closed"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        with num_threads(args.threads) if args.threads else contextlib.nullcontext():
            args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        # Python flushes standard output once more on its way out: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (report.Failure, OSError) as failure:
        return _say(f"error: {failure}", 1)
    except MemoryError:
        return _say("error: out of memory", 1)
    return 0


def _say(message: str, status: int) -> int:
    print(f"fastloss: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="fastloss",
        description="Loss functions at the speed of memory: evaluate stored logits.",
        epilog=EXIT_STATUS,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"fastloss {__version__}")
    parser.set_defaults(threads=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json",
        metavar="FILE",
        help="also write the figures to FILE as JSON (infinite and NaN as null); with -, only that, to standard output",
    )
    common.add_argument("--quiet", action="store_true", help="show no progress")
    common.add_argument("--threads", type=_positive, metavar="N", help="number of threads")

    evaluate = commands.add_parser(
        "evaluate",
        parents=[common],
        help="loss, perplexity and accuracy of a file of logits",
        description="Evaluate logits (..., classes) against integer targets (...), both stored as .npy.\n"
        "The files are memory-mapped and read once, in blocks: they may be larger than memory.",
        epilog=EXIT_STATUS,
        formatter_class=raw,
    )
    evaluate.add_argument("logits", metavar="LOGITS.npy", help="float16, float32, float64 or bfloat16")
    evaluate.add_argument("targets", metavar="TARGETS.npy", help="any integer dtype")
    evaluate.add_argument(
        "--ignore-index", type=int, default=-100, metavar="LABEL", help="leave these rows out (default: -100)"
    )
    evaluate.add_argument("--top-k", type=_positive, default=5, metavar="K", help="for the top-k accuracy (default: 5)")
    evaluate.add_argument("--dtype", choices=["bfloat16"], help="what 2-byte logits are that NumPy has no dtype for")
    evaluate.add_argument(
        "--block-size",
        type=_size,
        default="64M",
        metavar="SIZE",
        help="bytes per block; suffixes K, M, G (default: 64M)",
    )
    evaluate.set_defaults(run=_evaluate)

    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="evaluate a small language model on Python's own standard library",
        description="Train a byte n-gram model on three quarters of the standard library's source files,\n"
        "evaluate its logits on the others, and compare with zlib, lzma and NumPy.\n"
        "Nothing is downloaded or kept.",
        epilog=EXIT_STATUS,
        formatter_class=raw,
    )
    demo.add_argument(
        "--bytes",
        type=_positive,
        default=1 << 21,
        metavar="N",
        help="held-out bytes to evaluate (default: 2097152)",
    )
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="version, instruction set, threads and compiler")
    info.set_defaults(run=lambda args: show_config())
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


def _evaluate(args: argparse.Namespace) -> None:
    logits = npy.open_logits(args.logits, args.dtype)
    targets = npy.open_targets(args.targets, logits.shape[:-1])
    evaluation = Evaluation(ignore_index=args.ignore_index, top_k=args.top_k)
    start = time.perf_counter()
    with report.progress("evaluating", logits.nbytes, quiet=args.quiet) as advance:
        for first, block, labels in _blocks(logits, targets, args.block_size):
            try:
                evaluation.update(block, labels)
            except IndexError:
                raise report.Failure(_bad_label(args, first, labels, logits.shape)) from None
            except (TypeError, ValueError) as error:
                raise report.Failure(f"{args.logits}: {error}") from None
            advance(block.nbytes)
    seconds = time.perf_counter() - start
    figures = {
        **evaluation.compute(),
        "logits": args.logits,
        "targets": args.targets,
        "shape": list(logits.shape),
        "dtype": logits.dtype.name,
        "seconds": seconds,
        "tokens_per_second": targets.size / seconds,
        "gigabytes_per_second": logits.nbytes / seconds / 1e9,
        "threads": get_num_threads(),
        "fastloss": __version__,
    }
    if args.json != "-":
        report.print_table(*_evaluation_table(figures, args.top_k))
    _write_json(figures, args.json)


def _blocks(
    logits: NDArray[Any], targets: NDArray[np.integer], size: int
) -> Iterator[tuple[int, NDArray[Any], NDArray[np.integer]]]:
    """Cut the rows into blocks of about `size` bytes: (number of the first row, logits, labels)."""
    rows_each = math.prod(logits.shape[1:-1])
    if logits.flags.c_contiguous:
        logits, targets, rows_each = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), 1
    step = max(1, size // max(1, logits.itemsize * math.prod(logits.shape[1:])))
    for first in range(0, len(logits), step):
        block = slice(first, first + step)
        yield first * rows_each, _native(logits[block]), _native(targets[block])


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _bad_label(args: argparse.Namespace, first: int, labels: NDArray[np.integer], shape: tuple[int, ...]) -> str:
    """Say which label of the block that starts at row `first` is the first out of range."""
    labels = labels.reshape(-1)
    bad = np.argmax(((labels < 0) | (labels >= shape[-1])) & (labels != args.ignore_index))
    row = ", ".join(map(str, np.unravel_index(first + bad, shape[:-1])))
    return f"{args.targets}: label {labels[bad]} at row {row} is out of range for {shape[-1]} classes"


def _evaluation_table(figures: dict[str, Any], top_k: int) -> tuple[str, list[list[report.Row]]]:
    fixed, significant = report.fixed, report.significant
    shape = " x ".join(f"{size:,}" for size in figures["shape"])
    counts: list[report.Row] = [
        ("count", f"{figures['count']:,}", ""),
        ("ignored", f"{figures['ignored']:,}", ""),
    ]
    if figures["nonfinite"]:
        counts.append(("not finite", f"{figures['nonfinite']:,}", "rows whose loss is infinite or NaN"))
    return f"{Path(figures['logits']).name}: {shape} {figures['dtype']}", [
        [
            ("loss", fixed(figures["loss"]), "nats per token"),
            ("perplexity", fixed(figures["perplexity"]), ""),
            ("bits per token", fixed(figures["bits_per_token"]), ""),
            ("accuracy", report.percent(figures["accuracy"]), ""),
            (f"top-{top_k} accuracy", report.percent(figures[f"top{top_k}_accuracy"]), ""),
            ("mean entropy", fixed(figures["entropy"]), "nats"),
        ],
        counts,
        [
            ("time", f"{figures['seconds']:.3f} s", f"{figures['threads']} threads"),
            ("tokens/s", significant(figures["tokens_per_second"]), ""),
            ("GB/s", significant(figures["gigabytes_per_second"]), "of logits"),
        ],
    ]


def _demo(args: argparse.Namespace) -> None:
    from . import demo

    figures = demo.run(args.bytes, quiet=args.quiet)
    if args.json != "-":
        report.print_table(*demo.table(figures))
    _write_json(figures, args.json)


def _write_json(figures: dict[str, Any], path: str | None) -> None:
    if path is None:
        return
    text = json.dumps(_finite(figures), indent=2, allow_nan=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
