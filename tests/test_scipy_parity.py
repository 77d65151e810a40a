"""The same numbers as scipy.special, where it has the function."""

from __future__ import annotations

import numpy as np
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastloss as fl

special = peer("scipy.special")
LOGITS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=40),
    elements=st.floats(-300, 300) | st.just(-np.inf),
)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


@settings(deadline=None)
@given(x=LOGITS, data=st.data())
def test_softmax_family(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    keepdims = data.draw(st.booleans())
    close(fl.logsumexp(x, axis, keepdims), special.logsumexp(x, axis, keepdims=keepdims))
    with np.errstate(all="ignore"):
        close(fl.softmax(x, axis), special.softmax(x, axis))
        close(fl.log_softmax(x, axis), special.log_softmax(x, axis))


@settings(deadline=None)
@given(x=LOGITS)
def test_gradient_of_logsumexp_is_softmax(x):
    masked = np.isneginf(x).all(-1, keepdims=True)
    with np.errstate(all="ignore"):
        close(fl.logsumexp.value_and_grad(x)[1], np.where(masked, 0, special.softmax(x, -1)))


@settings(deadline=None)
@given(x=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.floats(0, 1)))
def test_entropy_of_probabilities(x):
    close(fl.entropy(x, from_logits=False), special.entr(x).sum(-1))


@settings(deadline=None)
@given(x=hnp.arrays(np.float64, 20, elements=st.floats(-800, 800)))
def test_binary_cross_entropy_is_log_expit(x):
    close(fl.binary_cross_entropy_with_logits(x, np.ones(20), reduction="none"), -special.log_expit(x))
    close(
        fl.binary_cross_entropy_with_logits.value_and_grad(x, np.zeros(20), reduction="sum")[1],
        special.expit(x),
    )
