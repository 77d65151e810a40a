"""safetensors: a JSON header, then the tensors as they are in memory, bfloat16 among them.

The safetensors library checks the file. It hands out copies alone, through a mapping of its own whose pages it never
gives back: so where a tensor lies is read off the header here, and mapped.
"""

from __future__ import annotations

import json

import numpy as np
from safetensors import SafetensorError, safe_open

from .. import arrays
from ..failure import Failure
from .mapping import MappedReader, Place

__all__ = ["open_safetensors"]

_LENGTH = 8  # bytes of the header's length, in front of it
_KINDS = {"F": "f", "I": "i", "U": "u"}


def open_safetensors(name: str) -> MappedReader:
    """Open a file; its arrays are the tensors of dtypes that NumPy has, and of bfloat16."""
    with open(name, "rb") as file:
        try:
            with safe_open(name, framework="np"):
                pass
        except SafetensorError as error:
            raise Failure(f"{name}: not a safetensors file: {error}") from None
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return MappedReader(
        name,
        {
            key: Place(_LENGTH + length + entry["data_offsets"][0], dtype, tuple(entry["shape"]))
            for key, entry in header.items()
            if (dtype := _dtype(entry["dtype"])) is not None
        },
    )


def _dtype(code: str) -> np.dtype[np.generic] | None:
    if code == "BF16":
        return arrays.bfloat16()
    if code == "BOOL":
        return np.dtype(bool)
    bits = code[1:]
    return np.dtype(f"<{_KINDS[code[0]]}{int(bits) // 8}") if code[0] in _KINDS and bits.isdigit() else None
