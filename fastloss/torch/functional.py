"""The functions: torch's signatures, what is left to torch, and how the others are called."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from .autograd import Differentiable, compute, operator, own
from .table import AUTOCAST, DTYPES, TABLE, Bridge

__all__ = ["FUNCTIONS", "patch"]

_TORCHS = ("size_average", "reduce", "distance_function")
"""Arguments with which a function is torch's own, unless they are None."""

_TYPES = {"bool": (bool,), "int": (int,), "float": (float, int)}
"""Of options: others are torch's to take or to refuse."""

_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", bool)
"""What is exported is to run without fastloss."""


class Arguments:
    """What a function of torch takes: names, order and defaults."""

    def __init__(self, name: str, bridge: Bridge) -> None:
        if bridge.defaults is None:
            found = inspect.signature(own[name]).parameters.values()
            self.positional = tuple([each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD])
            self.names = tuple([each.name for each in found])
            self.defaults = {each.name: each.default for each in found if each.default is not each.empty}
        else:
            self.positional = self.names = (*bridge.tensors, *bridge.defaults)
            self.defaults = dict(bridge.defaults)
        self.torchs = tuple([each for each in _TORCHS if each in self.names])

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """All arguments by name; None where it is torch's to take them, or to refuse them."""
        if len(args) > len(self.positional):
            return None
        given = dict(zip(self.positional, args, strict=False))
        for name in kwargs:
            if name in given or name not in self.names:
                return None
        found = {**self.defaults, **given, **kwargs}
        for name in self.torchs:
            if found[name] is not None:
                return None
        return found if len(found) == len(self.names) else None


def _watched() -> bool:
    """Whether something transforms or observes what is computed: functorch, forward mode, modes, tracing, export."""
    if torch.compiler.is_compiling():
        return _exporting() or torch._C._functorch.maybe_current_level() is not None
    return bool(
        torch._C._functorch.peek_interpreter_stack() is not None
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
        or torch._C._is_torch_function_mode_enabled()
        or torch._C._get_tracing_state() is not None
    )


def _plain(tensor: Any) -> bool:
    """Whether this is a dense tensor in memory, and nothing more."""
    return (
        (type(tensor) is torch.Tensor or type(tensor) is torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
    )


def _tensors(bridge: Bridge, found: dict[str, Any], cast: bool) -> tuple[Any, ...] | None:
    """The tensors, where fastloss takes them as they are; with `cast`, as autocast has them."""
    made: list[Any] = []
    for name, kind in bridge.tensors.items():
        each: Any = found.get(name)
        if each is None and kind in ("weight", "bias"):
            made.append(None)
            continue
        if kind == "count" and isinstance(each, (tuple, list)):
            each = torch.tensor(each, dtype=torch.int64)
        if not _plain(each):
            return None
        if cast and each.dtype in (torch.bfloat16, torch.float16):
            each = each.float()
        if not DTYPES[kind](each.dtype, made[0].dtype if made else None):
            return None
        made.append(each)
    return tuple(made)


def _call(name: str, bridge: Bridge, found: dict[str, Any]) -> Any:
    """The loss, or None where it is torch's to compute it."""
    reduction = found["reduction"] if bridge.reductions else "none"
    if bridge.reductions and reduction not in bridge.reductions:
        return None
    cast = torch.is_autocast_enabled("cpu")
    if _watched() or (cast and name not in AUTOCAST):
        return None
    tensors = _tensors(bridge, found, cast)
    if tensors is None or (cast and tensors[0].dtype is not torch.float32):
        return None
    options = tuple([bridge.nones.get(each) if found[each] is None else found[each] for each in bridge.options])
    for kind, option in zip(bridge.options.values(), options, strict=True):
        if type(option) not in _TYPES[kind]:
            return None
    if not bridge.fits(tensors, options, reduction):
        return None
    needed = False
    if torch.is_grad_enabled():
        predictions = bridge.predictions
        for i, each in enumerate(tensors):
            if each is not None and each.requires_grad:
                if i not in predictions or reduction not in bridge.grad:
                    return None
                needed = True
    if torch.compiler.is_compiling():
        return operator[name](*tensors, *options, reduction, needed)[0] if reduction in bridge.grad else None
    if needed:
        apply: Callable[..., Any] = Differentiable.apply
        return apply(name, options, reduction, *tensors)
    return compute(bridge, tensors, options, reduction, False)[0]


def _made(name: str, bridge: Bridge) -> Callable[..., Any]:
    arguments, theirs = Arguments(name, bridge), own[name]

    @functools.wraps(theirs)
    def function(*args: Any, **kwargs: Any) -> Any:
        found = arguments.bind(args, kwargs)
        if found is not None:
            try:
                value = _call(name, bridge, found)
            except (ValueError, TypeError, IndexError, RuntimeError):
                value = None  # it is refused, and torch says how
            if value is not None:
                return value
        return theirs(*args, **kwargs)

    function.__module__, function.__qualname__ = "fastloss.torch", name
    function.__doc__ = f"As ``torch.nn.functional.{name}``; computed by :func:`fastloss.{bridge.loss}`."
    return function


FUNCTIONS = {name: _made(name, bridge) for name, bridge in TABLE.items()}
"""The functions by their names."""


class patch(contextlib.ContextDecorator):
    """In a block, or in the function it decorates, torch.nn.functional's losses are fastloss's, for all threads.

    Examples
    --------
    >>> import torch, fastloss.torch
    >>> with fastloss.torch.patch():
    ...     torch.nn.functional.mse_loss is fastloss.torch.mse_loss
    True
    """

    _lock = threading.Lock()
    _depth = 0
    _replaced: dict[str, Any]

    def __enter__(self) -> patch:
        with patch._lock:
            patch._depth += 1
            if patch._depth == 1:
                patch._replaced = {name: getattr(torch.nn.functional, name) for name in FUNCTIONS}
                for name, function in FUNCTIONS.items():
                    setattr(torch.nn.functional, name, function)
        return self

    def __exit__(self, *_: object) -> None:
        with patch._lock:
            patch._depth -= 1
            if patch._depth == 0:
                for name, function in patch._replaced.items():
                    setattr(torch.nn.functional, name, function)
