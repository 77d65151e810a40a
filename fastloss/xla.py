"""A Python function as a custom call of XLA on the CPU, on the memory of its arguments and results.

XLA hands a call frame to a C function; here that is a ctypes callback, and the structures below are those of
``xla/ffi/api/c_api.h`` (in ``jax.ffi.include_dir()``), of which this takes what every version since 0.1 begins with.
Unlike ``jax.pure_callback`` nothing is copied, nothing waits for JAX, and an error is the call's error.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np

__all__ = ["capsule"]

Run = Callable[[str, list[Any], list[Any]], None]

_VERSION = (0, 1)
_METADATA = 1  # an extension of the frame: the version is asked for, and nothing else
_INVALID_ARGUMENT = 3
_DTYPES = {
    1: np.bool_, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 6: np.uint8, 7: np.uint16, 8: np.uint32,
    9: np.uint64, 10: np.float16, 11: np.float32, 12: np.float64, 16: ml_dtypes.bfloat16,
}  # fmt: skip


class _Extension(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("type", ctypes.c_int), ("next", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("major", ctypes.c_int), ("minor", ctypes.c_int),
    )  # fmt: skip


class _Metadata(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("version", _Version))


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", ctypes.POINTER(_Metadata)))


class _Error(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("message", ctypes.c_char_p), ("code", ctypes.c_int),
    )  # fmt: skip


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("version", _Version), ("internal", ctypes.c_void_p),
        ("error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Error))),
    )  # fmt: skip


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("dtype", ctypes.c_int), ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64), ("lengths", ctypes.POINTER(ctypes.c_int64)),
    )  # fmt: skip


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("count", ctypes.c_int64),
        ("types", ctypes.c_void_p), ("buffers", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )  # fmt: skip


class _Text(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.c_void_p), ("count", ctypes.c_int64),
        ("types", ctypes.c_void_p), ("names", ctypes.c_void_p), ("values", ctypes.POINTER(ctypes.POINTER(_Text))),
    )  # fmt: skip


class _Frame(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t), ("extension", ctypes.POINTER(_Extension)), ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p), ("stage", ctypes.c_int), ("arguments", _Buffers), ("results", _Buffers),
        ("attributes", _Attributes),
    )  # fmt: skip


_Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Frame))
_kept: list[Any] = []  # XLA calls them until the process ends


def _array(buffer: Any) -> Any:
    """The NumPy array on a buffer's memory."""
    found = buffer.contents
    shape, dtype = tuple(found.lengths[: found.rank]), np.dtype(_DTYPES[found.dtype])
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    return np.frombuffer((ctypes.c_char * size).from_address(found.data), dtype).reshape(shape)


def _arrays(buffers: _Buffers) -> list[Any]:
    return [_array(buffers.buffers[i]) for i in range(buffers.count)]


_LARGE_PAGE = 1 << 21
_MADV_HUGEPAGE = 14
_madvise: Any = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None


def _expect_writing(array: Any) -> None:
    """Have memory that has not been written to yet come in large pages, as NumPy's own does.

    XLA asks for new memory for every result, and small pages take longer to come than a loss takes to fill them.
    """
    start = -(-array.ctypes.data // _LARGE_PAGE) * _LARGE_PAGE
    length = (array.ctypes.data + array.nbytes) // _LARGE_PAGE * _LARGE_PAGE - start
    if _madvise is not None and length > 0:
        _madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_HUGEPAGE)


def capsule(run: Run) -> Any:
    """What ``jax.ffi.register_ffi_target`` takes for a Python function.

    Parameters
    ----------
    run : callable
        Takes the text that is the custom call's one attribute, its arguments, and its results to be written; what it
        raises becomes the error of the program that makes the call.
    """

    def handle(pointer: Any) -> int | None:
        frame = pointer.contents
        if frame.extension and frame.extension.contents.type == _METADATA:
            asked = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents.metadata.contents
            asked.version.major, asked.version.minor = _VERSION
            return None
        try:
            text = frame.attributes.values[0].contents
            said = ctypes.string_at(text.start, text.length).decode()
            results = _arrays(frame.results)
            for each in results:
                _expect_writing(each)
            run(said, _arrays(frame.arguments), results)
        except BaseException as error:  # no exception passes through C: the results would be taken for written
            message = str(error) or type(error).__name__
            wrong = _Error(ctypes.sizeof(_Error), None, message.encode(), _INVALID_ARGUMENT)
            made: int | None = frame.api.contents.error(ctypes.byref(wrong))
            return made
        return None

    handler = _Handler(handle)
    _kept.append(handler)
    made: Callable[[Any], Any] = jax.ffi.pycapsule
    return made(ctypes.cast(handler, ctypes.c_void_p).value)
