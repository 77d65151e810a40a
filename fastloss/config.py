"""What this build is and what it runs on: the first thing to put into a bug report."""

from __future__ import annotations

import numpy as np

from . import _core
from ._version import __version__
from .threads import get_num_threads

__all__ = ["config", "show_config"]


def config() -> dict[str, str]:
    """What :func:`show_config` prints, as a dict of strings.

    Returns
    -------
    dict
        Versions, the instruction set in use and those this machine can run, OpenMP, threads, compiler.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.config()["fastloss"] == fl.__version__
    True
    """
    import platform

    return {
        "fastloss": __version__,
        "isa": _core.isa(),
        "isa detected": ", ".join(_core.isas()),
        "isa built": ", ".join(_core.built_isas()),
        "openmp": _core.OPENMP or "none: this build runs serially",
        "threads": str(get_num_threads()),
        "compiler": _core.COMPILER,
        "numpy": np.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
    }


def show_config() -> None:
    """Print version, instruction set (used, detected, built), OpenMP, threads, compiler, NumPy, Python, machine.

    ``FASTLOSS_ISA=base|avx2|avx512|neon`` in the environment forces an instruction set.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.show_config()  # doctest: +ELLIPSIS
    fastloss      ...
    isa           ...
    """
    for key, value in config().items():
        print(f"{key:<13} {value}")
