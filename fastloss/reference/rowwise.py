"""Rowwise losses by their definitions: one row of classes along ``axis``.

With ``m`` the largest logit of a row and ``r`` the sum of ``exp(x - m)`` over the other classes,
``logsumexp = m + log1p(r)``, ``p = exp(x - m) / (1 + r)`` and ``-log p = (m - x) + log1p(r)``:
no step cancels, so that a confident row keeps its small loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .terms import Array, Terms, as_float64, product, reference


class Score(NamedTuple):
    """What ``score`` returns, one array each, without the class axis."""

    log_prob: Array
    entropy: Array
    rank: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]
    logsumexp: Array


@reference("none")
def logsumexp(input: Any, axis: int = -1, keepdims: bool = False, *, grad_output: Any = None) -> Terms:
    """Logarithm of the sum of exponentials: ``log sum_k exp(x_k)``, gradient ``g p`` (torch, SciPy).

    A row that is all -inf has the value -inf and the gradient 0.
    """
    row = _softmax(_rows(input, axis))
    g = np.ones_like(row.lse)
    if grad_output is not None:
        g = _rows(grad_output, axis) if keepdims else as_float64(grad_output)[..., None]
    grad = np.where(row.lse == -np.inf, 0.0, g * row.p)
    return Terms(_back(row.lse, axis) if keepdims else row.lse[..., 0], (_back(grad, axis),))


@reference("none")
def softmax(input: Any, axis: int = -1, *, grad_output: Any = None) -> Terms:
    """Probabilities: ``p = exp(x - logsumexp)``, gradient ``p_k (g_k - sum_j g_j p_j)`` (torch, SciPy)."""
    row = _softmax(_rows(input, axis))
    g = _upstream(row, grad_output, axis)
    g = g - np.take_along_axis(g, row.top, -1)
    return Terms(_back(row.p, axis), (_back(row.p * (g - _sum(g * row.p)), axis),))


@reference("none")
def log_softmax(input: Any, axis: int = -1, *, grad_output: Any = None) -> Terms:
    """Log-probabilities: ``log p = x - logsumexp``, gradient ``g_k - p_k sum_j g_j`` (torch, SciPy)."""
    row = _softmax(_rows(input, axis))
    g = _upstream(row, grad_output, axis)
    return Terms(_back(-row.nll, axis), (_back(g * row.q - row.p * (_sum(g) - g), axis),))


@reference("mean")
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    axis: int = -1,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Terms:
    """Cross entropy of softmax: ``sum_k a_k (-log p_k) + z logsumexp^2`` (torch; z: PaLM; softcap: Gemma 2).

    ``a_k = w_k [(1 - eps) t_k + eps / C]`` with ``t`` the target's probabilities, one-hot for a class index.
    Gradient ``p_k sum(a) - a_k + 2 z logsumexp p_k``, its Hessian's diagonal
    ``p (1 - p) [sum(a) + 2 z logsumexp] + 2 z p^2``.
    ``softcap`` replaces ``x`` by ``c tanh(x / c)`` everywhere. The mean divides by the sum of the weights of
    the classes that are targets, or by the number of rows where targets are probabilities.
    """
    x, slope, bend = _capped(_rows(input, axis), softcap)
    row = _softmax(x)
    classes = x.shape[-1]
    w = np.ones(classes) if weight is None else as_float64(weight)
    if _is_index(target):
        label, kept = _labels(target, x.shape, ignore_index)
        t, denominator = np.equal(label, np.arange(classes)), float(w[label][kept].sum())
    else:
        t, kept = _rows(target, axis), np.ones((*x.shape[:-1], 1), bool)
        denominator = float(kept.size)
    a = w * ((1 - label_smoothing) * t + label_smoothing / classes)
    total, z = _sum(a), 2 * z_loss
    value = _sum(product(a, row.nll)) + product(z_loss, row.lse**2)
    grad = row.p * (total - a) - a * row.q + z * row.lse * row.p
    hess = row.p * row.q * (total + z * row.lse) + z * row.p**2
    hess, grad = hess * slope**2 + grad * bend, grad * slope
    value, grad, hess = (np.where(kept, array, 0.0) for array in (value, grad, hess))
    return Terms(value[..., 0], (_back(grad, axis),), _back(hess, axis), denominator)


@reference("mean")
def focal_loss(
    input: Any, target: Any, gamma: float = 2.0, weight: Any = None, *, ignore_index: int = -100, axis: int = -1
) -> Terms:
    """Focal loss ``w_t (1 - p_t)^gamma (-log p_t)`` (Lin et al. 2017), with ``L = -log p_t`` and ``m = 1 - p_t``.

    Gradient ``A (p_k - [k = t])`` with ``A = dl/dL = w_t m^gamma (1 + gamma p_t L / m)``, where ``L / m`` is 1 at
    ``m = 0``. The mean divides by the sum of the weights, as that of ``cross_entropy``, which is ``gamma = 0``.
    """
    row = _softmax(_rows(input, axis))
    classes = row.p.shape[-1]
    label, kept = _labels(target, row.p.shape, ignore_index)
    w = np.where(kept, (np.ones(classes) if weight is None else as_float64(weight))[label], 0.0)
    nll, m, p = (np.take_along_axis(each, label, -1) for each in (row.nll, row.q, row.p))
    ratio = np.where(m == 0, 1.0, product(p, nll / m))
    slope = w * m**gamma * (1 + gamma * ratio)
    value, grad = product(w * m**gamma, nll), slope * np.where(label == np.arange(classes), -m, row.p)
    value, grad = np.where(kept, value, 0.0), np.where(kept, grad, 0.0)
    return Terms(value[..., 0], (_back(grad, axis),), None, float(w.sum()))


@reference("mean")
def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, axis: int = -1) -> Terms:
    """Negative log-likelihood of log-probabilities: ``-w_t x_t``, gradient ``-w_t`` at the target (torch)."""
    x = _rows(input, axis)
    label, kept = _labels(target, x.shape, ignore_index)
    w = np.where(kept, (np.ones(x.shape[-1]) if weight is None else as_float64(weight))[label], 0.0)
    value = np.where(kept, product(w, -np.take_along_axis(x, label, -1)), 0.0)
    return Terms(value[..., 0], (_back(-w * (label == np.arange(x.shape[-1])), axis),), None, float(w.sum()))


@reference("none")
def entropy(input: Any, from_logits: bool = True, base: float | None = None, *, axis: int = -1) -> Terms:
    """Shannon's entropy of each row, in nats or to the given base.

    From logits ``log1p(r) + sum_k p_k (m - x_k)``, gradient ``p_k [(m - x_k) - sum_j p_j (m - x_j)]``.
    From probabilities ``-sum_k x_k log x_k`` with ``0 log 0 = 0``, gradient ``-(log x_k + 1)`` and 0 at 0.
    """
    x = _rows(input, axis)
    unit = 1.0 if base is None else np.log(base)
    if from_logits:
        row = _softmax(x)
        spread = product(row.p, row.gap)
        value, grad = row.tail + _sum(spread), spread - row.p * _sum(spread)
    else:
        value, grad = -_sum(product(x, np.log(x))), np.where(x == 0, 0.0, -(np.log(x) + 1))
    return Terms(value[..., 0] / unit, (_back(grad / unit, axis),))


@reference("sum")
def perplexity(
    input: Any, target: Any, ignore_index: int = -100, base: float | None = None, *, axis: int = -1
) -> Terms:
    """Perplexity: ``base ** (mean(-log p_t) / log(base))``; its gradient is itself times the mean's."""
    mean, grad = cross_entropy.value_and_grad(input, target, ignore_index=ignore_index, axis=axis)
    value = np.asarray(np.exp(mean) if base is None else base ** (mean / np.log(base)))
    return Terms(value, (np.where(grad == 0, 0.0, value * grad),))


@reference("none")
def selective_log_softmax(input: Any, target: Any, *, axis: int = -1) -> Terms:
    """Log-probability of the chosen class: ``log p_t``, gradient ``[k = t] - p_k`` (TRL)."""
    row = _softmax(_rows(input, axis))
    label, _ = _labels(target, row.p.shape)
    grad = np.where(label == np.arange(row.p.shape[-1]), row.q, -row.p)
    return Terms(-np.take_along_axis(row.nll, label, -1)[..., 0], (_back(grad, axis),))


@reference("none")
def score(input: Any, target: Any, *, ignore_index: int = -100, axis: int = -1) -> Terms:
    """All that is asked of a row in evaluation: log-probability, entropy, rank, prediction, logsumexp.

    The rank counts the classes that come before the target in descending order of their logits, ties by
    class; the prediction is the class of rank 0. An ignored row has log-probability 0 and rank -1, a row
    with a NaN has rank C and prediction -1.
    """
    x = _rows(input, axis)
    row = _softmax(x)
    label, kept = _labels(target, x.shape, ignore_index)
    chosen = np.take_along_axis(x, label, -1)
    broken = np.isnan(x).any(-1, keepdims=True)
    before = (x > chosen) | (x == chosen) & (np.arange(x.shape[-1]) < label)
    rank = np.where(broken, x.shape[-1], before.sum(-1, keepdims=True))
    fields = Score(
        log_prob=np.where(kept, -np.take_along_axis(row.nll, label, -1), 0.0),
        entropy=row.tail + _sum(product(row.p, row.gap)),
        rank=np.where(kept, rank, -1),
        prediction=np.where(broken, -1, row.top),
        logsumexp=row.lse,
    )
    return Terms(Score._make(field[..., 0] for field in fields))


class _Softmax(NamedTuple):
    """One row's softmax; what has a single number per row keeps the axis with length 1."""

    top: npt.NDArray[np.int64]  # first class of the largest logit m
    gap: Array  # m - x
    tail: Array  # log1p(r): logsumexp - m
    lse: Array
    nll: Array  # -log p
    p: Array
    q: Array  # 1 - p


def _softmax(x: Array) -> _Softmax:
    top = np.argmax(x, axis=-1, keepdims=True)
    largest = np.take_along_axis(x, top, -1)
    gap = largest - x
    e = np.exp(-gap)
    others = e.copy()
    np.put_along_axis(others, top, 0.0, -1)
    # The largest logit's own gap is 0, or NaN where that logit is infinite or NaN: then so is the row.
    rest = _sum(others) + np.take_along_axis(gap, top, -1)
    tail = np.log1p(rest)
    lse = np.where(np.isinf(largest), largest, largest + tail)
    return _Softmax(top, gap, tail, lse, gap + tail, e / (1 + rest), ((1 - e) + rest) / (1 + rest))


def _capped(x: Array, softcap: float | None) -> tuple[Array, Any, Any]:
    """``c tanh(x / c)`` and its first and second derivative."""
    if softcap is None:
        return x, 1.0, 0.0
    t = np.tanh(x / softcap)
    slope = (1 / np.cosh(x / softcap)) ** 2
    return softcap * t, slope, -2 * t * slope / softcap


def _rows(input: Any, axis: int) -> Array:
    """A float64 copy with the class axis last."""
    x = np.moveaxis(as_float64(input), axis, -1)
    if x.shape[-1] == 0:
        raise ValueError(f"input has no classes: shape {np.shape(input)}, axis {axis}")
    return np.ascontiguousarray(x)


def _back(rows: Array, axis: int) -> Array:
    return np.moveaxis(rows, -1, axis)


def _sum(rows: Array) -> Array:
    return np.asarray(rows.sum(axis=-1, keepdims=True))


def _upstream(row: _Softmax, grad_output: Any, axis: int) -> Array:
    return np.ones_like(row.p) if grad_output is None else _rows(grad_output, axis)


def _is_index(target: Any) -> bool:
    return np.asarray(target).dtype.kind in "biu"


def _labels(
    target: Any, shape: tuple[int, ...], ignore_index: int | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Class indices with a last axis of length 1, and which of them count; an ignored one reads class 0."""
    target = np.asarray(target)
    if target.shape != shape[:-1]:
        raise ValueError(f"target has shape {target.shape}, expected {shape[:-1]}")
    kept = np.ones(target.shape, bool) if ignore_index is None else np.asarray(target != ignore_index)
    bad = kept & ((target < 0) | (target >= shape[-1]))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise IndexError(f"target{list(first)} is {target[first]}, out of range for {shape[-1]} classes")
    return np.where(kept, target, 0).astype(np.int64)[..., None], kept[..., None]
