"""Which files are meant: names, patterns of names in their natural order, and whether a file is still what it was."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..failure import Failure

__all__ = ["STDIN", "expand", "fingerprint"]

STDIN = "-"


def expand(names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the files that names or patterns (``*``, ``?``, ``[...]``, ``**``) mean; shard 2 comes before shard 10.

    Raises
    ------
    Failure
        If a pattern fits no file.

    Examples
    --------
    >>> from fastloss.files.shards import expand
    >>> expand(["a.npy", "b.npy"])
    ['a.npy', 'b.npy']
    """
    found = []
    for name in [names] if isinstance(names, (str, os.PathLike)) else names:
        name = os.fspath(name)
        if name == STDIN or os.path.exists(name) or not glob.has_magic(name):
            found.append(name)
            continue
        files = sorted(glob.glob(name, recursive=True), key=_natural)
        if not files:
            raise Failure(f"{name}: no file fits this pattern")
        found += files
    return found


def _natural(name: str) -> list[tuple[int, str]]:
    """Order digits as the number they make."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def fingerprint(name: str) -> list[int]:
    """Return the size of a file (of all files in a folder), and when it was last written, in nanoseconds."""
    path = Path(name)
    found = [each.stat() for each in ([path] if path.is_file() else path.rglob("*"))]
    return [sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)]
