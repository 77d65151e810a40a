"""Loads the kernels, and with them OpenMP, so that its threads do not keep the cores from others when they rest.

GNU's OpenMP has a thread that waits for work do so awake for some milliseconds, on the core where BLAS's thread wants
to be for the next product: a loop of products and losses took three times as long. For how long it asks the environment
when it is loaded, and never again. Whoever has said something about it there is obeyed, and other libraries' copies of
OpenMP see the environment as it was.
"""

from __future__ import annotations

import os

__all__: list[str] = []

_TURNS = "GOMP_SPINCOUNT"

if os.environ.keys().isdisjoint(("OMP_WAIT_POLICY", _TURNS)):
    os.environ[_TURNS] = "1000"  # tens of microseconds
    try:
        from . import _core  # noqa: F401
    finally:
        del os.environ[_TURNS]
