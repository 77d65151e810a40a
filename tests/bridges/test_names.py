"""What the docstrings call the peers' equivalents exists under those names, in the libraries that are here."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import make_losses
import pytest

from fastloss.loss import LOSSES

NAMED = {peer for loss in LOSSES.values() for peer, _ in make_losses.entry(loss).peers}
NAMES = sorted(name for name in NAMED if find_spec(name.partition(".")[0]))


@pytest.mark.parametrize("name", NAMES)
def test_peer_exists(name):
    package, *path = name.split(".")
    found = importlib.import_module(package)
    for depth, each in enumerate(path, 1):
        if not hasattr(found, each):
            importlib.import_module(".".join([package, *path[:depth]]))
        found = getattr(found, each)
    assert callable(found)
