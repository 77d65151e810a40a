"""Files that are written: whole or not at all, so that a full disk or an interruption leaves the old one."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from ..failure import Failure

__all__ = ["STDOUT", "as_json", "check", "one_line", "replace", "write", "write_json"]

STDOUT = "-"


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file, or to standard output if it is called "-"; a file that is there is replaced in one step.

    Raises
    ------
    Failure
        If it cannot be written: what was there before is there still.
    """
    path = os.fspath(path)
    if path == STDOUT:
        assert isinstance(content, str)
        sys.stdout.write(content)
        return
    data = content.encode() if isinstance(content, str) else content
    with one_line(path):
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device
            with open(path, "wb", buffering=0) as file:
                file.write(data)
            return
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def replace(temporary: str, path: str) -> None:
    """Give a file that is complete and on the disk its name, and wait until the disk has that too."""
    path = os.path.realpath(path)
    with one_line(path):
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(os.path.dirname(path), os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextlib.contextmanager
def one_line(path: str) -> Iterator[None]:
    """Say in one line that a file could not be written."""
    try:
        yield
    except OSError as error:
        raise Failure(f"{path}: not written: {error.strerror or error}") from None


def as_json(figures: Any) -> str:
    """Return strict JSON, which has no infinity and no NaN: they become null."""
    return json.dumps(_finite(figures), indent=2, allow_nan=False) + "\n"


def write_json(figures: dict[str, Any], path: str | None) -> None:
    """Write figures as JSON, if a path is given."""
    if path is not None:
        write(path, as_json(figures))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check(path: str | None, *, stdout: bool = False) -> None:
    """Refuse a path that cannot be written to, before hours of work; "-" too, unless that is standard output."""
    if path is None or (path == STDOUT and stdout):
        return
    if path == STDOUT:
        raise Failure("of what is written, only --json and --markdown can go to standard output")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise Failure(f"{path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise Failure(f"{path}: is a folder")
