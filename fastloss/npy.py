"""Memory-mapped .npy files, opened with errors that say what is wrong with the file."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from .report import Failure

__all__ = ["open_logits", "open_targets"]


def open_logits(path: str | Path, dtype: str | None = None) -> NDArray[Any]:
    """Map a file of floating-point logits (..., C); `dtype` "bfloat16" reads 2-byte values as such."""
    logits = _open(path)
    if dtype == "bfloat16":
        logits = _as_bfloat16(path, logits)
    elif logits.dtype == np.dtype("V2"):
        raise Failure(f"{path}: raw 2-byte values, as NumPy stores bfloat16; if so, say --dtype bfloat16")
    elif logits.dtype.newbyteorder("=") not in (np.float16, np.float32, np.float64):
        raise Failure(f"{path}: logits of dtype {logits.dtype}; they must be floating point, 16 to 64 bits")
    if logits.ndim < 2 or logits.shape[-1] == 0:
        raise Failure(f"{path}: logits of shape {logits.shape}; it must be (rows, ..., classes)")
    return logits


def open_targets(path: str | Path, shape: tuple[int, ...]) -> NDArray[np.integer]:
    """Map a file of integer labels of that shape."""
    targets = _open(path)
    if targets.dtype.kind not in "iub":
        raise Failure(f"{path}: targets of dtype {targets.dtype}; they must be integers")
    if targets.shape != shape:
        raise Failure(f"{path}: targets of shape {targets.shape}; the logits need {shape}")
    return targets


def _open(path: str | Path) -> NDArray[Any]:
    try:
        with open(path, "rb") as file:
            _check_size(path, file)
        return npy_format.open_memmap(path, mode="r")
    except Failure:
        raise
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged header fails anywhere in NumPy's parser, down to the tokenizer
        reason = str(error).partition("\n")[0]
        raise Failure(f"{path}: not an array NumPy can map: {reason}") from None


def _check_size(path: str | Path, file: Any) -> None:
    if file.read(4) == b"PK\x03\x04":
        raise Failure(f"{path}: a zip archive (.npz?); save the array alone, as .npy")
    file.seek(0)
    version = npy_format.read_magic(file)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    needed = file.tell() + math.prod(shape) * dtype.itemsize
    size = os.fstat(file.fileno()).st_size
    if size < needed:
        raise Failure(f"{path}: truncated: {size:,} bytes, where its header (shape {shape}) needs {needed:,}")


def _as_bfloat16(path: str | Path, logits: NDArray[Any]) -> NDArray[Any]:
    if logits.dtype.itemsize != 2 or logits.dtype == np.float16:
        raise Failure(f"{path}: dtype {logits.dtype} is not bfloat16")
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise Failure(f"{path}: reading bfloat16 needs the ml_dtypes package") from None
    return logits.view(bfloat16)
