"""Fixtures: every test that asks for ``isa`` runs once per instruction set this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fastloss
from fastloss import _core


@pytest.fixture(params=_core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = fastloss.config()["isa"]
    _core.use_isa(request.param)
    yield request.param
    _core.use_isa(before)
