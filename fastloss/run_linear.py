"""How a declared loss of logits that are a matrix product is run: a tile of rows x classes of them at a time.

A product (products.py) writes the logits of a tile into a buffer, where the rowwise kernel takes them in, and turns
them into their gradient when that is wanted; further products make of it the gradients of what the logits came from.
Rows that the buffer holds whole pass through it once. Others come in pieces: all of them are scanned, and their logits
made again for the gradient. Tiles are few and large, since products want many rows, and since the threads of BLAS and
those of the kernels wait for each other at every turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _core, arrays
from .arrays import Array
from .exactsum import ExactSum
from .loss import bad_reduction
from .products import Products, States, Tile, fitting, is_plain, parts, share
from .run import _REAL, _REDUCTIONS, _over
from .threads import wanted

__all__ = ["LinearCrossEntropy"]

BUFFER = 44 << 20  # bytes of logits; half of them where something has to be copied
TALL = 1024  # rows of a tile that products want
SHORT = 192  # fewer than these at a time, and it is better to make logits twice than to hold rows whole
MOST = 8192  # rows of a tile
LEAST = 128  # rows of a tile, even of so many features that their copy takes more room than arrays should


class LinearCrossEntropy:
    """Cross entropy of ``hidden @ weight.T + bias``.

    Parameters
    ----------
    loss : str
        The loss's name, for errors.
    hidden, weight, target, bias, class_weight : array_like
        As of the loss.
    ignore_index : int
        A label whose rows count for nothing: they are not looked at.
    reduction : {"none", "mean", "sum"}
    label_smoothing, z_loss, softcap : float
        The kernel's parameters.
    """

    __slots__ = (
        "bias", "buffer", "class_weight", "classes", "code", "denominator", "double", "each", "hidden", "known",
        "labels", "loss", "named", "params", "products", "real", "reduction", "softcap", "states", "total", "weight",
        "weight_sum", "wide",
    )  # fmt: skip

    def __init__(
        self,
        loss: str,
        hidden: Any,
        weight: Any,
        target: Any,
        bias: Any,
        class_weight: Any,
        *,
        ignore_index: int,
        reduction: str,
        label_smoothing: float,
        z_loss: float,
        softcap: float,
    ) -> None:
        if type(reduction) is not str or reduction not in _REDUCTIONS:
            bad_reduction(loss, reduction, _REDUCTIONS)
        self.loss, self.reduction, self.code = loss, reduction, _core.ROWWISE["cross_entropy"]
        self.params, self.softcap = (label_smoothing, z_loss), softcap
        self.hidden = arrays.floating(hidden, loss, "hidden")
        self.weight = arrays.floating(weight, loss, "weight")
        self.bias = None if bias is None else arrays.floating(bias, loss, "bias")
        self.named = [("hidden", self.hidden), ("weight", self.weight)]
        if self.bias is not None:
            self.named.append(("bias", self.bias))
        self.double = any(arrays.is_double(found) for _, found in self.named)
        self.real = _REAL[self.double]
        self.products = Products(self.real)
        self._check_shapes()
        self.classes = len(self.weight)
        self.class_weight, self.weight_sum = None, float(self.classes)
        if class_weight is not None:
            self.class_weight = arrays.class_weight(class_weight, self.classes, self.double, loss, "class_weight")
            self.weight_sum = float(np.sum(self.class_weight, dtype=np.float64))
        self._take_labels(target, arrays.whole_number(ignore_index, loss, "ignore_index"))

    def _check_shapes(self) -> None:
        hidden, weight = self.hidden.shape, self.weight.shape
        if not hidden:
            raise ValueError(f"{self.loss}: hidden must have an axis of features, has shape ()")
        if len(weight) != 2:
            raise ValueError(f"{self.loss}: weight must have shape (classes, features), has {weight}")
        if weight[0] == 0:
            raise ValueError(f"{self.loss}: weight has no classes (shape {weight})")
        if hidden[-1] != weight[1]:
            hint = "; pass weight.T if it is (features, classes)" if hidden[-1] == weight[0] else ""
            raise ValueError(
                f"{self.loss}: weight must have shape (classes, {hidden[-1]}) for hidden of shape {hidden}, "
                f"has {weight}{hint}"
            )
        if self.bias is not None and self.bias.shape != weight[:1]:
            raise ValueError(f"{self.loss}: bias must have shape ({weight[0]},), one per class, has {self.bias.shape}")

    def _take_labels(self, target: Any, ignore_index: int) -> None:
        """Check all labels; see which rows count, and what "mean" divides by."""
        found, lead = arrays.labels(target, self.loss, "target"), self.hidden.shape[:-1]
        if found.shape != lead:
            raise ValueError(
                f"{self.loss}: target must have shape {lead} for hidden of shape {self.hidden.shape}, has {found.shape}"
            )
        _, self.denominator, bad = _core.rowwise(
            -1, self.double, self._imagined(lead), len(lead), found, None, None, self.class_weight, 0.0, ignore_index,
            (), 0.0, 1.0, False, None, None, None, None, wanted(),
        )  # fmt: skip
        if bad >= 0:
            raise arrays.bad_label(found, bad, self.classes, self.loss, "target")
        self.labels = found.reshape(-1)
        counted = np.flatnonzero(self.labels != ignore_index)
        self.states = States(self.hidden, None if counted.size == self.labels.size else counted)

    def _imagined(self, lead: tuple[int, ...]) -> Array:
        """Logits that nobody looks at, for their shape."""
        return np.broadcast_to(np.zeros((), self.real), (*lead, self.classes))

    # --- a call's run

    def _start(self, short: int, plain: bool, all_rows: bool = False) -> int:
        """Choose the shape of tiles, whole rows where the buffer holds at least `short`, and make room; the height.

        Where rows of features have to be copied they are no more than there is room for. With `all_rows` rows come in
        pieces, and what is known is kept of all.
        """
        dtype, rows = self.products.dtype, max(self.states.count, 1)
        item = dtype.itemsize
        size = BUFFER if plain and is_plain(self.weight, dtype) else BUFFER // 2
        most = min(rows, MOST if plain else max(fitting(self.hidden.shape[-1], dtype), LEAST))
        whole = size // (self.classes * item)
        if whole >= min(short, most) and not all_rows:
            height, self.wide = share(rows, min(most, whole)), self.classes
        else:
            height = share(rows, min(most, TALL))
            self.wide = min(share(self.classes, size // (height * item), _core.BLOCK), self.classes)
        self.buffer = np.empty(height * self.wide, dtype)
        in_pieces = all_rows or self.wide < self.classes
        self.known = np.empty((rows if all_rows else height, _core.CARRY)) if in_pieces else None
        self.each = np.zeros(self.hidden.shape[:-1], self.real) if self.reduction == "none" else None
        self.total = ExactSum()
        return height

    def _logits(self, hidden: Array, classes: slice) -> Array:
        """The logits of a tile, in the buffer."""
        size = classes.stop - classes.start
        tile: Array = self.buffer[: len(hidden) * size].reshape(len(hidden), size)
        for part, weight in self.products.factors(self.weight[classes]):
            self.products.multiply(hidden, weight.T, tile[:, part])
        if self.bias is not None:
            self.products.add(tile, self.products.factor(self.bias[classes]))
        return tile

    def _kernel(
        self,
        logits: Array,
        labels: Array,
        value: Array | None = None,
        grad: Array | None = None,
        scale: float = 1.0,
        piece: tuple[int, int, int, Array] | None = None,
    ) -> None:
        """Run it on a tile."""
        _core.rowwise(
            self.code, self.double, logits, 1, labels, None, None, self.class_weight, self.weight_sum, None,
            self.params, self.softcap, scale, False, value, grad, None, None, wanted(), piece,
        )  # fmt: skip

    def _known(self, tile: Tile) -> Array:
        """Of the rows of a tile: kept for all rows, or for those of one tile at a time."""
        assert self.known is not None
        return self.known[tile.part] if len(self.known) == self.states.count else self.known

    def _lose(self, tile: Tile, scale: float | None = None) -> Array | None:
        """Take in the losses of a tile's rows; the gradient by their logits if `scale` is given and they are whole."""
        labels = self.labels[tile.rows]
        value, logits = np.empty(len(labels), self.real), None
        if self.known is None:
            logits = self._logits(tile.factor, slice(0, self.classes))
            self._kernel(logits, labels, value, None if scale is None else logits, 1.0 if scale is None else scale)
        else:
            known = self._known(tile)
            for part in parts(self.classes, self.wide):
                found = self._logits(tile.factor, part)
                self._kernel(found, labels, piece=(_core.SCAN, part.start, self.classes, known))
            piece = (_core.VALUE, 0, self.classes, known)
            self._kernel(self._imagined((len(labels),)), labels, value, piece=piece)
        self.total.add(value)
        if self.each is not None:
            self.each.reshape(-1)[tile.rows] = value
        return logits

    def _derive(self, tile: Tile, part: slice, scale: float) -> Array:
        """The gradient by the logits of classes of rows that have been scanned."""
        logits, labels = self._logits(tile.factor, part), self.labels[tile.rows]
        self._kernel(logits, labels, None, logits, scale, (_core.DERIVE, part.start, self.classes, self._known(tile)))
        return logits

    def _gradients(self, tile: Tile, scale: float) -> Iterator[tuple[slice, Array]]:
        """Take in the losses of a tile's rows; the gradient by their logits, classes by classes."""
        whole = self._lose(tile, scale)
        if whole is not None:
            yield slice(0, self.classes), whole
            return
        for part in parts(self.classes, self.wide):
            yield part, self._derive(tile, part, scale)

    def _result(self) -> Any:
        if self.each is not None:
            return self.each
        total = self.total.mean(1)
        return _over(total, self.denominator) if self.reduction == "mean" else total

    # --- what is asked for

    def value(self) -> Any:
        height = self._start(TALL, self.states.is_plain(self.products.dtype))
        for tile in self.states.tiles(height, self.products):
            self._lose(tile)
        return self._result()

    def value_and_grad(self, out: Any = None, grad_output: Any = None) -> tuple[Any, Any]:
        inputs = [*(found for _, found in self.named), self.labels]
        inputs += [] if self.class_weight is None else [self.class_weight]
        dtypes = [found.dtype for _, found in self.named]
        grads, returned, finish = arrays.gradient_outputs(out, self.named, dtypes, inputs, self.loss, in_place=False)
        scale = 1.0
        if self.reduction == "mean":
            scale = 1.0 / self.denominator if self.denominator else math.nan
        self._write(scale, *grads)
        if finish:
            finish()
        return self._result(), tuple(returned)

    def _write(self, scale: float, by_hidden: Array, by_weight: Array, by_bias: Array | None = None) -> None:
        """Write the gradients.

        That by the weights is a sum over the tiles, so a dtype too narrow for sums, if there are several tiles and no
        room beside, gets each of its rows at once when the losses of all rows are known.
        """
        states, products = self.states, self.products
        plain = states.is_plain(products.dtype, by_hidden)
        height, sums, late = self._start(SHORT, plain), by_weight, False
        if height < states.count and by_weight.dtype.itemsize < self.real.itemsize:
            if self.classes <= fitting(by_weight.shape[1], self.real):
                sums = np.empty(by_weight.shape, self.real)
            else:
                height, late = self._start(SHORT, plain, True), True
        if states.count < self.labels.size or not states.count:
            for to in (by_hidden, by_weight):
                arrays.fill(to, np.zeros(()))
        bias_sum = np.zeros(self.classes)
        for tile in states.tiles(height, products):
            first = tile.part.start == 0
            to_hidden = states.view(by_hidden)[tile.rows] if plain else np.empty_like(tile.factor)
            for classes, logits in self._gradients(tile, scale):
                for part, weight in products.factors(self.weight[classes]):
                    products.add_product(to_hidden, logits[:, part], weight, classes.start == part.start == 0)
                if not late:
                    products.add_product(sums[classes], logits.T, tile.factor, first)
                if by_bias is not None:
                    bias_sum[classes] += products.sums(logits)
            if not plain:
                states.put(by_hidden, tile.rows, to_hidden)
        if late:
            self._write_late(by_weight, height, scale)
        elif sums is not by_weight and states.count:
            arrays.fill(by_weight, sums)
        if by_bias is not None:
            arrays.fill(by_bias, bias_sum)

    def _write_late(self, by_weight: Array, height: int, scale: float) -> None:
        """Write the gradient by the weights, some classes after others."""
        step = min(fitting(by_weight.shape[1], self.real), self.wide)
        sums = np.empty((step, by_weight.shape[1]), self.real)
        for part in parts(self.classes, step):
            to = sums[: part.stop - part.start]
            for tile in self.states.tiles(height, self.products):
                logits = self._derive(tile, part, scale)
                self.products.add_product(to, logits.T, tile.factor, tile.part.start == 0)
            arrays.fill(by_weight[part], to)
