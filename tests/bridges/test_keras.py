"""fastloss.keras on each backend of Keras: keras_checks.py in a process of its own, which can have one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import needs

HERE = Path(__file__).parent
BACKENDS = ["jax", "tensorflow", "torch"]


@pytest.mark.parametrize("backend", [pytest.param(each, marks=needs("keras", each)) for each in BACKENDS])
def test_backend(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-W", "ignore", str(HERE / "keras_checks.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
