"""How many threads a call uses: OpenMP's own answer, unless the process or the context says otherwise."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from contextvars import ContextVar

from . import _core

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

_everywhere = 0
_here: ContextVar[int] = ContextVar("fastloss.num_threads", default=0)


def wanted() -> int:
    """What to ask of the driver; 0 leaves it to OpenMP."""
    return _here.get() or _everywhere


def _checked(n: int, name: str) -> int:
    count = operator.index(n)
    if not 1 <= count < 2**31:
        raise ValueError(f"{name}: n must be at least 1 and below 2**31, got {count}")
    return count


def set_num_threads(n: int | None) -> None:
    """Set how many threads every call of this process uses from now on.

    Results do not depend on it: they have the same bits for any number of threads.

    Parameters
    ----------
    n : int or None
        At least 1; None leaves it to OpenMP again, as it is before the first call.

    Raises
    ------
    ValueError
        If `n` is less than 1.

    See Also
    --------
    num_threads : for a block of code only.

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.set_num_threads(1)
    >>> fl.get_num_threads()
    1
    >>> fl.set_num_threads(None)
    """
    global _everywhere
    _everywhere = 0 if n is None else _checked(n, "set_num_threads")


def get_num_threads() -> int:
    """How many threads a large call uses here and now.

    That is the number of the enclosing :func:`num_threads` block, else that of :func:`set_num_threads`, else OpenMP's:
    ``OMP_NUM_THREADS``, what threadpoolctl has set, or the number of cores. In a forked child it is 1, and always 1
    where fastloss was built without OpenMP.

    Returns
    -------
    int

    Examples
    --------
    >>> import fastloss as fl
    >>> fl.get_num_threads() >= 1
    True
    """
    most = _core.max_threads()
    return (wanted() or most) if _core.can_thread() else most


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use `n` threads for the calls of a block, in this Python thread (and asyncio task) only.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If `n` is less than 1.

    Examples
    --------
    >>> import fastloss as fl
    >>> with fl.num_threads(1):
    ...     fl.get_num_threads()
    1
    """
    token = _here.set(_checked(n, "num_threads"))
    try:
        yield
    finally:
        _here.reset(token)
