"""What ``import fastloss`` costs: NumPy, the standard library, and little time."""

from __future__ import annotations

import subprocess
import sys

from helpers import not_sanitized


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_numpy_and_the_standard_library_alone():
    out = run(
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import fastloss\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})\n"
    )
    foreign = {name for name in out.split() if name not in sys.stdlib_module_names} - {"fastloss", "numpy"}
    # Cython's own bookkeeping, not a library
    assert {name for name in foreign if "cython" not in name.lower()} == set()


def test_imports_nothing_heavy_of_the_standard_library():
    out = run("import sys, numpy; before = set(sys.modules); import fastloss; print(*set(sys.modules) - before)")
    heavy = {"argparse", "multiprocessing", "asyncio", "http", "unittest", "doctest", "sqlite3", "tkinter"}
    assert not heavy & set(out.split())


@not_sanitized
def test_is_quick():
    """Loosely, so that a busy machine passes; the goal is 30 ms over NumPy."""
    code = "import time, numpy; t = time.perf_counter(); import fastloss; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.2


def test_unknown_isa_in_the_environment_is_a_clear_error():
    code = "import os; os.environ['FASTLOSS_ISA'] = 'mmx'; import fastloss"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "FASTLOSS_ISA" in done.stderr
    assert "mmx" in done.stderr


def test_isa_in_the_environment_is_used():
    code = "import os; os.environ['FASTLOSS_ISA'] = 'base'; import fastloss; print(fastloss.config()['isa'])"
    assert run(code).strip() == "base"
