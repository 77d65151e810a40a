"""The same bits however the work is shared, and threads that survive a fork and each other."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import ALL, CASES
from helpers import DTYPES, NARROW, assert_same, everything, peer

import fastloss as fl
from fastloss import _core
from fastloss.loss import LOSSES

# Large enough for threads, and not a multiple of any lane, block or tile.
LARGE = {
    "pointwise": [(300_003,)],
    "rowwise": [(30_011, 10), (307, 1000), (9, 33_001)],
    "sequence": [(151, 19, 90)],
    "embedding": [(520, 17)],
    "linear": [(307, 1000), (9, 33_001)],
}
# Several tiles of them, of rows of every kind.
SEVERAL = {
    **LARGE,
    "pointwise": [(70_003,)],
    "rowwise": [(3011, 10), (70, 1000), (3, 33_001)],
    "sequence": [(50, 7, 30)],
}
# Every variant in float32, the plain one in every other dtype.
TRIED = [(*case, "float32") for case in ALL] + [(name, 0, each) for name in LOSSES for each in DTYPES[1:]]


def drawn(name, variant, dtype_name, shape):
    return CASES[name].draw(CASES[name].variants[variant], np.random.default_rng(1), shape, dtype_name)


@pytest.fixture(scope="module")
def every_entry_point():
    calls = [(name, drawn(name, 0, "float32", LARGE[loss.family][0])) for name, loss in LOSSES.items()]
    return lambda: tuple(everything(name, **arguments) for name, arguments in calls)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux")
@pytest.mark.skipif(not _core.can_thread(), reason="needs OpenMP")
def test_large_is_large_enough(every_entry_point):
    with fl.num_threads(7):
        every_entry_point()
        assert len(os.listdir("/proc/self/task")) > 3


@pytest.mark.parametrize(("name", "variant", "dtype_name"), TRIED)
def test_number_of_threads(name, variant, dtype_name):
    for shape in LARGE[LOSSES[name].family]:
        arguments = drawn(name, variant, dtype_name, shape)
        with fl.num_threads(1):
            expected = everything(name, **arguments)
        for threads in (2, 3, 7):
            with fl.num_threads(threads):
                assert_same(everything(name, **arguments), expected)


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(_core.isas()), reason="needs two instruction sets with FMA")
@pytest.mark.parametrize(("name", "variant", "dtype_name"), TRIED)
def test_instruction_set(name, variant, dtype_name):
    before = fl.config()["isa"]
    for shape in SEVERAL[LOSSES[name].family]:
        arguments = drawn(name, variant, dtype_name, shape)
        answers = []
        try:
            for isa in ("avx2", "avx512"):
                _core.use_isa(isa)
                answers.append(everything(name, **arguments))
        finally:
            _core.use_isa(before)
        assert_same(*answers)


def shifted(x, by):
    """The same array, ``by`` elements away from a 64-byte boundary."""
    raw = np.zeros(x.nbytes + 64 * 17 + 64, np.uint8)
    start = -raw.ctypes.data % 64 + by * x.itemsize
    view = raw[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_alignment(name, dtype_name, isa):
    for shape in [(3000,)] if LOSSES[name].family == "pointwise" else [(70, 10), (3, 1100)]:
        arguments = drawn(name, 0, dtype_name, shape)
        expected = everything(name, **arguments)
        for by in (1, 2, 3, 5, 8, 15):
            moved = {key: shifted(item, by) if np.ndim(item) else item for key, item in arguments.items()}
            assert_same(everything(name, **moved), expected)


@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("classes", [2, 10, NARROW, NARROW + 1, 1500])
@pytest.mark.parametrize(
    "name", [name for name, loss in LOSSES.items() if loss.family == "rowwise" and name != "perplexity"]
)
def test_batching(name, classes, dtype_name, isa):
    """A row by itself, in any part of a batch and in the whole batch is the same."""
    rows = 71
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, variant, dtype_name, (rows, classes))
        together = unreduced(name, arguments)
        for part in [slice(i, i + 1) for i in (0, 31, 32, 70)] + [slice(0, 33), slice(5, 69), slice(40, 71)]:
            some = {key: item[part] if np.ndim(item) and len(item) == rows else item for key, item in arguments.items()}
            assert_same(unreduced(name, some), cut(together, part))


def cut(answers, part):
    return tuple(cut(each, part) if isinstance(each, tuple) else each[part] for each in answers)


def unreduced(name, arguments):
    loss = LOSSES[name]
    options = {"reduction": "none"} if "reduction" in inspect.signature(loss).parameters else {}
    if not hasattr(loss, "value_and_grad"):
        return tuple(loss(**arguments))
    return loss.value_and_grad(**arguments, **options)


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("dtype_name", DTYPES)
def test_batching_of_elements(name, dtype_name, isa):
    arguments = drawn(name, 1, dtype_name, (70_001,))
    value, grad = LOSSES[name].value_and_grad(**arguments, reduction="none")
    for part in (slice(0, 1), slice(3, 40), slice(65_530, 65_541), slice(17, 70_001)):
        some = {key: item[part] for key, item in arguments.items()}
        assert_same(LOSSES[name].value_and_grad(**some, reduction="none"), (value[part], grad[part]))


# --- fork and Python's threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_threads(every_entry_point):
    with fl.num_threads(2):
        before = every_entry_point()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert_same(every_entry_point(), before)
                code = 0
            finally:
                os._exit(code)
        assert finished(child) == 0
        assert_same(every_entry_point(), before)


def finished(child, seconds=60):
    """Exit status of a child that has to end in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked child hangs")


def test_many_python_threads_at_once(every_entry_point):
    expected = every_entry_point()
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: every_entry_point(), range(4)):
            assert_same(answer, expected)


# --- the interface


def test_set_and_get():
    before = fl.get_num_threads()
    try:
        fl.set_num_threads(3)
        assert fl.get_num_threads() == 3
        with fl.num_threads(1):
            assert fl.get_num_threads() == 1
            with fl.num_threads(2):
                assert fl.get_num_threads() == 2
            assert fl.get_num_threads() == 1
        assert fl.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), fl.num_threads(2):
            _ = 1 / 0
        assert fl.get_num_threads() == 3
    finally:
        fl.set_num_threads(None)
    assert fl.get_num_threads() == before


@pytest.mark.parametrize("bad", [0, -1])
def test_number_out_of_range(bad):
    with pytest.raises(ValueError, match=str(bad)):
        fl.set_num_threads(bad)
    with pytest.raises(ValueError, match=str(bad)), fl.num_threads(bad):
        pass


@pytest.mark.parametrize("bad", [1.5, "2"])
def test_number_of_another_type(bad):
    with pytest.raises(TypeError):
        fl.set_num_threads(bad)
    with pytest.raises(TypeError), fl.num_threads(bad):
        pass


def test_config_tells_threads_and_isa(capsys):
    config = fl.config()
    assert config["isa"] in _core.isas()
    fl.show_config()
    shown = capsys.readouterr().out
    assert fl.__version__ in shown
    assert config["isa"] in shown


def test_unknown_isa_is_refused():
    before = fl.config()["isa"]
    with pytest.raises(ValueError, match="mmx"):
        _core.use_isa("mmx")
    assert fl.config()["isa"] == before


def threads_of_a_new_process(code="", **environment):
    code = f"import fastloss as fl\n{code}\nprint(fl.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not _core.can_thread(), reason="needs OpenMP")
def test_openmp_environment_is_respected():
    assert threads_of_a_new_process(OMP_NUM_THREADS="3") == 3
    assert threads_of_a_new_process("fl.set_num_threads(2)", OMP_NUM_THREADS="3") == 2
    assert threads_of_a_new_process("fl.set_num_threads(2); fl.set_num_threads(None)", OMP_NUM_THREADS="3") == 3


GNU = os.path.exists("/proc/self/maps") and "libgomp" in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not GNU, reason="needs GNU's OpenMP")
@pytest.mark.parametrize(
    ("said", "turns"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")]
)
def test_threads_rest(said, turns):
    """Not awake for long, unless the environment says so; which is left as it was."""
    code = "import os; before = dict(os.environ); import fastloss; assert before == os.environ"
    clean = {key: each for key, each in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **said, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{turns}'" in done.stderr


@pytest.mark.skipif(not _core.can_thread(), reason="needs OpenMP")
def test_threadpoolctl_is_respected():
    peer("threadpoolctl")
    limit = "import threadpoolctl; threadpoolctl.threadpool_limits(1, user_api='openmp')"
    assert threads_of_a_new_process(limit, OMP_NUM_THREADS="3") == 1


CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
TEAM = """
import os, sys
import numpy as np
import fastloss as fl
from pathlib import Path

def threads():
    return {int(name) for name in os.listdir("/proc/self/task")}

def core(thread):
    return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[36])

def call():
    return fl.mse_loss(x, 0.0)

x = np.linspace(0, 1, 1 << 20, dtype=np.float32)
a, b = map(int, sys.argv[1:])
fl.set_num_threads(2)
before, value = threads(), call()
(helper,) = threads() - before
"""
needs_cores = pytest.mark.skipif(
    not (sys.platform == "linux" and _core.can_thread() and len(CORES) > 1), reason="needs Linux and two cores"
)


def team_on_two_cores(code, **environment):
    """Runs code in a process of its own, where a team of two threads has worked once, on cores a and b."""
    clean = {key: each for key, each in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", TEAM + code, *map(str, CORES[:2])],
        env={**clean, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@needs_cores
def test_helpers_keep_off_the_callers_core():
    """Even where they are woken there; but never go where all threads of the process have been told not to be."""
    team_on_two_cores("""
apart = 0
for mine, other in [(a, b), (b, a)] * 10:
    for thread in threads():
        os.sched_setaffinity(thread, {mine})
    for _ in range(2):
        assert call() == value
        assert os.sched_getaffinity(helper) == {mine}
    os.sched_setaffinity(helper, {a, b})
    assert call() == value
    apart += core(helper) == other
    assert os.sched_getaffinity(helper) in ({other}, {a, b})
assert apart > 15  # all of them, unless other processes had the cores
""")


@needs_cores
def test_helpers_come_back_when_the_caller_has_moved():
    team_on_two_cores("""
met = back = 0
for _ in range(200):
    for mine in (a, b):
        os.sched_setaffinity(helper, {mine})
        os.sched_setaffinity(0, {mine})
        os.sched_setaffinity(helper, {a, b})
        os.sched_setaffinity(0, {a, b})  # where it is
        assert call() == value
        met += os.sched_getaffinity(helper) != {a, b}
        os.sched_setaffinity(0, {a, b} - {mine})
        os.sched_setaffinity(0, {a, b})
        assert call() == value
        now = os.sched_getaffinity(helper)
        assert now and now <= {a, b}
        back += met > 0 and mine in now
    if back > 2:
        break
assert back or not met
""")


@needs_cores
@pytest.mark.parametrize("kind", ["true", "close", "spread"])
def test_bound_helpers_stay_where_they_are(kind):
    """Also where the caller comes to their core."""
    team_on_two_cores("""
bound = os.sched_getaffinity(helper)
assert len(bound) == 1
for place in [{a}, {b}, {a}]:
    os.sched_setaffinity(0, place)
    for _ in range(3):
        assert call() == value
        assert os.sched_getaffinity(helper) == bound
""", OMP_PROC_BIND=kind, OMP_PLACES="threads")  # fmt: skip
