"""``fastloss demo``: the figures of the demonstration, shown."""

from __future__ import annotations

import argparse

from .. import demo
from .tables import show

__all__ = ["run"]


def run(args: argparse.Namespace) -> None:
    """Run the demonstration."""
    figures = demo.run(args.bytes, quiet=args.quiet)
    title, sections = demo.table(figures)
    show(args, title, sections, figures)
