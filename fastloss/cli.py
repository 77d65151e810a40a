"""The command line: what ``fastloss evaluate``, ``merge``, ``compare``, ``demo`` and ``info`` are told."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .commands import compare, demo, evaluate, merge
from .config import show_config
from .evaluation.evaluation import TASKS
from .failure import Failure
from .files import SUFFIXES
from .files.raw import FLOATS, NUMBERS
from .threads import num_threads

__all__ = ["main"]

if TYPE_CHECKING:
    _Arguments = argparse._ActionsContainer

EXIT_STATUS = """\
exit status:
  0    done
  1    the data could not be evaluated; one line on standard error says why
  2    wrong usage
  130  interrupted (143: told to end); with --state what was done is kept
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
    if getattr(args, "json", None) == getattr(args, "markdown", "") == "-":
        parser.error("--json and --markdown cannot both go to standard output")
    if args.command is None:
        parser.print_help()
        return 0
    try:
        with num_threads(args.threads) if args.threads else contextlib.nullcontext():
            args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt as interruption:
        return _say(str(interruption) or "interrupted", 128 + getattr(interruption, "number", 2))
    except BrokenPipeError:
        # Python flushes standard output once more on its way out: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", 1)
    except Failure as failure:
        return _say(f"error: {failure}", 1)
    except MemoryError:
        return _say("error: out of memory", 1)
    return 0


def _say(message: str, status: int) -> int:
    print(f"fastloss: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastloss",
        description="Loss functions at the speed of memory: evaluate stored logits.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastloss {__version__}")
    parser.set_defaults(threads=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (run, fill, help, description) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=help,
            description=description or help,
            epilog=EXIT_STATUS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        fill(command)
        command.set_defaults(run=run)
    return parser


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "logits", metavar="LOGITS", help="float16, float32, float64 or bfloat16; several files as a pattern in quotes"
    )
    parser.add_argument("targets", metavar="TARGETS", nargs="?", help="integers; by default in the files of the logits")
    _files(parser.add_argument_group("files"))
    _figures(parser.add_argument_group("figures"))
    written = parser.add_argument_group("what is written")
    written.add_argument("--per-token", metavar="FILE.npy", help="every row's loss; NaN where it is not evaluated")
    written.add_argument("--plot", metavar="FILE.png", help="pictures of the losses (.png, .svg, .pdf)")
    written.add_argument("--html", metavar="FILE.html", help="a page of figures and pictures, in one file")
    written.add_argument(
        "--state", metavar="FILE", help="what merge and --resume need, every minute and when interrupted too"
    )
    written.add_argument(
        "--resume", metavar="FILE", help="go on from this state, which is --state again unless another is given"
    )
    _common(parser, written)
    parser.add_argument(
        "--block-size",
        type=_size,
        default="64M",
        metavar="SIZE",
        help="bytes per block, of which up to 4 are held; suffixes K, M, G (default: 64M)",
    )


def _files(group: _Arguments) -> None:
    group.add_argument("--logits-key", metavar="KEY", help="which array or column is the logits, where it is not plain")
    group.add_argument("--labels-key", dest="targets_key", metavar="KEY", help="which are the targets")
    for name, what in _EXTRAS.items():
        group.add_argument(f"--{name}", metavar="FILE", help=f"{what}, from a file")
        flag = f"--{name.removesuffix('s') if name != 'bytes' else name}-key"
        group.add_argument(flag, dest=f"{name}_key", metavar="KEY", help=f"{what}, with the targets or logits")
    group.add_argument("--dtype", choices=FLOATS, help="of raw logits; bfloat16: of 2-byte values in any file")
    group.add_argument("--shape", type=_shape, metavar="N,...,C", help="the logits are raw; =-1,C: as many rows as fit")
    group.add_argument(
        "--labels-dtype", dest="targets_dtype", choices=NUMBERS, default="int64", help="of raw targets (default: int64)"
    )


def _figures(group: _Arguments) -> None:
    group.add_argument(
        "--ignore-index", type=int, default=-100, metavar="LABEL", help="leave these rows out (default: -100)"
    )
    group.add_argument(
        "--top-k", type=_several, default=5, metavar="K[,K...]", help="for the top-k accuracies (default: 5)"
    )
    group.add_argument(
        "--task",
        choices=list(TASKS),
        default="tokens",
        help="tokens: logits of classes (the default); binary, regression: one logit or prediction for each target",
    )
    group.add_argument(
        "--calibration", type=_positive, default=0, metavar="BINS", help="calibration error over so many bins, as 15"
    )
    group.add_argument("--brier", action="store_true", help="Brier score")
    group.add_argument(
        "--quantiles", type=_fractions, default=(), metavar="Q[,Q...]", help="of the error, with --task regression"
    )
    group.add_argument("--ranks", action="store_true", help="mean rank and mean reciprocal rank of the target")
    group.add_argument("--worst", type=_positive, default=0, metavar="N", help="the N rows of the largest losses")
    group.add_argument(
        "--first-row",
        type=int,
        default=0,
        metavar="N",
        help="the number of the first row, for the --worst of merged states",
    )


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("states", metavar="STATE", nargs="+", help="as evaluate --state wrote them")
    parser.add_argument("--state", metavar="FILE", help="write the state of all of them")
    _common(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    for name in ("a", "b"):
        parser.add_argument(name, metavar=name.upper(), help="losses (.npy), figures (.json) or a state")
    parser.add_argument("--unpaired", action="store_true", help="compare the means alone")
    _common(parser)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bytes",
        type=_positive,
        default=1 << 21,
        metavar="N",
        help="held-out bytes to evaluate (default: 2097152)",
    )
    _common(parser)


def _common(parser: argparse.ArgumentParser, written: _Arguments | None = None) -> None:
    (written or parser).add_argument(
        "--json",
        metavar="FILE",
        help="also write the figures to FILE as JSON (infinite and NaN as null); with -, only that, to standard output",
    )
    (written or parser).add_argument("--markdown", metavar="FILE", help="the tables as Markdown; - likewise")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.add_argument("--threads", type=_positive, metavar="N", help="number of threads")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _several(text: str) -> int | tuple[int, ...]:
    values = tuple(_positive(each) for each in text.split(","))
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text!r} names a number twice")
    return values[0] if len(values) == 1 else values


def _fractions(text: str) -> tuple[float, ...]:
    values = tuple(float(each) for each in text.split(","))
    if not all(0 <= each <= 1 for each in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 1")
    return values


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2].upper()]


def _shape(text: str) -> tuple[int, ...]:
    first, *others = (int(each) for each in text.split(","))
    if first < -1 or any(each < 0 for each in others):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 1000,32000")
    return first, *others


_EXTRAS = {
    "groups": "which group a row is of, to be evaluated by itself",
    "sequences": "which text a row is of, for the mean of the texts' perplexities",
    "bytes": "how many bytes of text a row is, for bits per byte",
}
_RAW = ".bin, .raw or .dat"
_COMMANDS: dict[str, tuple[Any, Callable[[argparse.ArgumentParser], None], str, str]] = {
    "evaluate": (
        evaluate.run,
        _evaluate,
        "loss, perplexity, accuracy and more of files of logits",
        "Evaluate logits (..., classes) against integer targets (...), in files that are read once, in blocks: they\n"
        "may be larger than memory. The format is told by the name:\n"
        f"{', '.join(SUFFIXES)};\n"
        f"{_RAW} are raw values, which need --dtype and --shape; - is an Arrow stream on standard input.\n"
        "All but .npy, .npz and raw files need the [files] extra.",
    ),
    "merge": (
        merge.run,
        _merge,
        "the figures of evaluations that were run apart",
        "Merge states that evaluate --state wrote: the figures are those of one evaluation of all the files, to the\n"
        "last bit.",
    ),
    "compare": (
        compare.run,
        _compare,
        "the difference of two models' losses, with its standard error",
        "Compare B with A. Where both are losses of the same rows (what evaluate --per-token wrote, or --json figures\n"
        "that name it), rows are compared one by one; else the means are, as those of unrelated samples.",
    ),
    "demo": (
        demo.run,
        _demo,
        "evaluate a small language model on Python's own standard library",
        "Train a byte n-gram model on three quarters of the standard library's source files,\n"
        "evaluate its logits on the others, and compare with zlib, lzma and NumPy.\n"
        "Nothing is downloaded or kept.",
    ),
    "info": (lambda args: show_config(), lambda parser: None, "version, instruction set, threads and compiler", ""),
}
