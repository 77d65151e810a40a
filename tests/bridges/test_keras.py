"""fastloss.keras on each backend of Keras: keras_checks.py in a process of its own, which can have one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import peer

HERE = Path(__file__).parent


@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_backend(backend):
    peer("keras")
    if backend != "tensorflow":
        peer(backend)
    elif os.environ.get("FASTLOSS_BRIDGES") != "1" and not any((Path(p) / "tensorflow").is_dir() for p in sys.path):
        pytest.skip("tensorflow is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-W", "ignore", str(HERE / "keras_checks.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
