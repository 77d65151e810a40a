"""``fastloss demo``: a real text evaluated, a language model's logits streamed through Evaluation.

The text is Python's own standard library. A byte n-gram model learns three quarters of its source files and
predicts the others; zlib and lzma compress the same bytes for comparison.
"""

from __future__ import annotations

import lzma
import math
import sys
import sysconfig
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import report
from .evaluation import Evaluation
from .failure import Failure
from .ngram import ByteNGram
from .rowwise import cross_entropy
from .threads import get_num_threads

__all__ = ["corpus", "run", "table"]

BLOCK = 1 << 16  # rows of 256 logits in one update: 64 MiB
PART = 1 << 14  # rows compared with NumPy
LEAST = 1 << 16  # bytes of text below which there is nothing to show
TOLERANCE = 1e-6
LEFT_OUT = {
    *("test", "tests", "idle_test", "idlelib", "lib2to3"),
    *("site-packages", "dist-packages", "__pycache__"),
}


def corpus(folder: Path) -> tuple[bytes, bytes]:
    """Return the text of every Python source file under `folder`: training, held out (every fourth file)."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    names = [name for name in names if LEFT_OUT.isdisjoint(name.split("/"))]
    texts = [(folder / name).read_bytes() for name in names]
    held_out = b"".join(texts[::4])
    del texts[::4]
    training = b"".join(texts)
    if min(len(training), len(held_out)) < LEAST:
        raise Failure(
            f"{folder} has too few Python sources ({len(training) + len(held_out):,} bytes): the demo takes "
            "its text from the standard library, which this Python has in a zip file or without sources"
        )
    return training, held_out


def run(size: int, *, quiet: bool = False) -> dict[str, Any]:
    """Evaluate the model on the first `size` held-out bytes and return every figure of the report."""
    start = time.perf_counter()
    training_clock, model_clock, loss_clock = _Clock(), _Clock(), _Clock()
    folder = Path(sysconfig.get_path("stdlib"))
    training, held_out = corpus(folder)
    text = held_out[:size]

    with training_clock:
        model = ByteNGram(training)
    contexts, labels = model.contexts(text), np.frombuffer(text, np.uint8)
    logits = np.empty((min(BLOCK, len(text)), 256), np.float32)
    evaluation = Evaluation()
    with report.progress("evaluating", len(text) * 1024, quiet=quiet) as advance:
        for first in range(0, len(text), BLOCK):
            block = slice(first, first + BLOCK)
            rows = logits[: len(labels[block])]
            with model_clock:
                model.log_probs(contexts[block], out=rows)
            with loss_clock:
                evaluation.update(rows, labels[block])
            advance(rows.nbytes)

    part = slice(0, min(PART, len(text)))
    return {
        **evaluation.compute(),
        "python": sys.version.split()[0],
        "source": str(folder),
        "training_bytes": len(training),
        "held_out_bytes": len(text),
        "logits_bytes": len(text) * 1024,
        "zlib_bits_per_byte": 8 * len(zlib.compress(text, 9)) / len(text),
        "lzma_bits_per_byte": 8 * len(lzma.compress(text, preset=9)) / len(text),
        "threads": get_num_threads(),
        "training_seconds": training_clock.seconds,
        "model_seconds": model_clock.seconds,
        "loss_seconds": loss_clock.seconds,
        "part_rows": part.stop,
        "part": _compare(model.log_probs(contexts[part], out=logits[part]), labels[part]),
        "total_seconds": time.perf_counter() - start,
        "peak_memory_bytes": _peak_memory(),
    }


def table(figures: dict[str, Any]) -> tuple[str, list[list[report.Row]]]:
    """Return the report's title and sections."""
    fixed, percent, significant = report.fixed, report.percent, report.significant
    nbytes, seconds = figures["held_out_bytes"], figures["loss_seconds"]
    alone = "has seen the held-out text alone"
    parts: list[report.Row] = []
    for name, entry in figures["part"].items():
        ratio = significant(entry["seconds"] / figures["part"]["fastloss"]["seconds"])
        remark = f"{ratio} x the time, differs by {entry['difference']:.0e}"
        parts.append(
            (
                name,
                f"{1e3 * entry['seconds']:,.2f} ms",
                remark if parts else "cross_entropy, its best run",
            )
        )
    return f"Python {figures['python']}'s standard library, predicted by a byte n-gram model", [
        [
            ("training text", f"{figures['training_bytes']:,}", "bytes: three files in four"),
            ("held-out text", f"{nbytes:,}", "bytes of the others"),
        ],
        [
            ("loss", fixed(figures["loss"]), "nats per byte"),
            ("perplexity", fixed(figures["perplexity"]), ""),
            ("accuracy", percent(figures["accuracy"]), ""),
            ("top-5 accuracy", percent(figures["top5_accuracy"]), ""),
            ("mean entropy", fixed(figures["entropy"]), "nats"),
        ],
        [
            ("bits per byte", fixed(figures["bits_per_token"]), "the model has read the training text"),
            ("zlib -9", fixed(figures["zlib_bits_per_byte"]), alone),
            ("lzma -9", fixed(figures["lzma_bits_per_byte"]), alone),
        ],
        [
            ("training", f"{figures['training_seconds']:.2f} s", ""),
            (
                "producing logits",
                f"{figures['model_seconds']:.2f} s",
                f"{nbytes * 1.024e-6:.2f} GB of float32",
            ),
            ("evaluating them", f"{seconds:.2f} s", f"all of the above, {figures['threads']} threads"),
            ("", significant(1e9 * seconds / nbytes), "ns per byte of text"),
            ("", significant(nbytes * 1.024e-6 / seconds), "GB/s of logits"),
        ],
        [("part", f"{figures['part_rows']:,}", "rows, by fastloss and by NumPy"), *parts],
        [
            ("whole demo", f"{figures['total_seconds']:.1f} s", ""),
            ("peak memory", f"{figures['peak_memory_bytes'] / 1e6:,.0f} MB", ""),
        ],
    ]


def _compare(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """Time the cross entropy of some rows in fastloss and NumPy; all must agree, and so must Evaluation."""
    ways: dict[str, Callable[..., float]] = {
        "fastloss": cross_entropy,
        "NumPy float32": _numpy_cross_entropy,
        "NumPy float64": cross_entropy.reference,
    }
    figures = {}
    for name, way in ways.items():
        clock, best = _Clock(), math.inf
        while clock.seconds < 0.25 or clock.runs < 3:
            before = clock.seconds
            with clock:
                loss = way(logits, labels)
            best = min(best, clock.seconds - before)
        figures[name] = {"loss": loss, "seconds": best}
    evaluation = Evaluation()
    evaluation.update(logits, labels)
    truth = figures["NumPy float64"]["loss"]
    for name, entry in {**figures, "Evaluation": evaluation.compute()}.items():
        entry["difference"] = abs(entry["loss"] / truth - 1.0)
        if not entry["difference"] <= TOLERANCE:
            raise Failure(f"{name} gives {entry['loss']!r}, the NumPy float64 reference {truth!r}")
    return figures


def _numpy_cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, labels[:, np.newaxis].astype(np.intp), axis=-1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=-1)) - chosen, dtype=np.float64))


class _Clock:
    """Adds up the seconds spent in its with-blocks."""

    seconds = 0.0
    runs = 0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._start
        self.runs += 1


def _peak_memory() -> float:
    try:
        import resource
    except ImportError:  # not on Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
