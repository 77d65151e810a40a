"""What the numbers were measured on and with."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import fastloss as fl

SAID = {"fastloss", "numpy", "python", "machine", "threads"}
LIBRARIES = ("numpy", "scipy", "torch", "jax", "optax", "ml_dtypes")


def describe(threads: int) -> dict[str, str]:
    """The header of a report."""
    return {
        "cpu": cpu(),
        "cores": str(cores()),
        "load": load(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "fastloss": f"{fl.__version__} ({sha()})",
        **{f"fastloss {key}": str(value) for key, value in fl.config().items() if key not in SAID},
        **{name: installed(name) for name in LIBRARIES},
        "threads": f"{threads} (fastloss, limits and torch; jax takes its own from the machine)",
    }


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """The processor's name for itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        pass
    try:
        brand = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(brand, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return platform.processor() or "unknown"


def load() -> str:
    """How busy the machine is with other things as well."""
    return f"{os.getloadavg()[0]:.2f} over the last minute" if hasattr(os, "getloadavg") else "unknown"


def busy() -> bool:
    """Whether so much else runs that threads wait for a core, which hurts some libraries more than others."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.25 * cores()


def installed(name: str) -> str:
    """The version of a library."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def sha() -> str:
    """The commit of the working tree, and whether it has changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no git"
