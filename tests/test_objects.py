"""Each instruction set's object defines its table alone, calls only libm and memcpy's family, scans whole vectors."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import not_sanitized

OBJECTS = sorted(Path(__file__).parents[1].glob("build/temp*/csrc/isa/*.o"))
LIBM = re.compile(
    r"(exp|exp2|expm1|log|log1p|log2|tanh|cosh|pow|sqrt|fma|ldexp|fabs|fmax|fmin|rint|nearbyint|floor)[fl]?"
)
LIBC = re.compile(r"mem(cpy|set|move|cmp)")

pytestmark = [
    pytest.mark.skipif(not shutil.which("nm"), reason="needs nm"),
    pytest.mark.skipif(not OBJECTS, reason="needs the objects of a build in place"),
    not_sanitized,
]


def symbols(path, *options):
    done = subprocess.run(["nm", "-P", "-g", *options, str(path)], capture_output=True, text=True, check=True)
    # On macOS every C name begins with an underscore.
    return {line.split()[0].removeprefix("_") for line in done.stdout.splitlines()}


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_defines_its_table_alone(path):
    assert symbols(path, "--defined-only") == {f"fl_table_{path.stem}"}


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_calls_mathematics_and_memory_alone(path):
    undefined = symbols(path, "--undefined-only")
    foreign = {name for name in undefined if not (LIBM.fullmatch(name) or LIBC.fullmatch(name))}
    assert foreign <= {"GLOBAL_OFFSET_TABLE_"}


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs objdump")
@pytest.mark.parametrize(
    "path", [path for path in OBJECTS if path.stem.startswith("avx512")], ids=lambda path: path.stem
)
def test_scans_neither_gather_nor_scatter(path):
    # An index that may wrap makes gcc reach for each lane's address: several times slower, with the same bits.
    done = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(path)], capture_output=True, text=True, check=True
    )
    name, scans, reached = "", set(), set()
    for line in done.stdout.splitlines():
        if begin := re.fullmatch(r"[0-9a-f]+ <(.*)>:", line):
            name = begin[1]
        if "_scan_" in name:
            scans.add(name)
            if re.search(r"\bvp?(gather|scatter)", line):
                reached.add(name)
    assert scans
    assert not reached
