"""Figures as sections of rows, for a terminal, for Markdown and for a page of HTML."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..report import Row, fixed, percent, print_table, significant
from .output import STDOUT, write, write_json

__all__ = ["Section", "loss_of", "markdown", "sections", "show", "speed", "worst_groups"]

Section = list[Row]
_LISTED = 10  # groups, and rows

# What figures are called and their units, where their own names do not say it.
_NAMES = {
    **{name: name.upper() for name in ("ece", "mce", "auc", "f1", "mae", "mse", "rmse", "r2")},
    "brier": "Brier score",
    "auc_error": "AUC within",
    "entropy": "mean entropy",
    "nonfinite": "not finite",
    "sequence_loss": "loss of sequences",
    "sequence_perplexity": "perplexity of sequences",
}
_REMARKS = {
    "standard_error": "of the loss, if rows are independent",
    "entropy": "nats",
    "sequence_loss": "mean over sequences of each one's mean",
    "sequence_perplexity": "mean over sequences of each one's",
    "nonfinite": "rows whose loss is infinite or NaN",
    "ece": "expected calibration error",
    "mce": "the largest of a bin",
}
_SIGNIFICANT = ("standard_error",)


def loss_of(figures: Mapping[str, Any]) -> float:
    """Return the mean loss, which of regression is the squared error."""
    loss: float = figures["loss"] if "loss" in figures else figures["mse"]
    return loss


def sections(figures: Mapping[str, Any]) -> list[Section]:
    """Return what an evaluation computed: figures, counts, and some groups and rows of the largest losses."""
    values: Section = []
    counts: Section = []
    for name, value in figures.items():
        remark = _REMARKS.get(name, "")
        if name == "loss":
            remark = "nats per token" if "perplexity" in figures else "nats"
        title = _NAMES.get(name, re.sub(r"^top(\d+) ", r"top-\1 ", name.replace("_", " ")))
        if isinstance(value, float):
            values.append((title, _shown(name, value), remark))
        elif isinstance(value, int) and (value or name != "nonfinite"):
            counts.append((title, f"{value:,}", remark))
    groups: Section = [
        (f"group {name}", fixed(loss_of(group)), f"mean loss of {group['count']:,} rows")
        for name, group in worst_groups(figures)
    ]
    worst: Section = [
        (f"row {row.get('row', row['position'])}", fixed(row["loss"]), f"in {row['file']}" if "file" in row else "")
        for row in figures.get("worst", [])[:_LISTED]
    ]
    return [each for each in (values, counts, groups, worst) if each]


def worst_groups(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the groups of the largest losses, a NaN first."""
    groups = [(str(name), group) for name, group in figures.get("groups", {}).items() if group["count"]]
    return sorted(groups, key=lambda each: (not math.isnan(loss_of(each[1])), -loss_of(each[1])))[:_LISTED]


def _shown(name: str, value: float) -> str:
    if "accuracy" in name:
        return percent(value)
    return significant(value) if name in _SIGNIFICANT else fixed(value)


def show(args: argparse.Namespace, title: str, found: Sequence[Section], figures: Any) -> None:
    """Print a table, unless standard output is for something else, and write what was asked for."""
    if STDOUT not in (args.json, args.markdown):
        print_table(title, found)
    write_json(figures, args.json)
    if args.markdown:
        write(args.markdown, markdown(title, found))


def markdown(title: str, found: Sequence[Sequence[Row]]) -> str:
    """Return sections as Markdown tables."""
    lines = [f"### {_escaped(title)}", ""]
    for rows in found:
        lines += ["| | | |", "|---|--:|---|"]
        lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def speed(figures: Mapping[str, Any]) -> Section:
    """Return how fast it was."""
    return [
        ("time", f"{figures['seconds']:.3f} s", f"{figures['threads']} threads"),
        ("tokens/s", significant(figures["tokens_per_second"]), ""),
        ("GB/s", significant(figures["gigabytes_per_second"]), "of logits"),
    ]
