"""How much memory a call takes beyond its arrays, and arrays of more than 2^31 elements."""

from __future__ import annotations

import copy
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
from cases import CASES
from helpers import DIFFERENTIABLE, DTYPES, reductions

import fastloss as fl
from fastloss.loss import LOSSES

MB = 2**20
# Softmax's value is an array; of what BLAS makes see test_linear.py and test_embedding.py.
ROWS = [
    name
    for name in DIFFERENTIABLE
    if name not in ("softmax", "log_softmax") and LOSSES[name].family not in ("linear", "embedding")
]


@pytest.mark.parametrize("dtype_name", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_nothing_of_the_logits_size_in_numpy(name, dtype_name):
    shape = (300_000,) if LOSSES[name].family == "pointwise" else (300, 1000)
    options = {"reduction": "mean"} if len(reductions(LOSSES[name])) > 1 else {}
    for variant in CASES[name].variants:
        if "distance_function" in variant:
            continue  # which makes arrays of its own
        arguments = CASES[name].draw(variant, np.random.default_rng(0), shape, dtype_name)
        outputs = tuple(arguments[key] for key in LOSSES[name].predictions)
        outputs = outputs if len(outputs) > 1 else outputs[0]
        LOSSES[name].value_and_grad(**arguments, **options, out=copy.deepcopy(outputs))
        tracemalloc.start()
        try:
            LOSSES[name].value_and_grad(**arguments, **options, out=outputs)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
@pytest.mark.parametrize(("shape", "axis"), [((500, 32_000), -1), ((1_600_000, 10), -1), ((2, 1000, 8000), 1)])
def test_nothing_of_the_logits_size_anywhere(shape, axis):
    """The peak of a whole process: logits of 64 MB, overwritten by their gradient."""
    code = f"""
    import resource, sys
    import numpy as np, fastloss as fl
    def peak():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    shape, axis = {shape}, {axis}
    x = np.full(shape, 0.5, np.float32)
    t = np.zeros(np.delete(shape, axis), np.int64)
    fl.cross_entropy.value_and_grad(np.full((512, 40), 1, np.float32), np.zeros(512, int))
    before = peak()
    fl.cross_entropy.value_and_grad(x, t, axis=axis, out=x)
    print(peak() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 16 * MB


# --- beyond 2^31 elements: rows that are all the same memory

CLASSES = 2000
MANY = 2**31 // CLASSES + 1000


@pytest.fixture(scope="module")
def many_rows():
    return np.broadcast_to(np.zeros(CLASSES, np.float16), (MANY, CLASSES))


def test_a_bad_label_beyond_two_billion_elements(many_rows):
    t = np.zeros(MANY, np.int16)
    t[-3] = CLASSES
    with pytest.raises(IndexError, match=rf"target\[{MANY - 3}\] is {CLASSES},"):
        fl.cross_entropy(many_rows, t)


@pytest.mark.skipif(sys.platform == "win32", reason="memory that is asked for is taken there, touched or not")
def test_a_bad_label_beyond_two_billion_elements_in_the_gradient(many_rows):
    # A mean needs the labels before the first gradient, so that not a page of 4 GB is touched.
    t = np.zeros(MANY, np.int16)
    t[-3] = CLASSES
    with pytest.raises(IndexError, match=rf"target\[{MANY - 3}\] is {CLASSES},"):
        fl.cross_entropy.value_and_grad(many_rows, t)


def test_two_billion_elements(many_rows):
    t = np.full(MANY, -100, np.int16)
    t[-3:] = 1
    assert fl.cross_entropy(many_rows, t) == pytest.approx(np.log(CLASSES), rel=1e-6)
    ones = np.broadcast_to(np.float16(1), 2**31 + 5)
    assert fl.mse_loss(ones, np.float16(0), reduction="sum") == 2**31 + 5
