"""Arrow's columns as arrays: numbers, strings, lists of a fixed size, lists that all have the same size, lists of
lists, tensors. A missing value is one that is not valid; inside a row there may be none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from ..failure import Failure
from .reader import Array, Facts, Piece

__all__ = ["facts_of", "to_piece"]


def facts_of(schema: Any, column: Callable[[str], Iterable[Any]], rows: int | None) -> dict[str, Facts]:
    """Return what is known of the columns that can be arrays.

    Parameters
    ----------
    schema : pyarrow.Schema
    column : callable
        Reads a column in parts, from its start: how long lists are is read off the first row that holds one.
    rows : int or None
        How many there are, if that is known.
    """
    found = {}
    for field in schema:
        sample = _first_valid(column(field.name)) if _is_open(field.type) else None
        shape, dtype = _layout(field.type, sample)
        if dtype is not None:
            found[field.name] = Facts(rows, shape, dtype)
    return found


def to_piece(column: Any, name: str, facts: Facts, start: int, ready: Callable[[Array], None] | None = None) -> Piece:
    """Return rows of a column as an array, without a copy where nothing is missing.

    Parameters
    ----------
    column : pyarrow.Array
    name : str
        File and column, for errors.
    facts : Facts
        Of the whole column.
    start : int
        The number of the first row, for errors.
    ready : callable, optional
        The piece's.
    """
    rows, shape = len(column), facts.shape
    valid = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
    present = np.arange(rows) if valid is None else np.flatnonzero(valid)
    flat, depth = column, 0
    while shape and _below(flat.type) is not None:
        if isinstance(flat, pa.ExtensionArray):
            flat = flat.storage
            continue
        each = len(flat) // max(1, rows if depth == 0 else len(present))
        if not kinds.is_fixed_size_list(flat.type):
            lengths = np.diff(flat.offsets.to_numpy())
            lengths = lengths if depth else lengths[present]
            bad = np.flatnonzero(lengths != shape[depth])
            if bad.size:
                row, had = start + present[bad[0] // each], lengths[bad[0]]
                raise Failure(f"{name}: row {row} is ragged: a list of {had} values where others have {shape[depth]}")
        flat, depth = flat.flatten(), depth + 1
        if flat.null_count:
            first = int(np.argmin(flat.is_valid().to_numpy(zero_copy_only=False)))
            raise Failure(f"{name}: row {start + present[first * len(present) // len(flat)]} has a null in it")
    values = _leaf(flat)
    if valid is None or not shape:
        return Piece(values.reshape(rows, *shape), valid, ready)
    full = np.zeros((rows, *shape), values.dtype)
    full[present] = values.reshape(-1, *shape)
    return Piece(full, valid)


def _leaf(flat: Any) -> Array:
    if isinstance(flat, pa.DictionaryArray):
        flat = flat.dictionary_decode()
    if kinds.is_string(flat.type) or kinds.is_large_string(flat.type):
        return np.array(flat.fill_null("").to_pylist(), str)
    if flat.null_count and not kinds.is_floating(flat.type):
        flat = flat.fill_null(False if kinds.is_boolean(flat.type) else 0)
    values: Array = flat.to_numpy(zero_copy_only=False)
    return values


def _first_valid(parts: Iterable[Any]) -> Any:
    """Return the first element that is not missing, as an array of one; None where there is none."""
    for part in parts:
        if part.null_count < len(part):
            return part.slice(int(np.argmax(part.is_valid().to_numpy(zero_copy_only=False))), 1)
    return None


def _layout(type_: Any, sample: Any) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
    """Return the shape of a row and the dtype of its values (None: of no kind that is read)."""
    below = _below(type_)
    if below is None:
        return (), _dtype(type_)
    if isinstance(type_, pa.FixedShapeTensorType):
        plain = type_.permutation in (None, list(range(len(type_.shape))))
        return tuple(type_.shape), _dtype(type_.value_type) if plain else None
    if isinstance(type_, pa.BaseExtensionType):
        return _layout(below, None if sample is None else sample.storage)
    inner = None if sample is None else sample.flatten()
    length = type_.list_size if kinds.is_fixed_size_list(type_) else 0 if inner is None else len(inner)
    shape, dtype = _layout(below, None if inner is None else _first_valid([inner]))
    return (length, *shape), dtype


def _below(type_: Any) -> Any:
    """Return the type of what a list or an extension is made of; None for anything else."""
    if isinstance(type_, pa.BaseExtensionType):
        return type_.storage_type
    if kinds.is_list(type_) or kinds.is_large_list(type_) or kinds.is_fixed_size_list(type_):
        return type_.value_type
    return None


def _is_open(type_: Any) -> bool:
    """Whether a type leaves it to its values how long a list is."""
    below = _below(type_)
    return below is not None and (kinds.is_list(type_) or kinds.is_large_list(type_) or _is_open(below))


def _dtype(type_: Any) -> np.dtype[Any] | None:
    if kinds.is_dictionary(type_):
        type_ = type_.value_type
    if kinds.is_string(type_) or kinds.is_large_string(type_):
        return np.dtype(str)
    if kinds.is_integer(type_) or kinds.is_floating(type_) or kinds.is_boolean(type_):
        dtype: np.dtype[Any] = np.dtype(type_.to_pandas_dtype())
        return dtype
    return None
