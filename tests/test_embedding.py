"""Losses over a batch of embeddings: what is left out, stretches, memory, near rows, NaN, and what is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from cases import CASES
from helpers import assert_same, everything
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss import embedding
from fastloss.loss import LOSSES

EMBEDDING = [name for name, loss in LOSSES.items() if loss.family == "embedding"]
LABELLED = [name for name in EMBEDDING if "labels" in CASES[name].operands]
TRIPLETS = [name for name in LABELLED if "triplet" in name]
SIDED = ["info_nce_loss", "clip_loss", "siglip_loss"]
REDUCTIONS = ["none", "sum", "mean"]
MB = 2**20


def drawn(name, shape=(40, 7), variant=0, dtype_name="float32"):
    return CASES[name].draw(CASES[name].variants[variant], np.random.default_rng(5), shape, dtype_name)


def batch(count, width=6, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(dtype)


def grads_of(answer):
    return answer[1] if isinstance(answer[1], tuple) else (answer[1],)


def assert_near(got, want, tolerance):
    """Within a part of the largest number."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.max(np.abs(want), initial=1e-30))


# --- stretches and memory


@pytest.mark.parametrize("name", EMBEDDING)
def test_stretches_make_no_difference(name, monkeypatch):
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, (150, 9), variant, "float64")
        whole = everything(name, **arguments)
        monkeypatch.setattr(embedding, "BUFFER", 1 << 10)
        assert len(list(embedding.stretches(150, 150))) > 4
        parts = everything(name, **arguments)
        monkeypatch.undo()
        for got, want in zip(flat(parts), flat(whole), strict=True):
            assert_near(got, want, 1e-12)


def flat(answer):
    return [one for each in answer for one in flat(each)] if isinstance(answer, tuple) else [answer]


@pytest.mark.parametrize("name", [name for name in EMBEDDING if name not in ("cdist", "pdist")])
def test_memory_grows_with_the_batch_and_not_with_its_square(name):
    peaks = []
    for count in (1024, 4096):
        arguments = drawn(name, (count, 16))
        if "labels" in arguments:
            arguments["labels"] = np.arange(count) // 4
        LOSSES[name].value_and_grad(**{key: item[:64] if np.ndim(item) else item for key, item in arguments.items()})
        tracemalloc.start()
        try:
            LOSSES[name].value_and_grad(**arguments)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert max(peaks) < 64 * MB  # of 64 MB for one matrix of all pairs, and twice that with its slopes
    assert peaks[1] < 5 * peaks[0]


# --- labels


@pytest.mark.parametrize("name", LABELLED)
def test_labels_of_any_kind(name):
    x, labels = batch(12), np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0])
    expected = LOSSES[name].value_and_grad(x, labels)
    for kind in ("?", *np.typecodes["AllInteger"], ">i2"):
        assert_same(LOSSES[name].value_and_grad(x, labels.astype(kind)), expected)
    assert_same(LOSSES[name].value_and_grad(x, labels.tolist()), expected)
    assert_same(LOSSES[name].value_and_grad(x, (labels * 2**62).astype(np.uint64)), expected)


@pytest.mark.parametrize("name", LABELLED)
def test_a_number_of_views_stands_for_labels(name):
    x = batch(12)
    assert_same(LOSSES[name].value_and_grad(x, 2), LOSSES[name].value_and_grad(x, np.tile(np.arange(6), 2)))
    assert_same(LOSSES[name].value_and_grad(x, np.int8(3)), LOSSES[name].value_and_grad(x, np.tile(np.arange(4), 3)))
    for views in (0, -2, 5):
        with pytest.raises(ValueError, match=rf"{name}: labels.*12 embeddings.*{views}"):
            LOSSES[name](x, views)


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nothing_to_compare_is_no_loss(name, reduction):
    """Where no anchor has what its loss takes, the loss and its gradient are 0."""
    alone, alike = np.arange(9), np.zeros(9, int)
    labels = (
        [alone] if name in ("nt_xent_loss", "supcon_loss") else [] if name == "contrastive_loss" else [alone, alike]
    )
    for each in labels:
        value, grad = LOSSES[name].value_and_grad(batch(9), each, reduction=reduction)
        np.testing.assert_array_equal(value, np.zeros(9) if reduction == "none" else 0.0)
        np.testing.assert_array_equal(grad, np.zeros((9, 6)))
    value, grad = LOSSES[name].value_and_grad(np.zeros((0, 6)), [], reduction=reduction)
    assert np.size(value) == 0 or value == 0.0
    assert grad.shape == (0, 6)


@pytest.mark.parametrize("name", ["batch_hard_triplet_loss", "circle_loss"])
def test_anchors_without_pairs_are_left_out_of_the_mean(name):
    x, labels = batch(9), np.array([0, 0, 0, 1, 1, 2, 3, 4, 5])
    each = LOSSES[name](x, labels, reduction="none")
    assert not each[5:].any()
    assert LOSSES[name](x, labels) == pytest.approx(each[:5].mean())


@pytest.mark.parametrize("name", TRIPLETS)
def test_triplets_by_hand(name):
    """Distances 1, 2 and 3 on a line."""
    x, labels = np.array([[0.0], [1.0], [3.0]]), [0, 0, 1]
    value, grad = LOSSES[name].value_and_grad(x, labels, margin=2.5, reduction="none")
    np.testing.assert_allclose(value, [1 + 2.5 - 3, 1 + 2.5 - 2, 0])
    np.testing.assert_allclose(grad, [[-1 - 1 + 1], [1 + 1 + 1], [-1 - 1]])


# --- equal and near rows


@pytest.mark.parametrize("name", EMBEDDING)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30])
def test_equal_rows_have_finite_gradients(name, value):
    for variant in range(len(CASES[name].variants)):
        arguments = drawn(name, (8, 5), variant, "float64")
        for key in LOSSES[name].predictions:
            if np.ndim(arguments[key]) > 1:
                arguments[key] = np.full_like(arguments[key], value)
        answer = LOSSES[name].value_and_grad(**arguments)
        assert np.isfinite(answer[0]).all()
        assert all(np.isfinite(grad).all() for grad in grads_of(answer))


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 1e-4, 0.0])
def test_near_rows_lose_nothing(apart):
    rng = np.random.default_rng(0)
    x = (10 + rng.normal(size=(50, 40))).astype(np.float32)
    y = (x[::-1] + apart * rng.normal(size=x.shape)).astype(np.float32)
    got, want = fl.cdist(x, y), fl.cdist.reference(x, y)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    assert not fl.cdist(x, x).diagonal().any()
    both = np.concatenate([x, y])
    np.testing.assert_allclose(fl.pdist(both), fl.pdist.reference(both), rtol=2e-6)
    labels = np.tile(np.arange(50), 2)
    for metric in ("euclidean", "squared", "cosine"):
        loss = fl.batch_all_triplet_loss(both, labels, metric=metric)
        assert loss == pytest.approx(fl.batch_all_triplet_loss.reference(both, labels, metric=metric), rel=1e-5)


@pytest.mark.parametrize("name", ["nt_xent_loss", "supcon_loss", "circle_loss", "info_nce_loss"])
def test_a_row_of_zeros_is_like_none(name):
    arguments = drawn(name, (8, 5), dtype_name="float64")
    first = LOSSES[name].predictions[0]
    arguments[first][2] = 0
    answer = LOSSES[name].value_and_grad(**arguments)
    assert np.isfinite(answer[0])
    assert not grads_of(answer)[0][2].any()
    assert all(np.isfinite(grad).all() for grad in grads_of(answer))


# --- NaN and infinity


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", LABELLED)
def test_one_bad_number_shows(name, bad):
    arguments = drawn(name, (12, 5))
    arguments["embeddings"][3, 1] = bad
    for reduction in REDUCTIONS:
        value, grad = LOSSES[name].value_and_grad(**arguments, reduction=reduction)
        assert np.isnan(value).all()
        assert np.isnan(grad).all()


@pytest.mark.parametrize("name", SIDED)
def test_a_nan_among_rows_is_in_their_losses(name):
    arguments = drawn(name, (12, 5))
    first, second = LOSSES[name].predictions[:2]
    arguments[first][3] = np.nan
    value = LOSSES[name](**arguments, reduction="none")
    assert np.isnan(value[3])
    assert np.isfinite(np.delete(value, 3)).all() == (name != "clip_loss")
    arguments = drawn(name, (12, 5))
    arguments[second][3] = np.nan
    assert np.isnan(LOSSES[name](**arguments, reduction="none")).all()


# --- forms of one loss


def test_info_nce_without_negatives():
    q, p = batch(20), batch(20, seed=1)
    none = np.zeros((20, 0, 6))
    for options in ({}, {"symmetric": True}, {"similarity": "dot"}):
        value, (by_q, by_p) = fl.info_nce_loss.value_and_grad(q, p, **options)
        want, (want_q, want_p, _) = fl.info_nce_loss.value_and_grad(q, p, none, **options)
        assert_same((value, by_q, by_p), (want, want_q, want_p))


def test_info_nce_symmetric_is_the_mean_of_both_ways():
    q, p = batch(20), batch(20, seed=1)
    value, (by_q, by_p) = fl.info_nce_loss.value_and_grad(q, p, symmetric=True)
    there, (there_q, there_p) = fl.info_nce_loss.value_and_grad(q, p)
    back, (back_p, back_q) = fl.info_nce_loss.value_and_grad(p, q)
    assert value == pytest.approx((there + back) / 2, rel=1e-13)
    assert_near(by_q, (there_q + back_q) / 2, 1e-12)
    assert_near(by_p, (there_p + back_p) / 2, 1e-12)


def test_info_nce_of_own_candidates_is_cross_entropy():
    q, p, n = batch(20), batch(20, seed=1), np.random.default_rng(2).normal(size=(20, 3, 6))
    logits = np.einsum("nkd,nd->nk", np.concatenate([p[:, None], n], axis=1), q) / 0.7
    value = fl.info_nce_loss(q, p, n, 0.7, "dot", in_batch=False)
    assert value == pytest.approx(fl.cross_entropy(logits, np.zeros(20, int)), rel=1e-13)


def test_clip_is_info_nce_both_ways():
    q, p = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (batch(20), batch(20, seed=1)))
    assert fl.clip_loss(q, p, 14.0) == pytest.approx(fl.info_nce_loss(q, p, None, 1 / 14, symmetric=True), rel=1e-12)


def test_confident_pairs_keep_their_loss():
    """Losses far below what is lost of a log-sum-exp."""
    x = 6 * np.eye(5, dtype=np.float32)
    for loss, arguments in ((fl.clip_loss, (x, x, 0.5)), (fl.info_nce_loss, (x, x, None, 0.05))):
        want, grads = loss.reference.value_and_grad(*arguments)
        value, got = loss.value_and_grad(*arguments)
        assert 0 < value == pytest.approx(want, rel=1e-5)
        assert_near(got[0], grads[0], 1e-4)


# --- generated


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_batch(data):
    name = data.draw(st.sampled_from(LABELLED))
    count, width = data.draw(st.integers(0, 30)), data.draw(st.integers(2, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, data.draw(st.integers(1, 12)), count)
    x = rng.normal(size=(count, width))
    value, grad = LOSSES[name].value_and_grad(x, labels)
    want, expected = LOSSES[name].reference.value_and_grad(x, labels)
    assert value == pytest.approx(want, rel=1e-11, abs=1e-300)
    assert_near(grad, expected, 1e-9)
    got32, grad32 = LOSSES[name].value_and_grad(x.astype(np.float32), labels)
    assert got32 == pytest.approx(LOSSES[name].reference(x.astype(np.float32), labels), rel=1e-5, abs=1e-30)
    assert grad32.dtype == np.float32


# --- what is refused

X = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fl.nt_xent_loss(np.zeros(3), [0]), ValueError, "nt_xent_loss: embeddings must be (embeddings, width)"),
        (lambda: fl.nt_xent_loss(np.zeros((3, 0)), [0] * 3), ValueError, "embeddings has no numbers in a row"),
        (lambda: fl.nt_xent_loss(X, [0, 1, 2]), ValueError, "labels must have shape (4,), one per embedding, has (3,)"),
        (lambda: fl.nt_xent_loss(X, np.zeros(4)), TypeError, "labels must hold class indices of an integer dtype"),
        (lambda: fl.nt_xent_loss(X.astype(int), [0] * 4), TypeError, "embeddings must be float16"),
        (lambda: fl.nt_xent_loss(X, [0] * 4, 0.0), ValueError, "temperature must be in [1e-18, 1e+18], got 0.0"),
        (lambda: fl.nt_xent_loss(X, [0] * 4, -1), ValueError, "temperature must be in [1e-18, 1e+18], got -1"),
        (lambda: fl.supcon_loss(X, [0] * 4, np.nan), ValueError, "temperature must be in [1e-18, 1e+18], got nan"),
        (lambda: fl.supcon_loss(X, [0] * 4, "1"), TypeError, "temperature must be a number, got '1'"),
        (lambda: fl.supcon_loss(X, [0] * 4, reduction="max"), ValueError, "reduction must be one of"),
        (lambda: fl.batch_hard_triplet_loss(X, [0] * 4, metric="l1"), ValueError, 'metric must be one of "euclidean"'),
        (lambda: fl.batch_all_triplet_loss(X, [0] * 4, None), TypeError, "margin must be a number, got None"),
        (lambda: fl.contrastive_loss(X, [0] * 4, "a"), TypeError, "pos_margin must be a number"),
        (lambda: fl.circle_loss(X, [0] * 4, gamma=None), TypeError, "gamma must be a number"),
        (lambda: fl.info_nce_loss(X, np.zeros((4, 2))), ValueError, "positive must have rows of 3 numbers as query"),
        (lambda: fl.info_nce_loss(X, np.zeros((5, 3))), ValueError, "positive must have 4 rows as query, has"),
        (lambda: fl.info_nce_loss(X, X, X), ValueError, "negatives must be (queries, of each, width)"),
        (lambda: fl.info_nce_loss(X, X, np.zeros((3, 1, 3))), ValueError, "negatives must have 4 rows as query"),
        (lambda: fl.info_nce_loss(X, X, similarity="l2"), ValueError, 'similarity must be "cosine" or "dot"'),
        (lambda: fl.info_nce_loss(X, X, in_batch=False), ValueError, "it cannot be without negatives"),
        (lambda: fl.info_nce_loss(X, X, X[:, None], in_batch=False, symmetric=True), ValueError, "cannot be symmetric"),
        (lambda: fl.clip_loss(X, X, [1.0, 2.0]), ValueError, "scale must be one number, has shape (2,)"),
        (lambda: fl.siglip_loss(X, X, 1.0, X), ValueError, "bias must be one number, has shape (4, 3)"),
        (lambda: fl.clip_loss(X, X[:, :2], 1.0), ValueError, "text must have rows of 3 numbers as image"),
        (lambda: fl.cdist(X, np.zeros((4, 2))), ValueError, "x2 must have rows of 3 numbers as x1"),
        (lambda: fl.cdist(X[0], X), ValueError, "x1 must be rows of at least one number, has shape (3,)"),
        (lambda: fl.cdist(X, X, -1), ValueError, "p must not be negative, got -1"),
        (lambda: fl.cdist(X[None][[0, 0]], X[None][[0, 0, 0]]), ValueError, "does not broadcast: x1 (2,), x2 (3,)"),
        (lambda: fl.pdist(X[0]), ValueError, "input must be (embeddings, width), has shape (3,)"),
        (lambda: fl.pdist.value_and_grad(X, grad_output=X), ValueError, "grad_output must have the shape of the value"),
    ],
)  # fmt: skip
def test_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
