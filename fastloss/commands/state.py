"""The state of an evaluation of files, to be merged with others or gone on with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..evaluation import Evaluation
from ..failure import Failure
from ..files import Dataset, fingerprint
from ..files.shards import STDIN
from .output import write

__all__ = ["FORMAT", "State", "fingerprints"]

FORMAT = "fastloss state"
_VERSION = 1


@dataclass
class State:
    """An evaluation, of which rows, and of what.

    Parameters
    ----------
    evaluation : Evaluation
    rows : int
        How many have been evaluated.
    complete : bool
        Whether those are all.
    inputs : dict of str to list of int
        The files, with their fingerprints.
    reading : dict
        How the files were read: what else has to be the same for `rows` to mean the same.
    """

    evaluation: Evaluation
    rows: int = 0
    complete: bool = False
    inputs: dict[str, list[int]] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)
    saved: bool = field(default=False, init=False)
    """Whether a file holds some of it."""

    def save(self, path: str) -> None:
        """Write it to a file, which keeps what it held if that fails."""
        entries = {
            "format": FORMAT,
            "version": _VERSION,
            "rows": self.rows,
            "complete": self.complete,
            "inputs": self.inputs,
            "reading": self.reading,
            "evaluation": self.evaluation.to_dict(),
        }
        write(path, json.dumps(entries) + "\n")
        self.saved = True

    @classmethod
    def load(cls, path: str) -> State:
        """Read it from a file."""
        try:
            with open(path, encoding="utf-8") as file:
                entries = json.load(file)
        except ValueError as error:
            raise Failure(f"{path}: not JSON: {error}") from None
        if not isinstance(entries, dict) or entries.get("format") != FORMAT:
            raise Failure(f"{path}: not a state, as evaluate --state writes it")
        if entries.get("version") != _VERSION:
            raise Failure(f"{path}: a state of version {entries.get('version')}; this fastloss reads {_VERSION}")
        kinds = {"rows": int, "complete": bool, "inputs": dict, "reading": dict, "evaluation": dict}
        for name, kind in kinds.items():
            if type(entries.get(name)) is not kind:
                raise Failure(f"{path}: a damaged state: its {name!r} is {entries.get(name)!r}")
        try:
            evaluation = Evaluation.from_dict(entries["evaluation"])
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
        return cls(evaluation, *(entries[name] for name in kinds if name != "evaluation"))

    def resume(self, path: str) -> None:
        """Go on from where the run that wrote `path` stopped.

        Raises
        ------
        Failure
            If that run had other files, options or ways to read them.
        """
        old = State.load(path)
        if old.complete:
            raise Failure(f"{path}: the run is complete; fastloss merge {path} shows its figures")
        if STDIN in self.inputs:
            raise Failure(f"{path}: standard input cannot be gone on with")
        if old.reading != self.reading:
            changed = [name for name in self.reading if old.reading.get(name) != self.reading[name]]
            raise Failure(f"{path}: the run had another {', '.join(changed)}")
        for name, found in self.inputs.items():
            if name not in old.inputs:
                raise Failure(f"{path}: the run did not read {name}, but {', '.join(old.inputs)}")
            if old.inputs[name] != found:
                raise Failure(f"{name}: has changed since {path} was written")
        try:
            self.evaluation.merge_state(old.evaluation)
        except ValueError as error:
            raise Failure(f"{path}: {error}") from None
        self.rows, self.saved = old.rows, True


def fingerprints(dataset: Dataset) -> dict[str, list[int]]:
    """Return the fingerprints of a data set's files; standard input has none."""
    return {name: [] if name == STDIN else fingerprint(name) for name in dataset.files}
