"""PyTorch's losses, computed by fastloss: ``import fastloss.torch as F`` in place of ``torch.nn.functional``.

Every function has the name, the arguments, the defaults and the errors of torch's, takes tensors and returns tensors
with gradients. On dense CPU tensors of float32, float64, bfloat16 and float16 fastloss computes the value and its
gradient, in one pass. Whatever else is asked (other devices, second derivatives, gradients of targets, functorch's
transforms, subclasses, arguments that are broadcast or promoted) is torch's own, and so is every other name:
``F.relu`` is torch's.

The modules (``CrossEntropyLoss``, ``BCELoss``, ...) are torch's classes with these functions, and :func:`patch` puts
the functions into torch.nn.functional for a while.

>>> import torch
>>> import fastloss.torch as F
>>> logits = torch.zeros(2, 5, requires_grad=True)
>>> loss = F.cross_entropy(logits, torch.tensor([1, 4]))
>>> loss.backward()
>>> logits.grad[0]
tensor([ 0.1000, -0.4000,  0.1000,  0.1000,  0.1000])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch as _torch

from .functional import FUNCTIONS, patch
from .memory import release
from .modules import MODULES

if TYPE_CHECKING:  # the types are torch's
    from torch.nn import *  # noqa: F403
    from torch.nn.functional import *  # noqa: F403

globals().update(FUNCTIONS)
globals().update(MODULES)

__all__ = ["patch", "release", *FUNCTIONS, *MODULES]


def __getattr__(name: str) -> Any:
    """Every other name is torch.nn.functional's."""
    try:
        return getattr(_torch.nn.functional, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_torch.nn.functional)})
