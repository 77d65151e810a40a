"""Results as tables, as Markdown and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from .peers import PEERS
from .run import FASTLOSS, FLOAT32, LIMIT, NEW, Outcome, Result
from .work import MEASURES

UNITS = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
}


@dataclass
class Table:
    """Rows of text under a heading."""

    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def markdown(self) -> str:
        """As Markdown."""
        lines = [self.header, ["---"] + ["--:"] * (len(self.header) - 1), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def plain(self) -> str:
        """As aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        text = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, text[0], "  ".join("-" * width for width in widths), *text[1:]])

    def show(self) -> None:
        """On standard output: by rich on a terminal where it is installed."""
        if not (sys.stdout.isatty() and find_spec("rich")):
            print(self.plain(), end="\n\n")
            return
        table = import_module("rich.table").Table(title=self.title, title_justify="left")
        for column, name in enumerate(self.header):
            table.add_column(name, justify="right" if column else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(import_module("rich.markup").escape, row))
        import_module("rich.console").Console().print(table)


def quantity(number: float, unit: str) -> str:
    """A time or a size with three digits."""
    for scale, name in UNITS[unit]:
        if number >= scale:
            value = number / scale
            return f"{value:.{max(0, 3 - len(str(int(value))))}f} {name}"
    return f"{number:.0f} {unit}"


def verdict(outcome: Outcome) -> str:
    """What was reached of a goal, and whether that is enough."""
    return f"{comparison(outcome)}: {'met' if outcome.met else 'NOT MET'}"


def comparison(outcome: Outcome) -> str:
    """What was reached of a goal, and what was to be reached."""
    goal = outcome.goal
    unit = {"seconds": "s", "bytes": "B"}.get(goal.measure)
    texts = [quantity(number, unit) if unit else f"{number:.2f}" for number in (outcome.reached, goal.bound)]
    return f"{texts[0]} ({MEASURES[goal.measure][1]} {texts[1]})"


def details(result: Result) -> Table:
    """All that was measured of one piece of work."""
    timed = result.unit == "s"
    header = ["", "turns", "median", "min", "q1", "q3"]
    table = Table(result.name, header + (["GB/s", "/ limit", "/ fastloss"] if timed else []))
    bases = {name: result.samples[name].median for name in (LIMIT, FASTLOSS) if name in result.samples}
    for name, sample in result.samples.items():
        numbers = sample.summary()
        row = [
            name,
            str(len(sample.counted)),
            *(quantity(numbers[key], result.unit) for key in ("median", "min", "q1", "q3")),
        ]
        if timed:
            row.append(f"{result.bytes / sample.median / 1e9:.1f}" if result.bytes else "")
            for base in (LIMIT, FASTLOSS):
                row.append(f"{sample.median / bases[base]:.2f}" if base in bases else "")
        table.rows.append(row)
    return table


def footnotes(result: Result) -> list[str]:
    """Goals and notes of one piece of work, a line each."""
    goals = [f"{MEASURES[outcome.goal.measure][0]}: {verdict(outcome)}" for outcome in result.outcomes]
    return goals + notes(result)


def notes(result: Result) -> list[str]:
    """What was noted of one piece of work, and whose turns were on cores that something else had as well."""
    disturbed = [
        f"{name} {len(sample.disturbed)} of {len(sample.disturbed) + len(sample.numbers)}"
        for name, sample in result.samples.items()
        if sample.disturbed
    ]
    return result.notes + ([f"turns disturbed by other work on the cores: {', '.join(disturbed)}"] if disturbed else [])


def show(result: Result) -> None:
    """Print one piece of work as soon as it is measured."""
    details(result).show()
    for line in footnotes(result):
        print(f"  {line}")
    print(flush=True)


def summary(results: Iterable[Result]) -> Table:
    """A line for each piece of work: the ratios, beside the goals where there are some."""
    table = Table(
        "Medians, ratios and goals",
        ["work", LIMIT, FASTLOSS, "fastest peer", "time / limit", "fastest peer / time", "other", "goals"],
    )
    for result in results:
        timed = result.unit == "s"
        medians = {name: quantity(sample.median, result.unit) for name, sample in result.samples.items()}
        rivals = [name for name in PEERS if name in medians]
        best = min(rivals, key=lambda name: result.samples[name].median, default=None)
        cells = {name: f"{ratio:.2f}" for name in ("limit", "peer") if timed and (ratio := result.ratio(name))}
        outcomes = {outcome.goal.measure: outcome for outcome in result.outcomes}
        cells |= {measure: comparison(outcome) for measure, outcome in outcomes.items()}
        table.rows.append(
            [
                result.name,
                medians.get(LIMIT, ""),
                medians.get(FASTLOSS, ""),
                f"{best} {medians[best]}" if best else "",
                cells.pop("limit", ""),
                cells.pop("peer", ""),
                ", ".join(cells.values()),
                ", ".join("met" if outcome.met else "NOT MET" for outcome in outcomes.values()),
            ]
        )
    return table


def medians(results: Iterable[Result]) -> Table:
    """The median of everyone at every piece of work that was timed."""
    timed = [result for result in results if result.unit == "s" and FASTLOSS in result.samples]
    columns = [LIMIT, FASTLOSS, NEW, FLOAT32, *PEERS]
    used = [name for name in columns if any(name in result.samples for result in timed)]
    table = Table("Medians", ["work", *used])
    for result in timed:
        found = [result.samples.get(name) for name in used]
        table.rows.append([result.name, *("" if each is None else quantity(each.median, "s") for each in found)])
    return table


def write_markdown(path: Path, machine: dict[str, str], results: list[Result]) -> None:
    """The header, the tables and the notes."""
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    remarks = [f"- {result.name}: {note}" for result in results for note in notes(result)]
    tables = ["", summary(results).markdown(), "", medians(results).markdown(), ""]
    path.write_text("\n".join([*lines, *tables, *remarks]).rstrip() + "\n")


def write_json(path: Path, machine: dict[str, str], results: list[Result]) -> None:
    """Everything, times in seconds and sizes in bytes."""
    everything = {"machine": machine, "results": [each.as_dict() for each in results]}
    path.write_text(json.dumps(everything, indent=2) + "\n")
