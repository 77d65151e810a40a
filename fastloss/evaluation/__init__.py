"""Evaluation: a model's metrics accumulated over batches, files and workers, without rounding and in any order.

An :class:`Evaluation` is made of parts (part.py), one for the plain figures of its task and one for each option that is
asked for; a task (tokens.py, binary.py, regression.py) reads a batch once and hands what its parts need of each row.
"""

from __future__ import annotations

from .evaluation import Evaluation
from .pipeline import evaluate

__all__ = ["Evaluation", "evaluate"]
