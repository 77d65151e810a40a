"""The error of files and commands: what is wrong, in one line."""

from __future__ import annotations

__all__ = ["Failure"]


class Failure(ValueError):
    """What a command says in one line, without a traceback, before it ends with status 1."""
