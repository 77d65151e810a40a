"""Reading ahead: what a generator makes next is made by a background thread while the last is used."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """Iterate over `items`, one of them waiting and the next in the making; errors come where they would have come.

    Examples
    --------
    >>> from fastloss.ahead import ahead
    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    made: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(1)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None, last: bool) -> None:
        while not stopped.is_set():
            try:
                return made.put((item, error, last), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item, None, False)
                if stopped.is_set():
                    return
        except BaseException as error:
            put(None, error, True)
        else:
            put(None, None, True)

    # Not waited for in the end: it may wait for a pipe.
    threading.Thread(target=work, daemon=True, name="fastloss-ahead").start()
    try:
        while True:
            item, error, last = made.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
