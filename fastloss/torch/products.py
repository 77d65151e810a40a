"""Products by torch's BLAS, which adds to what is there, and takes bfloat16 where the processor multiplies it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .. import arrays
from ..arrays import Array
from ..products import Products, is_plain
from ..run_linear import LinearCrossEntropy

__all__ = ["TorchProducts", "multiplies_bfloat16", "use_torch"]


def _tensor(array: Array) -> Any:
    """The same memory as a tensor."""
    if array.dtype == arrays.bfloat16():
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class TorchProducts(Products):
    """Who multiplies: torch."""

    __slots__ = ()

    def factor(self, found: Array) -> Array:
        """The same numbers as a factor: where they are, if that is possible."""
        if is_plain(found, self.dtype):
            return found
        return arrays.array(_tensor(found).to(_tensor(np.empty(0, self.dtype)).dtype).contiguous(), "torch", "factor")

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        """Write a product of factors."""
        torch.mm(_tensor(left), _tensor(right), out=_tensor(out))

    def add(self, to: Array, numbers: Array) -> None:
        """Add factors' numbers to an array of any dtype."""
        _tensor(to).add_(_tensor(numbers))

    def sums(self, array: Array) -> Array:
        """The sum of every column."""
        wide = torch.float64 if self.dtype.itemsize == 8 else torch.float32
        found: Array = _tensor(array).sum(0, dtype=wide).numpy()
        return found

    def add_product(self, to: Array, left: Array, right: Array, first: bool) -> None:
        """Add a product to an array, or if it is the first of a sum write it there, rounded to the array's dtype."""
        if first or not is_plain(to, self.dtype):
            super().add_product(to, left, right, first)
        else:
            _tensor(to).addmm_(_tensor(left), _tensor(right))


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it: without, products of float32 are several times as fast."""
    found = [getattr(torch.cpu, f"_is_{each}_supported", bool) for each in ("amx_tile", "avx512_bf16")]
    return any(each() for each in found)


def use_torch(declared: LinearCrossEntropy) -> None:
    """Have torch multiply for a loss that has been declared."""
    narrow = declared.hidden.dtype == declared.weight.dtype == arrays.bfloat16() and multiplies_bfloat16()
    declared.products = TorchProducts(arrays.bfloat16() if narrow else declared.real)
