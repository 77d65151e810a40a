"""Evaluation on Dask: a part on each worker's own blocks or files, merged there in a tree, without rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dask.array as da
from dask.delayed import Delayed, delayed

from .evaluation import Evaluation
from .files import Dataset, Spec, expand

__all__ = ["evaluate", "evaluate_files"]

_BLOCK_BYTES = 1 << 26
_as_array: Any = da.asarray
_BY_ROW = ("groups", "sequences", "bytes")


def evaluate(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    groups: Any = None,
    sequences: Any = None,
    bytes: Any = None,
    split_every: int = 8,
    **options: Any,
) -> Delayed:
    """Evaluate Dask arrays block by block, where the blocks are.

    Nothing is computed yet. A block is read once, by one task, and what is sent between workers is the state of
    an evaluation: a few hundred bytes, or as much as the options keep.

    Parameters
    ----------
    logits, labels : dask.array.Array
        As for :meth:`fastloss.Evaluation.update`. Labels are cut into blocks as the logits are; the class axis
        has to be one block, and is made one where it is not.
    axis : int
        The class axis of `logits`.
    groups, sequences, bytes : dask.array.Array or array_like, optional
        What the options of these names need of each row, in the shape of `labels`; what is given switches its
        option on.
    split_every : int
        How many states one task merges.
    **options
        Those of :class:`fastloss.Evaluation`. With `worst`, a row's position is its number in C order.

    Returns
    -------
    dask.delayed.Delayed
        Its ``compute()`` gives the :class:`fastloss.Evaluation`; the same bits for any blocks, workers and order.

    Raises
    ------
    ValueError
        If the shapes do not fit, or an option has a value it cannot have. What is wrong with the data is
        raised when it is computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import fastloss.dask
    >>> logits, labels = da.zeros((6, 4), chunks=(2, 4)), da.ones(6, dtype=int, chunks=3)
    >>> evaluation = fastloss.dask.evaluate(logits, labels, top_k=2)
    >>> evaluation.compute()
    Evaluation(ignore_index=-100, top_k=2): loss 1.38629 over 6 rows, 0 ignored
    """
    given = {"groups": groups, "sequences": sequences, "bytes": bytes}
    given = {name: array for name, array in given.items() if array is not None}
    options |= dict.fromkeys(given, True)
    empty = Evaluation(**options)
    logits, by_row = _as_array(logits), {"labels": _as_array(labels)}
    by_row |= {name: _as_array(array) for name, array in given.items()}
    rows: tuple[int, ...] = logits.shape
    if empty.task == "tokens":
        if not -logits.ndim <= axis < logits.ndim:
            raise ValueError(f"evaluate: axis is {axis}, out of range for logits of shape {logits.shape}")
        logits = da.moveaxis(logits, axis, -1)
        logits = logits.rechunk({logits.ndim - 1: -1})
        rows = logits.shape[:-1]
    for name, array in by_row.items():
        if array.shape != rows:
            raise ValueError(f"evaluate: {name} must have the shape of the rows, {rows}, has {array.shape}")
    chunks = logits.chunks[: len(rows)]
    if "worst" in empty.options:
        by_row["positions"] = da.arange(math.prod(rows), chunks=_BLOCK_BYTES // 8).reshape(rows)
    blocks = {name: array.rechunk(chunks).to_delayed().reshape(-1) for name, array in by_row.items()}
    add = delayed(_evaluated)
    parts = [
        add(options, block, {name: each[i] for name, each in blocks.items()})
        for i, block in enumerate(logits.to_delayed().reshape(-1))
    ]
    return _tree(parts, options, split_every)


def evaluate_files(
    logits: str | Sequence[str],
    labels: str | Sequence[str] | None = None,
    *,
    keys: Mapping[str, str] | None = None,
    extras: Mapping[str, Any] | None = None,
    block_bytes: int = _BLOCK_BYTES,
    split_every: int = 8,
    **options: Any,
) -> Delayed:
    """Evaluate files of logits where the workers are: paths are sent, and each worker opens and reads its own.

    Parameters
    ----------
    logits : path, pattern or sequence of them
        Files of any format that ``fastloss evaluate`` reads, on a file system that all workers see; a task each.
    labels : path, pattern or sequence of them, optional
        As many files as of logits, in the same order; by default labels are in the files of the logits.
    keys : dict of str to str, optional
        What arrays are called in files of several: of ``logits``, ``labels``, ``groups``, ``sequences``, ``bytes``.
    extras : dict of str to paths, optional
        Files of ``groups``, ``sequences`` or ``bytes``, as `labels`; an option that is on and not named here has its
        array in the files of the labels or of the logits.
    block_bytes : int
        How many bytes of logits are read at once.
    split_every : int
        How many states one task merges.
    **options
        Those of :class:`fastloss.Evaluation`. With `worst`, a row's position is its number in its file, plus
        2^40 times the file's.

    Returns
    -------
    dask.delayed.Delayed
        Its ``compute()`` gives the :class:`fastloss.Evaluation`.

    Raises
    ------
    ValueError
        If there is no such file, or not as many of each; what is wrong with a file is raised when it is read.
    """
    Evaluation(**options)
    named = {"logits": expand(logits)}
    if labels is not None:
        named["labels"] = expand(labels)
    named |= {name: expand(files) for name, files in (extras or {}).items()}
    for name, files in named.items():
        if len(files) != len(named["logits"]):
            raise ValueError(f"evaluate_files: {len(files)} files of {name}, and {len(named['logits'])} of logits")
    read = delayed(_read)
    parts = [
        read(options, {name: files[i] for name, files in named.items()}, dict(keys or {}), i << 40, block_bytes)
        for i in range(len(named["logits"]))
    ]
    return _tree(parts, options, split_every)


def _tree(parts: list[Delayed], options: Mapping[str, Any], split_every: int) -> Delayed:
    """Merge parts, `split_every` at a time, until one is left."""
    if split_every < 2:
        raise ValueError(f"split_every must be at least 2, got {split_every}")
    merge = delayed(_merged)
    while True:
        parts = [merge(options, parts[i : i + split_every]) for i in range(0, max(1, len(parts)), split_every)]
        if len(parts) == 1:
            return parts[0]


def _evaluated(options: Mapping[str, Any], logits: Any, by_row: dict[str, Any]) -> Evaluation:
    """One block's evaluation."""
    made = Evaluation(**options)
    made.update(logits, **by_row)
    return made


def _read(
    options: Mapping[str, Any], files: Mapping[str, str], keys: Mapping[str, str], first: int, block_bytes: int
) -> Evaluation:
    """One file's evaluation."""
    made = Evaluation(**options)
    wanted = [name for name in _BY_ROW if name in made.options]
    dataset = Dataset(
        Spec(files["logits"], keys.get("logits")),
        Spec(files.get("labels"), keys.get("labels")),
        {name: Spec(files.get(name), keys.get(name)) for name in wanted},
        classes=made.task == "tokens",
        ignore_index=made.ignore_index,
    )
    for block in dataset.blocks(block_bytes):
        given: dict[str, Any] = dict(block.extras)
        if "worst" in made.options:
            given["positions"] = first + block.first
        made.update(block.logits, block.targets, **given)
    return made


def _merged(options: Mapping[str, Any], parts: Iterable[Evaluation]) -> Evaluation:
    made = Evaluation(**options)
    made.merge_state(parts)
    return made
