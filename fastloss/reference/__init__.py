"""The truth: every loss by its definition, in NumPy float64, under the loss's own name.

Short enough to check against the formula by eye, accurate to a few rounding errors of float64, and slow.
"""

from __future__ import annotations

from . import (
    binary,
    ctc,
    distance,
    divergence,
    likelihood,
    linear,
    margin,
    matching,
    metric,
    overlap,
    regression,
    rowwise,
    signed,
)
from .terms import Reference, Terms

__all__ = ["REFERENCES", "Reference", "Terms", "get"]

REFERENCES: dict[str, Reference] = {
    name: member
    for module in (
        regression,
        likelihood,
        binary,
        signed,
        rowwise,
        divergence,
        distance,
        margin,
        overlap,
        ctc,
        linear,
        metric,
        matching,
    )
    for name, member in vars(module).items()
    if isinstance(member, Reference)
}


def get(name: str) -> Reference:
    """The reference of the loss called ``name``.

    Examples
    --------
    >>> get("mse_loss")([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    return REFERENCES[name]
