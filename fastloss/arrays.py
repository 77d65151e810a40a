"""Arrays in: what users hand over becomes NumPy arrays without a copy, or an error that says what to do.

Every error about an array is raised here. The messages name the loss, the argument and what it had.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _core

Array = NDArray[Any]

# bfloat16 where ml_dtypes is not at hand: the bits, under a dtype that says what they are.
_BFLOAT16_BITS = np.dtype([("bfloat16", np.uint16)])
_FLOATS = "float16, bfloat16, float32 or float64"
_CPU_DEVICES = (1, 3)  # DLPack's kDLCPU, kDLCUDAHost
_REAL = frozenset(range(4))


def array(value: Any, loss: str, name: str) -> Array:
    """Any array there is, as NumPy's; shares memory wherever the source allows it."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{loss}: {name} is a masked array; fill it, or mask its rows with ignore_index or weight")
    if isinstance(value, np.ndarray):
        return value.view(np.ndarray)
    if hasattr(value, "__cuda_array_interface__"):
        device = getattr(value, "device", "a GPU")
        raise TypeError(f"{loss}: {name} is on {device}; move it to the CPU first, as with {name}.cpu()")
    if any(base.__module__.partition(".")[0] == "torch" for base in type(value).__mro__):
        return _from_torch(value, loss, name)
    if hasattr(value, "tocsr") or hasattr(value, "todense"):
        raise TypeError(f"{loss}: {name} is sparse ({type(value).__name__}); pass {name}.toarray()")
    if hasattr(value, "__dlpack_device__") and not hasattr(value, "__array__"):
        kind, number = value.__dlpack_device__()
        if kind not in _CPU_DEVICES:
            raise TypeError(
                f"{loss}: {name} is on DLPack device ({int(kind)}, {number}), not on the CPU; move it there first"
            )
        return np.from_dlpack(value)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{loss}: {name} is not an array: {error}") from None


def _from_torch(tensor: Any, loss: str, name: str) -> Array:
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    if tensor.device.type != "cpu":
        raise TypeError(f"{loss}: {name} is on {tensor.device}; call {name}.cpu() first")
    if tensor.is_sparse or str(tensor.layout) != "torch.strided":
        raise TypeError(f"{loss}: {name} is sparse ({tensor.layout}); pass {name}.to_dense()")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if str(tensor.dtype) == "torch.bfloat16":
        bits: Array = tensor.view(__import__("torch").int16).numpy()
        return bits.view(bfloat16())
    found: Array = tensor.numpy()
    return found


def bfloat16() -> np.dtype[Any]:
    """ml_dtypes' dtype where that is installed, else a structured one of the bits."""
    try:
        import ml_dtypes
    except ImportError:
        return _BFLOAT16_BITS
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _refuse(found: Array, loss: str, name: str, wanted: str) -> NoReturn:
    dtype, hint = found.dtype, ""
    if dtype.kind == "c":
        hint = f"; take {name}.real or abs({name})"
    elif dtype.kind == "O":
        hint = f"; convert it with {name}.astype(float) if it holds numbers"
    elif dtype.kind in "iub":
        hint = f"; convert it with {name}.astype(numpy.float32)"
    raise TypeError(f"{loss}: {name} must be {wanted}, has dtype {dtype}{hint}")


def floating(value: Any, loss: str, name: str) -> Array:
    """A prediction: an array of a floating dtype."""
    found = value if type(value) is np.ndarray else array(value, loss, name)
    if _core.dtype_code(found) not in _REAL:
        _refuse(found, loss, name, _FLOATS)
    return found


def numeric(value: Any, loss: str, name: str) -> Array:
    """A target or a weight: floating, integer or boolean."""
    found = value if type(value) is np.ndarray else array(value, loss, name)
    if _core.dtype_code(found) < 0:
        _refuse(found, loss, name, f"{_FLOATS}, an integer dtype or bool")
    return found


def is_label_dtype(found: Array) -> bool:
    """Whether an array's dtype is one of class indices."""
    return found.dtype.kind in "iub"


def labels(value: Any, loss: str, name: str) -> Array:
    """Class indices: integer or boolean."""
    found = value if type(value) is np.ndarray else array(value, loss, name)
    if not is_label_dtype(found):
        if found.size == 0 and found.dtype == np.float64 and not isinstance(value, np.ndarray):
            return found.astype(np.int64)  # an empty list
        raise TypeError(f"{loss}: {name} must hold class indices of an integer dtype, has dtype {found.dtype}")
    return found


def is_double(input: Array) -> bool:
    """Whether the compute type of this input is float64."""
    return input.dtype.num == 12  # NPY_DOUBLE


def is_real(input: Array) -> bool:
    """Whether NumPy itself computes in this dtype as fastloss does: float32 or float64."""
    return input.dtype.num in (11, 12) and input.dtype.isnative


def whole_number(value: Any, loss: str, name: str) -> int:
    """An integer parameter; one that no int64 label can equal becomes one that none is."""
    if type(value) is not int:
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{loss}: {name} must be an integer, got {value!r}") from None
    number = int(value)
    return number if -(2**63) < number < 2**63 else -(2**63)


def number(value: Any, loss: str, name: str) -> float:
    """A real parameter."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{loss}: {name} must be a number, got {value!r}")
    return float(value)


LARGEST = 1e18
"""Of a parameter: its square, and that of its inverse, are float32 numbers."""


def number_in(value: Any, loss: str, name: str, low: float, high: float = LARGEST) -> float:
    """A real parameter from `low` to `high`."""
    found = number(value, loss, name)
    if not low <= found <= high:
        raise ValueError(f"{loss}: {name} must be in [{low:g}, {high:g}], got {value!r}")
    return found


def temperature(value: Any, loss: str) -> float:
    """What logits or similarities are divided by: float32 has its inverse too."""
    return number_in(value, loss, "temperature", 1 / LARGEST)


def in_two(x: float) -> tuple[float, float]:
    """A parameter as a float32 number and the rest, for kernels that need more of it than float32 has."""
    high = float(np.float32(x))
    return high, x - high


def class_axis(input: Array, axis: int, loss: str) -> int:
    """The class axis as a number from 0 on; there is at least one class."""
    ndim = input.ndim
    if type(axis) is int and axis == -1 and ndim and input.shape[-1]:
        return ndim - 1
    axis = whole_number(axis, loss, "axis")
    if ndim == 0:
        raise ValueError(f"{loss}: input must have a class axis, has shape ()")
    if not -ndim <= axis < ndim:
        raise ValueError(f"{loss}: axis is {axis}, out of range for input of shape {input.shape}")
    axis %= ndim
    if input.shape[axis] == 0:
        raise ValueError(f"{loss}: input has no classes along axis {axis} (shape {input.shape})")
    return axis


def row_axes(shape: tuple[int, ...], axis: Any, loss: str, name: str) -> tuple[int, ...]:
    """The axes along which rows lie, as numbers from 0 on, in order; a row has at least one element."""
    ndim = len(shape)
    if type(axis) is int and -ndim <= axis < ndim and shape[axis]:
        return (axis % ndim,)
    given = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    found = {whole_number(each, loss, "axis") for each in given}
    if not found or (ndim == 0 and found <= {0, -1}):
        return ()
    if not all(-ndim <= each < ndim for each in found):
        raise ValueError(f"{loss}: axis is {axis}, out of range for {name} of shape {shape}")
    axes = tuple(sorted({each % ndim for each in found}))
    if len(axes) < len(given):
        raise ValueError(f"{loss}: axis names one axis twice: {axis}")
    if any(shape[each] == 0 for each in axes):
        raise ValueError(
            f"{loss}: {name} has no elements along axis {axis} (shape {shape}): there is no class to a row"
        )
    return axes


def row_shape(input: Array, axis: int) -> tuple[int, ...]:
    """The shape without the class axis."""
    return input.shape[:axis] + input.shape[axis + 1 :]


def check_rows(found: Array, input: Array, axis: int, loss: str, name: str) -> None:
    """Refuse an array that does not have one element per row of classes."""
    if found.ndim == axis == input.ndim - 1 and found.shape == input.shape[:-1]:  # as almost always
        return
    wanted = row_shape(input, axis)
    if found.shape == wanted:
        return
    hint = ""
    for other in range(input.ndim):
        if other != axis and found.shape == row_shape(input, other):
            hint = f"; it fits axis={other}: if the classes lie there, pass axis={other}"
            break
    raise ValueError(
        f"{loss}: {name} must have shape {wanted} for input of shape {input.shape} and axis {axis}, "
        f"has {found.shape}{hint}"
    )


def rows(input: Any, axis: Any, label: Any, loss: str) -> tuple[Array, int, Any]:
    """Rows of classes, and unless it is ABSENT one class index for each, as _core.row_facts takes them."""
    found = floating(input, loss, "input")
    axis = class_axis(found, axis, loss)
    if label is not _core.ABSENT:
        label = labels(label, loss, "target")
        check_rows(label, found, axis, loss, "target")
    return found, axis, label


def operands(named: Sequence[tuple[str, Any]], predictions: int, loss: str) -> list[tuple[str, Array]]:
    """The operands of a pointwise loss as arrays, those it is differentiated by first."""
    return [
        (name, (floating if i < predictions else numeric)(value, loss, name)) for i, (name, value) in enumerate(named)
    ]


def bad_label(found: Array, row: int, classes: int, loss: str, name: str) -> IndexError:
    """The error for a label out of range."""
    position = np.unravel_index(row, found.shape)
    label = found[position]
    where = f"[{', '.join(str(int(i)) for i in position)}]" if position else ""
    return IndexError(f"{loss}: {name}{where} is {int(label)}, out of range for {classes} classes")


def bad_element(named: Sequence[tuple[str, Array]], shape: tuple[int, ...], at: int, loss: str, why: str) -> ValueError:
    """The error for an element outside a loss's domain, at number `at` of arrays broadcast to `shape`."""
    position = tuple(int(i) for i in np.unravel_index(at, shape))
    where = f"at [{', '.join(map(str, position))}] " if position else ""
    had = [f"{name} is {contiguous(np.broadcast_to(each, shape)[position], True):g}" for name, each in named]
    return ValueError(f"{loss}: {why}, but {where}{' and '.join(had)}")


def class_weight(value: Any, classes: int, double: bool, loss: str, name: str = "weight") -> Array:
    """One weight per class, contiguous and of the compute dtype."""
    found = numeric(value, loss, name)
    if found.shape != (classes,):
        raise ValueError(f"{loss}: {name} must have shape ({classes},), one per class, has {found.shape}")
    return contiguous(found, double)


def contiguous(found: Array, double: bool) -> Array:
    """The same numbers, contiguous, aligned and of the compute dtype."""
    if found.dtype == _BFLOAT16_BITS:
        found = (np.ascontiguousarray(found).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.require(found, np.float64 if double else np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def total(found: Array) -> float:
    """The sum, in float64."""
    if found.dtype == _BFLOAT16_BITS:
        found = contiguous(found, False)
    return float(np.sum(found, dtype=np.float64))


def fill(to: Array, numbers: Array) -> None:
    """Write numbers of the compute dtype into an array of any floating dtype."""
    if to.dtype == _BFLOAT16_BITS:
        bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
        to["bfloat16"] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    else:
        with np.errstate(over="ignore", under="ignore"):
            to[...] = numbers


def broadcast_shape(named: list[tuple[str, Array]], loss: str) -> tuple[int, ...]:
    """The common shape of pointwise operands."""
    first = named[0][1].shape
    if all(found.shape == first or found.ndim == 0 for _, found in named):
        return first
    try:
        return np.broadcast_shapes(*(found.shape for _, found in named))
    except ValueError:
        shapes = ", ".join(f"{name} {found.shape}" for name, found in named)
        raise ValueError(f"{loss}: shapes do not broadcast: {shapes}") from None


def gradient_outputs(
    out: Any,
    like: list[tuple[str, Array]],
    dtypes: list[np.dtype[Any]],
    inputs: list[Array],
    loss: str,
    *,
    in_place: bool = True,
) -> tuple[list[Array], list[Any], Callable[[], None] | None]:
    """Arrays to write derivatives into, what to return to the caller, and what to do when they are written.

    Parameters
    ----------
    out : array, tuple of arrays or None
        As the caller gave it. None: new arrays.
    like : list of (name, array)
        What each output has the shape of.
    dtypes : list of dtype
        Of each output.
    inputs : list of arrays
        What is read while the outputs are written. An output may be one of them, element for element; one that
        overlaps in another way is written at the end.
    in_place : bool
        Whether an output that is an input can be written while that is read; else it too is written at the end.
    """
    if out is None:
        made = [np.empty(like[i][1].shape, dtypes[i]) for i in range(len(like))]
        return made, made, None
    given = list(out) if isinstance(out, (tuple, list)) else [out]
    if len(given) != len(like):
        raise ValueError(f"{loss}: out must be {len(like)} arrays, has {len(given)}")
    written: list[Array] = []
    later: list[tuple[Array, Array]] = []
    for one, (name, model), dtype in zip(given, like, dtypes, strict=True):
        found = array(one, loss, "out")
        if found is not one and not np.may_share_memory(found, array(one, loss, "out")):
            raise TypeError(f"{loss}: out must be an array to write into, is a {type(one).__name__} that was copied")
        if found.shape != model.shape:
            raise ValueError(f"{loss}: out must have the shape of {name}, {model.shape}, has {found.shape}")
        if found.dtype != dtype:
            raise TypeError(f"{loss}: out must have dtype {dtype}, has {found.dtype}")
        if not found.flags.writeable:
            raise ValueError(f"{loss}: out is read-only")
        if _writes_twice(found):
            raise ValueError(f"{loss}: out has several elements in one place (strides {found.strides})")
        others = [*inputs, *written]
        if any(np.may_share_memory(found, other) and not (in_place and _same_place(found, other)) for other in others):
            later.append((found, np.empty(found.shape, dtype)))
            found = later[-1][1]
        elif any(_same_place(found, other) for other in written):
            raise ValueError(f"{loss}: out names one array twice")
        written.append(found)
    if not later:
        return written, given, None

    def finish() -> None:
        for to, temporary in later:
            to[...] = temporary

    return written, given, finish


def _same_place(a: Array, b: Array) -> bool:
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
    )


def _writes_twice(a: Array) -> bool:
    """Whether two elements share memory: as in what numpy.broadcast_to makes, or overlapping windows."""
    if a.flags.c_contiguous or a.size < 2:
        return False
    reach = a.itemsize - 1
    for stride, length in sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (length - 1)
    return False


def streams(outputs: list[Array], inputs: list[Array]) -> bool:
    """Whether outputs should bypass the cache: when they are too large to stay there, and not read meanwhile."""
    size = 0
    for output in outputs:
        size += output.nbytes
    return size >= STREAM_BYTES and not any(
        np.may_share_memory(output, input) for output in outputs for input in inputs
    )


STREAM_BYTES = 1 << 22
