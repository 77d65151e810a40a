"""A small language model of bytes: n-grams interpolated over all orders, trained and run in NumPy.

A context is the last k bytes packed into an integer, the latest byte lowest. The probability of byte c,

    P_k(c) = (n_k(c) + t_k P_{k-1}(c)) / (n_k + t_k),        P_{-1}(c) = 1/256,

mixes how often c followed the context in training, n_k(c) of n_k times, with the opinion of the next shorter
context, weighted by t_k, the number of different bytes that followed (Witten and Bell, 1991).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ByteNGram", "windows"]

Ints = NDArray[np.int64]


def windows(text: bytes, width: int) -> Ints:
    """Return for every byte of `text` the `width` bytes that end with it (zeros before the first), packed."""
    padded = np.frombuffer(bytes(width - 1) + text, np.uint8)
    packed = np.zeros(len(text), np.int64)
    for offset in range(width):
        packed = packed << 8 | padded[offset : offset + len(text)]
    return packed


class ByteNGram:
    """Interpolated n-gram model of bytes.

    Parameters
    ----------
    text : bytes
        What it is trained on.
    order : int, default 4
        The number of preceding bytes it looks at, 1 to 7.
    """

    def __init__(self, text: bytes, order: int = 4) -> None:
        self.order = order
        longest = windows(text, order + 1)
        self._levels = [_Level.count(longest & (256 ** (k + 1) - 1)) for k in range(order + 1)]

    def contexts(self, text: bytes) -> Ints:
        """Return the packed context of every byte of `text`."""
        return windows(text, self.order + 1) >> 8

    def log_probs(self, contexts: Ints, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write the log-probabilities of all bytes after every context into `out`, (len(contexts), 256)."""
        distinct, index = np.unique(contexts, return_inverse=True)
        probs = self._probs(distinct, self.order)
        return np.take(np.log(probs, out=probs), index, axis=0, out=out, mode="clip")

    def _probs(self, contexts: Ints, k: int) -> NDArray[np.float32]:
        if k < 0:
            return np.full((len(contexts), 256), 1 / 256, np.float32)
        shorter, index = np.unique(contexts & (256 ** max(k - 1, 0) - 1), return_inverse=True)
        probs = self._probs(shorter, k - 1)[index]
        self._levels[k].mix(contexts, probs)
        return probs


@dataclass
class _Level:
    """The contexts of one length, ascending; what followed context i is at first[i] up to first[i + 1]."""

    contexts: Ints
    first: NDArray[np.intp]
    byte: NDArray[np.intp]
    share: NDArray[np.float32]
    backoff: NDArray[np.float32]

    @classmethod
    def count(cls, ngrams: Ints) -> _Level:
        ngrams = np.sort(ngrams)
        start = _run_starts(ngrams)
        counts = np.diff(start, append=len(ngrams))
        ngrams = ngrams[start]
        first = _run_starts(ngrams >> 8)
        followers = np.diff(first, append=len(ngrams))
        total = np.add.reduceat(counts, first) + followers
        return cls(
            contexts=ngrams[first] >> 8,
            first=np.append(first, len(ngrams)),
            byte=(ngrams & 255).astype(np.intp),
            share=(counts / np.repeat(total, followers)).astype(np.float32),
            backoff=(followers / total).astype(np.float32),
        )

    def mix(self, contexts: Ints, probs: NDArray[np.float32]) -> None:
        """Turn probabilities after the next shorter contexts into those after these (if ever seen)."""
        found = np.searchsorted(self.contexts, contexts).clip(max=len(self.contexts) - 1)
        rows = np.flatnonzero(self.contexts[found] == contexts)
        found = found[rows]
        probs[rows] *= self.backoff[found, np.newaxis]
        widths = self.first[found + 1] - self.first[found]
        ends = np.cumsum(widths)
        entries = np.arange(widths.sum()) + np.repeat(self.first[found] - (ends - widths), widths)
        probs[np.repeat(rows, widths), self.byte[entries]] += self.share[entries]


def _run_starts(ascending: NDArray[Any]) -> NDArray[np.intp]:
    return np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
