"""pytest-benchmark cases: every loss of the registry x dtype x shape x value and value_and_grad.

`pytest bench` times them; `pytest bench --benchmark-disable` only calls each one once.
"""

from __future__ import annotations

from typing import Any

import pytest

from fastloss.loss import LOSSES

from .problem import Problem, dtype_of
from .run import FASTLOSS, ours
from .work import Work, modes

pytest.importorskip("pytest_benchmark")

DTYPES = ("float32", "float64", "float16", "bfloat16")
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "pointwise": ((1000,), (1 << 22,)),
    "linear": ((64, 32, 1000),),
    "embedding": ((256, 32),),
    "rowwise": ((32, 10), (100_000, 10), (4096, 1000), (128, 32000)),
}
CASES = [
    Work(name, shape, mode, dtype)
    for name, loss in LOSSES.items()
    for dtype in DTYPES
    if dtype_of(dtype) is not None  # bfloat16 is ml_dtypes'
    for shape in SHAPES.get(loss.family, ())
    for mode in modes(name)
]


@pytest.mark.parametrize("work", CASES, ids=lambda work: work.name.replace(" ", "-"))
def test_bench(work: Work, benchmark: Any) -> None:
    dtype = dtype_of(work.dtype)
    assert dtype is not None
    problem = Problem(work, dtype)
    benchmark.group = f"{work.loss} {work.mode}"
    benchmark.extra_info["bytes"] = problem.bytes
    benchmark(ours(problem)[FASTLOSS].call)
