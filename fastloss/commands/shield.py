"""Interruptions that wait until a block has been added: half of one would be in the sums."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "Shield"]


class Interrupted(KeyboardInterrupt):
    """An interruption by a signal, which says what becomes of the work.

    Parameters
    ----------
    number : int
        The signal.
    message : str
    """

    def __init__(self, number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.number = number


class Shield:
    """Raises :class:`Interrupted` on SIGINT and SIGTERM within its with-block, at once or after what is being added."""

    def __init__(self) -> None:
        self._adding = False
        self._waiting: Interrupted | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Shield:
        if threading.current_thread() is threading.main_thread():
            heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
            self._before = {each: signal.signal(each, self._handle) for each in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._adding:
            raise Interrupted(number)
        self._waiting = Interrupted(number)

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Hold interruptions back."""
        self._adding = True
        try:
            yield
        finally:
            self._adding = False
        if self._waiting is not None:
            raise self._waiting
