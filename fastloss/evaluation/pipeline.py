"""Evaluating what a data pipeline yields: batches of any kind, read ahead by a background thread."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..ahead import ahead
from ..arrays import Array
from .evaluation import Evaluation

__all__ = ["evaluate"]

_ROLES = ("logits", "labels", "groups", "sequences", "bytes", "positions")
_ROWS_AT_ONCE = 1024


def evaluate(
    batches: Iterable[Any],
    *,
    columns: Mapping[str, str] | None = None,
    axis: int = -1,
    **options: Any,
) -> Evaluation:
    """Evaluate every batch of an iterable, while a background thread makes the next.

    Parameters
    ----------
    batches : iterable
        Generator, list, ``torch.utils.data.DataLoader``, ``datasets.Dataset`` (``with_format`` of NumPy, torch or
        Arrow is quickest; it is read 1024 rows at a time), ``pyarrow.RecordBatchReader``, ... Each batch is a pair
        ``(logits, labels)``; a mapping with the keys ``logits`` and ``labels``, and as the options need them
        ``groups``, ``sequences``, ``bytes`` and ``positions``; or an Arrow record batch or table with columns of these
        names, where logits are lists of one length, and a row without logits or label is ignored (in regression it
        is one of those that are not finite). Arrays are what :meth:`Evaluation.update` takes: of NumPy, torch, or
        anything with DLPack or the buffer protocol.
    columns : dict of str to str, optional
        What a key is called in the batches where it is not called as here: ``{"labels": "target"}``.
    axis : int
        The class axis of the logits.
    **options
        Those of :class:`Evaluation`.

    Returns
    -------
    Evaluation
        Of all batches; its :meth:`~Evaluation.compute` has the figures.

    Raises
    ------
    ValueError, IndexError, TypeError
        As :class:`Evaluation` and its ``update``, with the number of the batch; or if a batch is none of these kinds.
    Exception
        What iterating over `batches` raises, as it is.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> batches = ((np.eye(3, dtype=np.float32), np.array([0, 1, label])) for label in range(3))
    >>> fl.evaluate(batches, top_k=2)
    Evaluation(ignore_index=-100, top_k=2): loss 0.773667 over 9 rows, 0 ignored
    """
    evaluation = Evaluation(**options)
    names = {role: role for role in _ROLES} | dict(columns or {})
    if unknown := set(names) - set(_ROLES):
        raise ValueError(f"evaluate: columns must be of {', '.join(_ROLES)}, has {', '.join(map(repr, unknown))}")
    with contextlib.closing(ahead(_told(batches, names, getattr(evaluation, "ignore_index", 0)))) as made:
        for number, batch in enumerate(made):
            try:
                evaluation.update(**batch, axis=axis)
            except (ValueError, IndexError, TypeError) as error:
                raise type(error)(f"{error} (batch {number})") from error
    return evaluation


def _told(batches: Iterable[Any], names: Mapping[str, str], ignore_index: int) -> Iterator[dict[str, Any]]:
    """Every batch as arguments of an update."""
    if hasattr(batches, "with_format") and hasattr(batches, "iter"):
        batches = batches.iter(_ROWS_AT_ONCE)
    for number, batch in enumerate(batches):
        if hasattr(batch, "to_batches"):  # a table of Arrow
            for part in batch.to_batches():
                yield _of_arrow(part, names, ignore_index, number)
        elif hasattr(batch, "schema") and hasattr(batch, "column"):
            yield _of_arrow(batch, names, ignore_index, number)
        elif isinstance(batch, Mapping):
            _check_names(batch, names, number)
            yield {role: batch[name] for role, name in names.items() if name in batch}
        elif isinstance(batch, (tuple, list)) and len(batch) == 2:
            yield {"logits": batch[0], "labels": batch[1]}
        else:
            what = (
                f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else type(batch).__name__
            )
            raise TypeError(
                f"evaluate: batch {number} is a {what}; it must be (logits, labels), a mapping, or of Arrow"
            )


def _check_names(batch: Iterable[Any], names: Mapping[str, str], number: int) -> None:
    found = list(batch)
    for role in ("logits", "labels"):
        if names[role] not in found:
            raise ValueError(
                f"evaluate: batch {number} has no {names[role]!r}, but {', '.join(map(repr, found))}; "
                f"say columns={{{role!r}: ...}}"
            )


def _of_arrow(batch: Any, names: Mapping[str, str], ignore_index: int, number: int) -> dict[str, Any]:
    """The columns of a record batch as arrays, its missing rows under the label that is ignored."""
    from ..files.columns import facts_of, to_piece  # with pyarrow, which whoever made the batch has

    _check_names(batch.schema.names, names, number)
    facts = facts_of(batch.schema, lambda name: [batch.column(name)], len(batch))
    found: dict[str, Any] = {}
    kept: Array = np.ones(len(batch), bool)
    for role, name in names.items():
        if name not in batch.schema.names:
            continue
        if name not in facts:
            raise TypeError(f"evaluate: column {name!r} of batch {number} is {batch.schema.field(name).type}, no array")
        piece = to_piece(batch.column(name), f"evaluate: column {name!r} of batch {number}", facts[name], 0)
        found[role] = piece.values
        if piece.valid is not None:
            if role not in ("logits", "labels"):
                raise ValueError(
                    f"evaluate: column {name!r} of batch {number} has nothing for row {piece.valid.argmin()}"
                )
            kept &= piece.valid
    if not kept.all():
        labels = found["labels"]
        missing = math.nan if labels.dtype.kind == "f" else ignore_index
        found["labels"] = np.where(kept, labels if labels.dtype.kind == "f" else labels.astype(np.int64), missing)
    return found
