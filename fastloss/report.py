"""Tables and progress for people: by rich where it is installed, in plain text where it is not."""

from __future__ import annotations

import contextlib
import datetime
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence

__all__ = ["Row", "fixed", "percent", "print_table", "progress", "significant"]

Row = tuple[str, str, str]
"""What is reported, its value, and a unit or remark."""


def fixed(value: float, digits: int = 4) -> str:
    """Format with thousands separators and that many decimals; very large values with an exponent."""
    return f"{value:,.{digits}f}" if abs(value) < 1e12 else f"{value:.{digits}e}"


def significant(value: float, digits: int = 3) -> str:
    """Format with thousands separators and at least that many significant digits."""
    if not math.isfinite(value) or value == 0.0:
        return f"{value:.0f}"
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(fraction: float) -> str:
    """Format a fraction as a percentage."""
    return f"{100 * fraction:.2f} %"


def print_table(title: str, sections: Sequence[Sequence[Row]]) -> None:
    """Print sections of rows under a title on standard output."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(title, sections)
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for rows in sections:
        table.add_section()
        for row in rows:
            table.add_row(*row)
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    with console.capture() as text:
        console.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))


def _print_plain(title: str, sections: Sequence[Sequence[Row]]) -> None:
    names = max(len(name) for rows in sections for name, _, _ in rows)
    values = max(len(value) for rows in sections for _, value, _ in rows)
    print(f"{title}\n")
    for rows in sections:
        for name, value, remark in rows:
            print(f"  {name:{names}}  {value:>{values}}  {remark}".rstrip())
        print()


@contextlib.contextmanager
def progress(label: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show on standard error how many of `total` bytes are done (None: of unknown many), if it is a terminal.

    Yields the function to call with every number of bytes done.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from rich import progress as bar
        from rich.console import Console
    except ImportError:
        yield from _plain_progress(label, total)
        return
    columns = (
        bar.TextColumn("{task.description}"),
        bar.BarColumn(),
        bar.TaskProgressColumn(),
        bar.TransferSpeedColumn(),
        bar.TimeRemainingColumn(),
    )
    with bar.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda done: bars.advance(task, done)


def _plain_progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    start = shown = time.monotonic()
    seen = 0

    def advance(done: int) -> None:
        nonlocal seen, shown
        seen += done
        now = time.monotonic()
        if now - shown > 0.1:
            shown = now
            rate = seen / (now - start)
            text = f"{label} {seen / 1e9:.1f} GB  {rate / 1e9:.1f} GB/s"
            if total:
                left = datetime.timedelta(seconds=round((total - seen) / rate))
                text = f"{label} {seen / total:4.0%}  {rate / 1e9:.1f} GB/s  {left} left"
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
