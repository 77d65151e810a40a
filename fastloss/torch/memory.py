"""Memory for gradients: that of the largest one, when nobody holds it any more, serves the next.

New memory comes from the system zeroed and a page at a time, which takes longer than most losses do. In training a
gradient of about the same size is wanted at every step, when the last one has been used up and let go.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np
import torch

from ..arrays import Array

__all__ = ["empty_like", "release"]

LARGE = 1 << 22
"""Bytes of a gradient whose memory is kept."""
_LINE = 64  # bytes: what torch's own memory begins at a multiple of

_lock = threading.Lock()
_kept: Array | None = None
_user: weakref.ref[memoryview] | None = None
"""The view of what is kept that tensors hold, if they still do."""


def _lines(size: int) -> Array:
    """So many bytes that begin at a cache line."""
    found = np.empty(size + _LINE, np.uint8)
    start = -found.ctypes.data % _LINE
    return found[start : start + size]


def _taken(size: int) -> memoryview:
    """Memory of that size: of what is kept, if that is free and not much larger. What is larger is kept instead."""
    global _kept, _user
    with _lock:
        if _kept is not None and size <= _kept.size and (size < _kept.size // 2 or (_user and _user()) is not None):
            return _lines(size).data
        if _kept is None or size > _kept.size:
            _kept = None  # before there is more
            _kept = _lines(size)
        view = _kept.data[:size]
        _user = weakref.ref(view)
        return view


def empty_like(tensor: Any, dtype: Any) -> Any:
    """A tensor of that shape and layout, with anything in it."""
    size = tensor.numel() * dtype.itemsize
    if size < LARGE or not tensor.is_contiguous():
        return torch.empty_like(tensor, dtype=dtype)
    return torch.frombuffer(_taken(size), dtype=dtype).view(tensor.shape)


def release() -> None:
    """Give back the memory that is kept for the next gradient.

    Examples
    --------
    >>> import fastloss.torch
    >>> fastloss.torch.release()
    """
    global _kept
    with _lock:
        _kept = None
