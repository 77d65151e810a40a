"""Pictures of an evaluation: how losses spread, how they go with the position, calibration, the worst groups."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..failure import Failure
from ..files.reader import Array
from .losses import loss_shape, read_losses
from .tables import loss_of, worst_groups

__all__ = ["check", "draw", "picture_format"]

_BINS = 100
_POINTS = 256  # of a curve
_INK, _COLOR, _PALE = "#22303c", "#2f6f9f", "#c9d8e4"
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _PALE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8eef3",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_FORMATS = ("png", "svg", "pdf")


def check(path: str | None) -> None:
    """Refuse a picture that could not be drawn, before hours of work.

    Raises
    ------
    Failure
        If its name asks for no known format, or there is no matplotlib.
    """
    if path is not None and picture_format(path) not in _FORMATS:
        raise Failure(f"{path}: a picture's name must end with one of {', '.join('.' + each for each in _FORMATS)}")
    _matplotlib()


def picture_format(path: str) -> str:
    """Return the format that a picture's name asks for."""
    return os.path.splitext(path)[1][1:].lower()


def draw(figures: Mapping[str, Any], losses: str, kind: str) -> bytes:
    """Draw all there is to be seen.

    Parameters
    ----------
    figures : dict
        What the evaluation computed.
    losses : str
        The file of every row's loss.
    kind : str
        Of picture.
    """
    matplotlib, figure = _matplotlib()
    panels: list[Callable[[Any], None]] = [
        lambda axes: _histogram(axes, figures, losses),
        lambda axes: _positions(axes, losses),
    ]
    if figures.get("calibration"):
        panels.append(lambda axes: _reliability(axes, figures))
    if figures.get("groups"):
        panels.append(lambda axes: _groups(axes, figures))
    with matplotlib.rc_context(_STYLE):
        across = 2
        down = math.ceil(len(panels) / across)
        page = figure(figsize=(10, 3.6 * down), layout="constrained")
        for panel, axes in zip(panels, np.atleast_1d(page.subplots(down, across)).flat, strict=False):
            panel(axes)
        for axes in page.axes[len(panels) :]:
            axes.set_axis_off()
        drawn = io.BytesIO()
        page.savefig(drawn, format=kind, dpi=150)
    return drawn.getvalue()


def _matplotlib() -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise Failure("pictures need matplotlib: pip install 'fastloss[plot]'") from None
    return matplotlib, Figure


def _histogram(axes: Any, figures: Mapping[str, Any], losses: str) -> None:
    low, high = 0.0, 0.0
    for values in read_losses(losses):
        values = values[np.isfinite(values)]
        low, high = min(low, values.min(initial=low)), max(high, values.max(initial=high))
    edges = np.linspace(low, high or 1.0, _BINS + 1)
    counts = np.zeros(_BINS, np.int64)
    for values in read_losses(losses):
        counts += np.histogram(values[np.isfinite(values)], edges)[0]
    axes.stairs(counts, edges, fill=True, color=_COLOR)
    axes.set(title="Losses", xlabel="loss", ylabel="rows")
    if counts.any():
        axes.set(yscale="log", ylim=(0.5, None))
    if math.isfinite(mean := loss_of(figures)):
        axes.axvline(mean, color=_INK, linewidth=1, linestyle=":")
        axes.annotate(
            f"mean {mean:.3f}", (mean, 1), xycoords=("data", "axes fraction"),
            xytext=(4, -10), textcoords="offset points",
        )  # fmt: skip


def _positions(axes: Any, losses: str) -> None:
    shape = loss_shape(losses)
    length = shape[-1]
    points = max(1, min(_POINTS, length))
    sums, counts = np.zeros(points), np.zeros(points)
    seen = 0
    for values in read_losses(losses):
        finite = np.isfinite(values)
        values = np.where(finite, values, 0.0)
        if len(shape) > 1:
            at = np.arange(length) * points // length
            sums += _binned(at, values.reshape(-1, length).sum(axis=0), points)
            counts += _binned(at, finite.reshape(-1, length).sum(axis=0), points)
        else:
            at = np.arange(seen, seen + len(values)) * points // length
            sums += _binned(at, values, points)
            counts += _binned(at, finite, points)
            seen += len(values)
    with np.errstate(invalid="ignore"):
        means = sums / counts
    axes.plot((np.arange(points) + 0.5) * length / points, means, color=_COLOR, linewidth=1.2)
    in_sequence = len(shape) > 1
    axes.set(
        title="Loss by position" if in_sequence else "Loss along the rows",
        xlabel="position in the sequence" if in_sequence else "row",
        ylabel="mean loss",
    )


def _binned(at: Array, values: Array, points: int) -> Array:
    return np.bincount(at, values, points)


def _reliability(axes: Any, figures: Mapping[str, Any]) -> None:
    bins = figures["calibration"]
    low = [each["low"] for each in bins]
    widths = [each["high"] - each["low"] for each in bins]
    axes.bar(low, [each["accuracy"] for each in bins], widths, align="edge", color=_PALE, edgecolor="white")
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=1, linestyle=":")
    shares = np.array([each["count"] for each in bins]) / sum(each["count"] for each in bins)
    points = [each["confidence"] for each in bins], [each["accuracy"] for each in bins]
    axes.scatter(*points, s=12 + 300 * shares, color=_COLOR, alpha=0.85)
    axes.set(
        title=f"Calibration (error {figures['ece']:.4f})",
        xlabel="confidence; a dot is as large as its bin",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )


def _groups(axes: Any, figures: Mapping[str, Any]) -> None:
    groups = worst_groups(figures)[::-1]
    names = [f"{name[:30]} ({group['count']:,})".replace("$", r"\$") for name, group in groups]
    means = [loss_of(group) for _, group in groups]
    axes.barh(range(len(groups)), means, color=_COLOR, height=0.7)
    axes.set_yticks(range(len(groups)), names)
    axes.grid(axis="y", visible=False)
    if math.isfinite(loss_of(figures)):
        axes.axvline(loss_of(figures), color=_INK, linewidth=1, linestyle=":")
    axes.set(title="Groups of the largest loss", xlabel="mean loss")
