"""Raw binary: nothing but the values, whose dtype and shape have to be told."""

from __future__ import annotations

import math
import os

import numpy as np

from .. import arrays
from ..failure import Failure
from .mapping import MappedReader, Place

__all__ = ["FLOATS", "NUMBERS", "open_raw"]

FLOATS = {
    **{name: np.dtype(name) for name in ("float16", "float32", "float64")},
    "bfloat16": arrays.bfloat16(),
}
"""What logits may be, by name; in the byte order of this machine."""
NUMBERS = FLOATS | {f"{kind}{bits}": np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
"""What other values may be."""


def open_raw(name: str, dtype: str | None, shape: tuple[int, ...] | None) -> MappedReader:
    """Open a raw file; its array is called "". The first length of the shape may be -1: as many rows as there are."""
    if dtype is None or shape is None:
        raise Failure(f"{name}: raw values, as its name says; their dtype and shape have to be given")
    size, found = os.stat(name).st_size, NUMBERS[dtype]
    row = found.itemsize * math.prod(shape[1:])
    if shape[0] == -1:
        shape = (size // row if row else 0, *shape[1:])
    needed = row * shape[0]
    if size != needed:
        raise Failure(f"{name}: {size:,} bytes; {shape} of {dtype} are {needed:,}")
    return MappedReader(name, {"": Place(0, found, shape)})
