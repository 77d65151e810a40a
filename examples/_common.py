"""What the examples share: their command line, the lines they print, and how their pictures are saved."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

plt.rcParams.update(
    {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.dpi": 120,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)


class Size(NamedTuple):
    """An option of the command line that says how much is done."""

    full: int
    small: int
    """With --small: what the tests run."""
    help: str


def options(description: str, **sizes: Size) -> argparse.Namespace:
    """Read the command line: --out, --small, and an option for each of the sizes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("out"), help="folder of the picture")
    parser.add_argument("--small", action="store_true", help="the smaller sizes")
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, help=f"{size.help} (default {size.full}, small {size.small})")
    chosen = parser.parse_args()
    for name, size in sizes.items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, size.small if chosen.small else size.full)
    return chosen


def say(name: str, value: float, unit: str = "") -> None:
    """Print a figure by its name."""
    number = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    print(f"{name:<48}  {number:>10} {unit}".rstrip(), flush=True)


def save(figure: Figure, folder: Path, script: str) -> None:
    """Write the script's picture into the folder, under the script's name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(script).stem}.png"
    figure.savefig(path)
    print(f"picture: {path}")
