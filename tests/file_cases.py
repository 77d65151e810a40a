"""Arrays written to files in every way, and data sets read back in blocks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import fastloss
from fastloss.files import Dataset, ahead

DTYPES = ("float16", "float32", "float64")


@st.composite
def arrays(draw):
    """Logits (..., classes), targets and groups (...), drawn by their shape and dtype."""
    lead = draw(st.sampled_from([(1,), (7,), (40,), (5, 3), (9, 1), (2, 3, 4)]))
    classes = draw(st.sampled_from([1, 2, 7, 100]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, 3, (*lead, classes)).astype(draw(st.sampled_from(DTYPES)))
    labels = rng.integers(0, classes, lead).astype(draw(st.sampled_from(["int64", "uint8", "int32"])))
    return logits, labels, rng.integers(0, 3, lead)


def read(dataset: Dataset, size: int = 1 << 26, start: int = 0) -> tuple[np.ndarray, ...]:
    """Every row from `start` on: logits, targets, and the extras in their order."""
    blocks = list(ahead(dataset.blocks(size, start)))
    at = start
    for block in blocks:
        assert block.first == at
        assert 1 <= len(block.logits) <= max(1, size // dataset.row_bytes)
        at += len(block.logits)
    columns = zip(*((block.logits, block.targets, *block.extras.values()) for block in blocks), strict=True)
    return tuple(np.concatenate(column) for column in columns)


def check(dataset: Dataset, expected: tuple[np.ndarray, ...], size: int, start: float) -> None:
    """The data set has these arrays' rows, from that part of them on, in blocks of that size."""
    logits = expected[0].reshape(-1, expected[0].shape[-1])
    first = int(start * (len(logits) - 1))
    flat = (logits, *(each.reshape(-1) for each in expected[1:]))
    assert dataset.rows in (len(logits), None)
    assert dataset.shape[1:] == list(expected[0].shape[1:])
    for got, want in zip(read(dataset, size, first), flat, strict=True):
        np.testing.assert_array_equal(got, want[first:])
        assert got.dtype.kind == "U" or got.dtype == want.dtype.newbyteorder("=")


def shards(write, arrays, count: int, name: str) -> None:
    """Write the parts of an array as name-0, name-1, ...: more than nine, to need their natural order."""
    step = math.ceil(len(arrays) / count)
    for i in range(count):
        if len(part := arrays[i * step : (i + 1) * step]):
            write(name.format(i), part)


def evaluated(*arguments: str, ml_dtypes: bool) -> dict:
    """What ``fastloss evaluate`` says in a process of its own, in which there may be no ml_dtypes."""
    hidden = "" if ml_dtypes else "sys.modules['ml_dtypes'] = None; "
    code = (
        f"import sys; {hidden}from fastloss import cli; sys.exit(cli.main(['evaluate', *sys.argv[1:], '--json', '-']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(fastloss.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)
