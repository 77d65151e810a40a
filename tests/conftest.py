"""Fixtures: every test that asks for ``isa`` runs once per instruction set this machine has.

Generated cases are the same in every run; ``HYPOTHESIS_PROFILE=search`` looks for new ones.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

import fastloss
from fastloss import _core

settings.register_profile("same", derandomize=True)
settings.register_profile("search", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# A job in the background of a shell begins with interrupts ignored, and so does what it starts; tests send some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = fastloss.config()["isa"]
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)
