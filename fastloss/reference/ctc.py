"""CTC by its definition: forward and backward over the states of the alignments, in logarithms.

These are NumPy's longdouble: the rounding error of a logarithm of -3000 would be 5e-13 of the probability in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .terms import Array, Terms, as_float64, reference

Labels = npt.NDArray[np.int64]


@reference("mean")
def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    *,
    zero_infinity: bool = False,
) -> Terms:
    """Minus the log of the sum over the alignments ``a`` of ``prod_s exp(x_s[a_s])`` (torch).

    Gradient ``exp(x) - share``, with the share that the alignments through a step's class have in the sum: that by the
    logits behind ``x``. A sequence without an alignment has the value infinity, or 0, and the gradient 0. The mean
    divides each value by its target's length, as ``torch.nn.functional.ctc_loss``.
    """
    x, labels = as_float64(log_probs), np.asarray(targets).astype(np.int64)
    batch = x if x.ndim == 3 else x[:, None]
    steps = np.asarray(input_lengths).astype(np.int64).reshape(-1)
    counts = np.asarray(target_lengths).astype(np.int64).reshape(-1)
    first = np.arange(len(counts)) * labels.shape[1] if labels.ndim == 2 else np.cumsum(counts) - counts
    value, grad = np.zeros(len(counts)), np.zeros_like(batch)
    for n, (end, start, count) in enumerate(zip(steps, first, counts, strict=True)):
        rows = batch[:end, n]
        value[n], share = _align(rows, labels.reshape(-1)[start : start + count], blank)
        if value[n] != np.inf:
            grad[:end, n] = np.exp(rows) - share
        elif zero_infinity:
            value[n] = 0.0
    factor = 1 / np.maximum(counts, 1)
    shape = x.shape[1:-1]
    return Terms(value.reshape(shape), (grad.reshape(x.shape),), factor=factor.reshape(shape))


def _align(x: Array, target: Labels, blank: int) -> tuple[float, Array]:
    """Minus the log of the sum over all alignments, and the share of each step's class in it."""
    states = np.full(2 * len(target) + 1, blank)
    states[1::2] = target
    share = np.zeros_like(x)
    if not (x[:, states] < np.inf).all():
        return np.nan, share + np.nan
    if len(x) == 0:
        return (np.inf if len(target) else 0.0), share
    x = x.astype(np.longdouble)
    reach, go_on = _reach(x, states), _reach(x[::-1], states[::-1])[::-1, ::-1]
    total = np.logaddexp.reduce((reach + x[:, states])[-1, -2:])
    shares = np.exp(reach + x[:, states] + go_on - total)
    for label in np.unique(states):
        share[:, label] = shares[:, states == label].sum(-1)
    return 0.0 - float(total), share


def _reach(x: npt.NDArray[Any], states: Labels) -> npt.NDArray[Any]:
    """Log of the sum over the ways to each state of each step, without the step's own probability."""
    reach = np.full((len(x), len(states)), -np.inf, x.dtype)
    reach[0, :2] = 0
    skips = np.arange(2, len(states))[(states[2:] != states[:-2]) & (np.arange(2, len(states)) % 2 == 1)]
    for t in range(1, len(x)):
        before = reach[t - 1] + x[t - 1, states]
        reach[t] = before
        reach[t, 1:] = np.logaddexp(reach[t, 1:], before[:-1])
        reach[t, skips] = np.logaddexp(reach[t, skips], before[skips - 2])
    return reach
