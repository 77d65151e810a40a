"""The loss decorator: makes a function that carries its derivatives from one that declares a loss.

The decorated function checks its own parameters and returns a :class:`Declaration`: which kernel runs on which
operands. How that is run, with or without derivatives, is the declaration's business (run.py).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, NoReturn, ParamSpec, Protocol, cast, overload

P = ParamSpec("P")

__all__ = ["LOSSES", "Declaration", "Loss", "loss"]


class Declaration(Protocol):
    """A call that has been declared and not yet run."""

    def value(self) -> Any:
        """The loss, reduced as the call says."""

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        """The loss and its gradient by every prediction."""


class TwiceDifferentiable(Declaration, Protocol):
    """A declaration of a loss that has a Hessian."""

    def grad_hess(self, out: Any = None) -> tuple[Any, Any]:
        """Gradient and diagonal Hessian per element, unreduced."""


class Differentiated(Protocol[P]):
    """A function with a loss's parameters, and where to write."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]: ...
    @overload
    def __call__(self, *args: Any, out: Any, **kwargs: Any) -> tuple[Any, Any]: ...


class LazyReference(Generic[P]):
    """The NumPy float64 definition of a loss, imported when first used."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def _found(self) -> Any:
        from . import reference

        return reference.get(self.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The value, in float64."""
        return self._found()(*args, **kwargs)

    def value_and_grad(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """Value and gradient, in float64."""
        return cast("tuple[Any, Any]", self._found().value_and_grad(*args, **kwargs))

    def grad_hess(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """Gradient and diagonal Hessian of the sum, in float64."""
        return cast("tuple[Any, Any]", self._found().grad_hess(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._found(), name)

    def __repr__(self) -> str:
        return f"<reference of {self.__name__}>"


class Loss(Protocol[P]):
    """A loss: called for its value, and carrying its derivatives as a ufunc carries ``reduce``."""

    __name__: str
    name: str
    family: str
    predictions: tuple[str, ...]
    value_and_grad: Differentiated[P]
    grad_hess: Differentiated[P]
    reference: LazyReference[P]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The value."""


LOSSES: dict[str, Loss[...]] = {}
"""Every loss by its name, in the order of definition: what tests, benchmarks and documentation are made from."""

_VALUE_AND_GRAD = """Value and gradient of :func:`{name}` by every prediction, in one pass.

Takes what :func:`{name}` takes, and ``out``: the array (for several predictions the tuple of arrays) to write the
gradient into, of the prediction's shape and dtype; it may be the prediction itself. With ``reduction="none"`` the
gradient is that of the sum.{more}

Returns
-------
value, grad
"""
_GRAD_OUTPUT = """

``grad_output``, of the value's shape, is an upstream gradient: the gradient is that of
``(grad_output * value).sum()``."""
_GRAD_HESS = """Gradient and diagonal Hessian of :func:`{name}` per element, unreduced: what boosting wants.

Takes what :func:`{name}` takes (``reduction`` has no effect), and ``out``: a pair of arrays to write into, of float32
or float64 whatever the input's dtype.

Returns
-------
grad, hess : ndarray
    Of the shape of `input`; unless `out` says otherwise float64 for float64 input, else float32.
"""


def _named(function: Any, of: Callable[..., Any], suffix: str, doc: str, extra: tuple[str, ...]) -> None:
    """Make a method look like what it is to help(), pickle and inspect."""
    function.__module__ = of.__module__
    function.__name__ = suffix
    function.__qualname__ = f"{of.__qualname__}.{suffix}"
    function.__doc__ = doc
    signature = inspect.signature(of)
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in extra]
    function.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), *added], return_annotation=tuple[Any, Any]
    )


def loss(
    family: str,
    *,
    grad: bool = True,
    hess: bool = False,
    grad_output: bool = False,
    predictions: tuple[str, ...] | None = None,
) -> Callable[[Callable[P, Declaration]], Loss[P]]:
    """Make a loss from a declaration, and enter it into :data:`LOSSES`.

    Parameters
    ----------
    family : {"pointwise", "rowwise", "sequence", "linear", "embedding"}
    grad, hess : bool
        Whether it has a gradient, and a Hessian.
    grad_output : bool
        Whether ``value_and_grad`` takes an upstream gradient.
    predictions : tuple of str, optional
        The arguments it is differentiated by; the first alone by default. One that may be left out has no gradient in
        calls that do so.
    """

    def decorate(declare: Callable[P, Declaration]) -> Loss[P]:
        name = declare.__name__

        @functools.wraps(declare)
        def value(*args: Any, **kwargs: Any) -> Any:
            return declare(*args, **kwargs).value()

        def value_and_grad(*args: Any, out: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            return declare(*args, **kwargs).value_and_grad(out)

        def value_and_vjp(*args: Any, grad_output: Any = None, out: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            return declare(*args, **kwargs).value_and_grad(out, grad_output)

        def grad_hess(*args: Any, out: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            return cast(TwiceDifferentiable, declare(*args, **kwargs)).grad_hess(out)

        made: Any = value
        made.name, made.family = name, family
        made.predictions = (predictions or tuple(inspect.signature(declare).parameters)[:1]) if grad else ()
        made.__signature__ = inspect.signature(declare).replace(return_annotation=Any)
        made.__annotations__ = {**declare.__annotations__, "return": "Any"}
        made.reference = LazyReference[P](name)
        if grad:
            made.value_and_grad = value_and_vjp if grad_output else value_and_grad
            extra = ("grad_output", "out") if grad_output else ("out",)
            doc = _VALUE_AND_GRAD.format(name=name, more=_GRAD_OUTPUT if grad_output else "")
            _named(made.value_and_grad, declare, "value_and_grad", doc, extra)
        if hess:
            made.grad_hess = grad_hess
            _named(grad_hess, declare, "grad_hess", _GRAD_HESS.format(name=name), ("out",))
        LOSSES[name] = made
        return cast("Loss[P]", made)

    return decorate


def bad_reduction(name: str, reduction: object, allowed: tuple[str, ...]) -> NoReturn:
    """Refuse a reduction."""
    choices = ", ".join(f'"{one}"' for one in allowed)
    raise ValueError(f"{name}: reduction must be one of {choices}, got {reduction!r}")
