"""CTC: the loss of sequences whose targets are not aligned with their steps."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .loss import Declaration, loss
from .sequences import Sequences

__all__ = ["ctc_loss"]


@loss("sequence")
def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: int = 0,
    *,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Declaration:
    r"""Connectionist temporal classification.

    Per sequence of T steps and target t

    .. math:: -\log \sum_{a \in A(t)} \prod_{s=1}^{T} e^{x_{s, a_s}},

    where A(t) are the alignments that become t when repeated classes are merged and blanks taken out, as
    ``torch.nn.functional.ctc_loss``. One pass forward over the steps, and for the gradient one back, in logarithms of
    float64 precision; only the log-probabilities of the target's labels and of the blank enter the value. A target that
    cannot be aligned, being too long or masked with -inf, costs infinity and has the gradient 0.

    Parameters
    ----------
    log_probs : array_like
        Logarithms of probabilities, floating: ``(T, N, C)``, or ``(T, C)`` of a single sequence.
    targets : array_like
        Class indices of any integer dtype: ``(N, S)``, of which the first `target_lengths` of each row count, or
        ``(sum(target_lengths),)``, one target after the other. ``(S,)`` for a single sequence.
    input_lengths : array_like
        Steps of each sequence that count, ``(N,)``; for a single sequence a number will do.
    target_lengths : array_like
        Labels of each target, likewise. A target may be empty.
    blank : int
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}
        "mean" divides each loss by the length of its target, an empty one's by 1, and takes the mean of the sequences.
        The result is a Python float accumulated in float64; with "none", an array of one per sequence.
    zero_infinity : bool
        Whether a target that cannot be aligned costs 0 instead of infinity.

    Returns
    -------
    float or ndarray

    Raises
    ------
    ValueError
        If a shape, a length or `blank` does not fit; the message names it.
    IndexError
        If a label is out of range; the message names the first.
    TypeError
        If a dtype is not supported.

    See Also
    --------
    torch.nn.functional.ctc_loss
    optax.losses.ctc_loss : from logits, with paddings instead of lengths

    Notes
    -----
    The gradient is torch's: :math:`e^{x_{s,k}} - \gamma_{s,k}`, with :math:`\gamma_{s,k}` the share of the alignments
    that are in class k at step s. That is the gradient by logits of which `log_probs` is the log-softmax, and handed on
    through a log-softmax it stays the same; the derivative by `log_probs` alone is :math:`-\gamma_{s,k}`. Steps past a
    sequence's length have the gradient 0. A NaN (or infinity) among the log-probabilities of the target's labels and
    the blank makes the sequence's value and gradient NaN.

    References
    ----------
    A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification", ICML 2006.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> log_probs = np.log(np.full((3, 1, 4), 0.25))
    >>> round(fl.ctc_loss(log_probs, [[1]], [3], [1], reduction="sum"), 6)  # 6 alignments of 3 steps
    2.367124
    >>> fl.ctc_loss(log_probs, [[1, 1]], [2], [2])  # needs a blank between
    inf
    """
    return Sequences(
        "ctc_loss",
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank=blank,
        reduction=reduction,
        zero_infinity=zero_infinity,
    )
