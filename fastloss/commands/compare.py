"""``fastloss compare``: how much the losses of two models differ, and how sure that is.

Where every row's loss is at hand the rows are compared one by one: what is hard for both drops out of the difference,
whose standard error is that of the mean of the rows' differences. Else the difference of two means is what there is,
with the standard error of two samples that have nothing to do with each other, which is larger.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from ..evaluation.moments import Moments
from ..evaluation.part import exp
from ..failure import Failure
from ..files.reader import Array
from ..report import fixed, significant
from .losses import loss_shape, read_losses
from .output import check
from .state import FORMAT, State
from .tables import Section, show

__all__ = ["run"]

_Z95 = 1.959963984540054  # the normal distribution's quantile of 0.975


class _Side(NamedTuple):
    """What is known of one model's losses: the file of all, or the mean."""

    name: str
    losses: str | None = None
    loss: float = math.nan
    standard_error: float = math.nan
    rows: int = 0


def run(args: argparse.Namespace) -> None:
    """Compare B with A."""
    for path in (args.json, args.markdown):
        check(path, stdout=True)
    a, b = _side(args.a), _side(args.b)
    if a.losses and b.losses and not args.unpaired:
        figures = _paired(a.losses, b.losses)
    else:
        figures = _unpaired(*(_summed(side) if side.losses else side for side in (a, b)))
    figures = {"a": args.a, "b": args.b, **_judged(figures)}
    title = f"{os.path.basename(args.b)} compared with {os.path.basename(args.a)}"
    show(args, title, _sections(figures), figures)


def _side(path: str) -> _Side:
    if path.endswith(".npy"):
        return _Side(path, losses=path)
    try:
        with open(path, encoding="utf-8") as file:
            entries = json.load(file)
    except ValueError as error:
        raise Failure(f"{path}: neither .npy nor JSON: {error}") from None
    if not isinstance(entries, dict):
        raise Failure(f"{path}: neither figures nor a state")
    losses = entries.get("per_token")
    if entries.get("format") == FORMAT:
        entries = State.load(path).evaluation.compute()
    found = [entries.get(name) for name in ("loss", "standard_error", "count")]
    if losses is not None and not os.path.exists(losses):
        raise Failure(f"{path}: the losses it was written with, {losses}, are not there; pass them themselves")
    if losses is None and not all(isinstance(each, (int, float)) for each in found):
        raise Failure(f"{path}: has no finite 'loss' with its 'standard_error' and 'count'")
    return _Side(path, losses) if losses else _Side(path, None, *found)


def _summed(side: _Side) -> _Side:
    """Return the mean of losses, with those that are not finite left out."""
    assert side.losses is not None
    moments, count = Moments(), 0
    for values in read_losses(side.losses):
        values = values[np.isfinite(values)]
        moments.add(values)
        count += values.size
    return _Side(side.name, None, moments.value.mean(count), moments.standard_error(count), count)


def _unpaired(a: _Side, b: _Side) -> dict[str, Any]:
    return {
        "paired": False,
        "loss_a": a.loss,
        "loss_b": b.loss,
        "difference": b.loss - a.loss,
        "standard_error": math.hypot(a.standard_error, b.standard_error),
        "count_a": a.rows,
        "count_b": b.rows,
    }


def _paired(path_a: str, path_b: str) -> dict[str, Any]:
    shapes = [loss_shape(path) for path in (path_a, path_b)]
    if shapes[0] != shapes[1]:
        raise Failure(f"{path_b}: losses of shape {shapes[1]}; {path_a} has {shapes[0]}")
    first, second, difference = Moments(), Moments(), Moments()
    count = left_out = not_finite = better_a = better_b = 0
    sums: list[Array] = []
    for a, b in zip(read_losses(path_a), read_losses(path_b), strict=True):
        missing = np.isnan(a) & np.isnan(b)
        both = np.isfinite(a) & np.isfinite(b)
        left_out += int(np.count_nonzero(missing))
        not_finite += int(np.count_nonzero(~both & ~missing))
        differences = np.where(both, b - a, 0.0) if not both.all() else b - a
        if a.ndim > 1:
            inner = tuple(range(1, a.ndim))
            sums.append(np.stack([differences.sum(axis=inner), both.sum(axis=inner)]))
        first.add(a[both])
        second.add(b[both])
        difference.add(differences[both])
        count += int(np.count_nonzero(both))
        better_a += int(np.count_nonzero(differences > 0))
        better_b += int(np.count_nonzero(differences < 0))
    found = {
        "paired": True,
        "loss_a": first.value.mean(count),
        "loss_b": second.value.mean(count),
        "difference": difference.value.mean(count),
        "standard_error": difference.standard_error(count),
        "count": count,
        "left_out": left_out,
        "not_finite": not_finite,
        "better_a": better_a,
        "better_b": better_b,
    }
    if sums:
        found["rows_standard_error"] = found["standard_error"]
        found["standard_error"] = _of_sequences(np.concatenate(sums, axis=1), found["difference"])
    return found


def _of_sequences(sums: Array, mean: float) -> float:
    """Return the standard error of a mean over rows that come in sequences, which alone are independent.

    Parameters
    ----------
    sums : ndarray
        (2, sequences): the sum of each one's values, and how many.
    mean : float
        Of all values.

    Notes
    -----
    The cluster-robust estimate, sqrt(G / (G - 1) sum_g (S_g - n_g mean)^2) / n: A. C. Cameron, D. L. Miller,
    A Practitioner's Guide to Cluster-Robust Inference, 2015.
    """
    totals, counts = sums[:, sums[1] > 0]
    groups = len(counts)
    if groups < 2:
        return math.nan
    return math.sqrt(groups / (groups - 1) * float(((totals - counts * mean) ** 2).sum())) / float(counts.sum())


def _judged(figures: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from a difference and its standard error, by the normal distribution."""
    difference, error = figures["difference"], figures["standard_error"]
    z = difference / error if error else math.copysign(math.inf, difference) if difference else 0.0
    return {
        **figures,
        "low": difference - _Z95 * error,
        "high": difference + _Z95 * error,
        "z": z,
        "p_value": math.erfc(abs(z) / math.sqrt(2.0)),
        "perplexity_ratio": exp(difference),
    }


def _sections(figures: dict[str, Any]) -> list[Section]:
    how = "of rows paired with each other" if figures["paired"] else "of two unrelated samples"
    if "rows_standard_error" in figures:
        how = "of sequences paired with each other"
    counts: Section = [
        (title, f"{figures[name]:,}", remark)
        for name, title, remark in (
            ("count", "rows", "compared"),
            ("count_a", "rows of A", ""),
            ("count_b", "rows of B", ""),
            ("better_a", "better in A", ""),
            ("better_b", "better in B", ""),
            ("left_out", "left out", "evaluated in neither"),
            ("not_finite", "not compared", "evaluated in one alone, or infinite"),
        )
        if figures.get(name)
    ]
    return [
        [
            ("loss of A", fixed(figures["loss_a"]), "mean over rows"),
            ("loss of B", fixed(figures["loss_b"]), "mean over rows"),
            ("difference", f"{figures['difference']:+.6g}", "B - A: less than 0 where B is better"),
            ("standard error", significant(figures["standard_error"]), how),
            ("from", f"{figures['low']:+.6g}", "95 % confidence"),
            ("to", f"{figures['high']:+.6g}", ""),
            ("p-value", f"{figures['p_value']:.3g}", "of no difference"),
            ("perplexity ratio", fixed(figures["perplexity_ratio"]), "B / A"),
        ],
        counts,
    ]
