"""Which reader opens a file: by its name, as nothing but the name tells a raw file from a damaged one."""

from __future__ import annotations

import importlib
import os
from typing import NamedTuple

from ..failure import Failure
from .npy import open_npy, open_npz
from .raw import open_raw
from .reader import Reader
from .shards import STDIN

__all__ = ["SUFFIXES", "Raw", "open_reader"]


class Raw(NamedTuple):
    """What a raw file holds; what is None is not known."""

    dtype: str | None = None
    shape: tuple[int, ...] | None = None


class _Library(NamedTuple):
    """A reader of this folder that needs a library of the ``files`` extra."""

    name: str
    module: str
    opener: str


_ARROW = _Library("pyarrow", "arrow", "open_arrow")
_LIBRARIES = {
    ".safetensors": _Library("safetensors", "safetensors", "open_safetensors"),
    ".parquet": _Library("pyarrow", "parquet", "open_parquet"),
    ".pq": _Library("pyarrow", "parquet", "open_parquet"),
    ".arrow": _ARROW,
    ".feather": _ARROW,
    ".ipc": _ARROW,
    ".zarr": _Library("zarr", "zarr", "open_zarr"),
    STDIN: _Library("pyarrow", "arrow", "open_stream"),
}
_OWN = {".npy": open_npy, ".npz": open_npz}
_RAW = (".bin", ".raw", ".dat")
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")

SUFFIXES = (*_OWN, *(suffix for suffix in _LIBRARIES if suffix != STDIN), *_RAW)
"""What the names of files that can be read end with."""


def open_reader(name: str, raw: Raw, is_raw: bool = False) -> Reader:
    """Open a file.

    Parameters
    ----------
    name : str
        Its path, or "-": an Arrow stream on standard input.
    raw : Raw
        What it holds if it is raw: it is where its name says so,
    is_raw : bool
        or whatever its name.

    Raises
    ------
    Failure
        If it cannot be read; the message names the file and says why.
    OSError
        If the system cannot open it.
    """
    suffix = STDIN if name == STDIN else os.path.splitext(name)[1].lower()
    if os.path.isdir(name) and any(os.path.exists(os.path.join(name, each)) for each in _ZARR_FILES):
        suffix = ".zarr"
    if is_raw or suffix in _RAW:
        return open_raw(name, *raw)
    if suffix in _OWN:
        return _OWN[suffix](name)
    if suffix not in _LIBRARIES:
        os.stat(name)
        raise Failure(f"{name}: of no format that is known by its name ({', '.join(SUFFIXES)})")
    return _by_library(name, _LIBRARIES[suffix])


def _by_library(name: str, library: _Library) -> Reader:
    try:
        module = importlib.import_module(f".{library.module}", __package__)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != library.name:
            raise
        raise Failure(f"{name}: reading it needs {library.name}: pip install 'fastloss[files]'") from None
    found: Reader = getattr(module, library.opener)(name)
    return found
