"""What the bridges to frameworks with graphs of their own share: a call of a loss apart from its arrays.

Such a framework sees shapes before there are numbers. A :class:`Call` says what it wants to know by then: which
arguments are arrays, whether the call is a valid one, the shape of the value, and how an upstream gradient lies beside
the gradients; and later, on NumPy arrays, it runs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .loss import LOSSES, Loss

__all__ = ["BRIDGED", "Call", "function", "split"]

Shape = tuple[int | None, ...]
"""An axis of None has a length that is not known yet."""

_PARAMETERS = {name: inspect.signature(loss).parameters for name, loss in LOSSES.items()}
BRIDGED: Mapping[str, Loss[...]] = {
    name: loss
    for name, loss in LOSSES.items()
    if loss.predictions and not any("Callable" in each.annotation for each in _PARAMETERS[name].values())
}
"""The losses that have a gradient and take arrays and constants alone."""

_PULLS = {name: "grad_output" in inspect.signature(loss.value_and_grad).parameters for name, loss in BRIDGED.items()}
_MAPS = ("log_softmax", "softmax")  # their value has the shape of the input
_ALWAYS_REDUCED = ("perplexity",)


@dataclass(frozen=True)
class Call:
    """A call of a loss, without the contents of its arrays; hashable.

    Parameters
    ----------
    name : str
        The loss's.
    arrays : tuple of str
        Which arguments are arrays, in order.
    options : tuple of (str, constant)
        The other arguments.
    """

    name: str
    arrays: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def predictions(self) -> tuple[int, ...]:
        """Which of the arrays it is differentiated by."""
        return tuple([i for i, name in enumerate(self.arrays) if name in BRIDGED[self.name].predictions])

    @property
    def pulls(self) -> bool:
        """Whether the gradient is made from an upstream one, and not only multiplied by it."""
        return _PULLS[self.name]

    @property
    def reduced(self) -> bool:
        """Whether the value is one number."""
        return self.name in _ALWAYS_REDUCED or self._option("reduction") not in (None, "none")

    def _option(self, name: str) -> Any:
        parameter = _PARAMETERS[self.name].get(name)
        return dict(self.options).get(name, None if parameter is None else parameter.default)

    # --- before there are numbers

    def check(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype[Any]]) -> None:
        """Refuse what the loss refuses, whatever the arrays hold.

        Lengths of sequences decide about what they are lengths of: of these losses nothing is known before.
        """
        if BRIDGED[self.name].family != "sequence":
            _declare(self, tuple(shapes), tuple(dtypes))

    def check_gradient(self, shapes: Sequence[Shape]) -> None:
        """Refuse a gradient that is not the unreduced one times the upstream gradient."""
        if self.reduced or self.pulls:
            return
        if BRIDGED[self.name].family in ("embedding", "linear"):
            raise ValueError(
                f'{self.name}: reduction="none" has no gradient here, where the loss of a row depends on other rows; '
                'take "mean" or "sum"'
            )
        full = self._full(shapes)
        for i in self.predictions:
            if not _alike(shapes[i], full):
                raise ValueError(
                    f'{self.name}: for a gradient with reduction="none" {self.arrays[i]} must have the shape that all '
                    f"arrays broadcast to, {full}, has {shapes[i]}; broadcast it before"
                )

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """The value's shape."""
        if self.reduced:
            return ()
        if self.name in _MAPS:
            return shapes[0]
        if self.name == "cdist":
            return (*_broadcast([shapes[0][:-2], shapes[1][:-2]]), shapes[0][-2], shapes[1][-2])
        if self.name == "pdist":
            count = shapes[0][0]
            return (None if count is None else count * (count - 1) // 2,)
        full = self._full(shapes)
        axes = self._axes(len(full))
        kept = self._option("keepdim") or self._option("keepdims")
        return tuple([1 if a in axes else n for a, n in enumerate(full) if kept or a not in axes])

    def upstream_axes(self, ndim: int) -> tuple[int, ...]:
        """Where an upstream gradient gets axes of length 1, to be multiplied with gradients of so many axes."""
        return () if self.reduced else self._axes(ndim)

    def _full(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of what the unreduced value is made from: that of the predictions and of all that is as long."""
        family, given = BRIDGED[self.name].family, dict(zip(self.arrays, shapes, strict=True))
        if family == "pointwise":
            return _broadcast([each for name, each in given.items() if name != "var"])  # rows may have one variance
        if family != "rowwise":
            return shapes[0]
        found = [shapes[i] for i in self.predictions]
        dense = [given["target"]] if "target" in given and len(given["target"]) >= len(found[0]) else []
        return _broadcast(found + dense)

    def _axes(self, ndim: int) -> tuple[int, ...]:
        """The axes of the full shape that one number of the unreduced value is made of."""
        family = BRIDGED[self.name].family
        if family == "sequence":
            return (0, ndim - 1)
        axis: Any = -1
        if "axis" in _PARAMETERS[self.name]:
            axis = self._option("axis")
        elif family == "pointwise":
            return ()
        axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        return tuple(sorted({each % ndim for each in axes})) if ndim else ()

    # --- on NumPy arrays

    def value(self, arrays: Sequence[Any]) -> Any:
        """The value."""
        return BRIDGED[self.name](**self._arguments(arrays))

    def value_and_grad(self, arrays: Sequence[Any], out: Sequence[Any], upstream: Any = None) -> Any:
        """The value; the gradient by each prediction is written, times the upstream one where the loss takes that."""
        more = {"grad_output": upstream} if self.pulls else {}
        to = out[0] if len(out) == 1 else tuple(out)
        return BRIDGED[self.name].value_and_grad(**self._arguments(arrays), **more, out=to)[0]

    def _arguments(self, arrays: Sequence[Any]) -> dict[str, Any]:
        return {**dict(zip(self.arrays, arrays, strict=True)), **dict(self.options)}


@functools.lru_cache(maxsize=4096)
def _declare(call: Call, shapes: tuple[tuple[int, ...], ...], dtypes: tuple[np.dtype[Any], ...]) -> None:
    """Declare the call, for its errors, on arrays that take no memory."""
    stand_in = [np.broadcast_to(np.zeros((), dtype), shape) for shape, dtype in zip(shapes, dtypes, strict=True)]
    declare: Callable[..., Any] = inspect.unwrap(BRIDGED[call.name])
    with np.errstate(all="ignore"):
        declare(**call._arguments(stand_in))


def _alike(one: Shape, other: Shape) -> bool:
    """Whether two shapes are the same as far as they are known."""
    return len(one) == len(other) and all(None in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    """What shapes broadcast to, if they do."""
    most = max(map(len, shapes))
    columns = zip(*[(1,) * (most - len(shape)) + tuple(shape) for shape in shapes], strict=True)
    return tuple([_longest(column) for column in columns])


def _longest(lengths: Shape) -> int | None:
    """The length that others than 1 have; None where that is not known."""
    known = [n for n in lengths if n is not None and n != 1]
    return known[0] if known else None if None in lengths else 1


def split(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Call, list[Any]]:
    """The call that a loss's arguments make, and what they have for arrays.

    A number in place of an array that is no prediction is an option, and None is as if it were not given.
    """
    loss = BRIDGED[name]
    try:
        given = inspect.signature(loss).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    arrays: dict[str, Any] = {}
    options: list[tuple[str, Any]] = []
    for key, value in given.items():
        parameter = _PARAMETERS[name][key]
        if "ArrayLike" not in parameter.annotation:
            options.append((key, _constant(value, name, key)))
        elif value is None and parameter.default is None:
            continue
        elif isinstance(value, (int, float)) and key not in loss.predictions:
            options.append((key, value))
        else:
            arrays[key] = value
    return Call(name, tuple(arrays), tuple(options)), list(arrays.values())


def _constant(value: Any, loss: str, name: str) -> Any:
    """An argument that has to be known before there are numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple([_constant(each, loss, name) for each in value])
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{loss}: {name} must be a Python constant, not an array: got {value!r}")


def function(name: str, module: str, run: Callable[[Call, list[Any]], Any], of: str) -> Callable[..., Any]:
    """A loss as a function of another framework's arrays, with the loss's signature."""
    loss = BRIDGED[name]

    def made(*args: Any, **kwargs: Any) -> Any:
        return run(*split(name, args, kwargs))

    made.__name__ = made.__qualname__ = name
    made.__module__ = module
    made.__signature__ = inspect.signature(loss)  # type: ignore[attr-defined]
    by = ", ".join(f"`{each}`" for each in loss.predictions)
    made.__doc__ = f"As :func:`fastloss.{name}`, of {of}; differentiable by {by}."
    return made
