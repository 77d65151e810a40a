"""Files of logits: one reader for each format, behind one small interface, and data sets of blocks made of them.

A reader (reader.py) knows which arrays its file holds and reads their rows in pieces; formats.py chooses it. A lane
(lane.py) is one array over all its files; a dataset (dataset.py) takes the lanes of logits, targets and what else there
is in step. What lies in a file as it does in memory is never copied (mapping.py).
"""

from __future__ import annotations

from ..ahead import ahead
from .dataset import EXTRAS, Block, Dataset, Spec
from .formats import SUFFIXES
from .shards import expand, fingerprint

__all__ = ["EXTRAS", "SUFFIXES", "Block", "Dataset", "Spec", "ahead", "expand", "fingerprint"]
