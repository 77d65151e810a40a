"""Losses over a batch of embeddings against pytorch-metric-learning, PyTorch and SciPy, on generated batches."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

torch = peer("torch")
losses = peer("pytorch_metric_learning.losses")
distances = peer("pytorch_metric_learning.distances")
reducers = peer("pytorch_metric_learning.reducers")
F = torch.nn.functional


@st.composite
def batches(draw, least=2):
    count, width = draw(st.integers(least, 24)), draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.normal(size=(count, width)), rng.integers(0, draw(st.integers(1, 8)), count)


def theirs(function, *arrays):
    leaves = [torch.tensor(each, requires_grad=each.dtype.kind == "f") for each in arrays]
    value = function(*leaves)
    if value.requires_grad:
        value.backward()
    return value.item(), [
        np.zeros_like(each) if leaf.grad is None else leaf.grad.numpy()
        for each, leaf in zip(arrays, leaves, strict=True)
        if each.dtype.kind == "f"
    ]


def assert_alike(ours, other, tolerance=1e-9):
    value, grads = ours
    grads = grads if isinstance(grads, tuple) else (grads,)
    assert value == pytest.approx(other[0], rel=tolerance, abs=tolerance)
    for got, want in zip(grads, other[1], strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1e-3, np.abs(want).max(initial=0)))


@settings(deadline=None)
@given(batch=batches(), temperature=st.sampled_from([0.07, 0.5, 2.0]))
def test_nt_xent(batch, temperature):
    # Their float64 form adds the smallest number of a float to each denominator.
    assert_alike(fl.nt_xent_loss.value_and_grad(*batch, temperature), theirs(losses.NTXentLoss(temperature), *batch))


@settings(deadline=None)
@given(batch=batches(), temperature=st.sampled_from([0.1, 1.0]))
def test_supcon(batch, temperature):
    x, labels = batch
    # Without any pair of two labels theirs is 0.
    if len(set(labels)) > 1:
        assert_alike(
            fl.supcon_loss.value_and_grad(x, labels, temperature), theirs(losses.SupConLoss(temperature), *batch)
        )


@settings(deadline=None)
@given(batch=batches(), m=st.sampled_from([0.2, 0.4]), gamma=st.sampled_from([2, 80]))
def test_circle(batch, m, gamma):
    value, grad = fl.circle_loss.value_and_grad(*batch, m, gamma)
    assert_alike((value, grad), theirs(losses.CircleLoss(m, gamma), *batch), 1e-8)


@settings(deadline=None)
@given(batch=batches(), pos=st.sampled_from([0.0, 0.4]), neg=st.sampled_from([1.0, 1.4]))
def test_contrastive(batch, pos, neg):
    assert_alike(fl.contrastive_loss.value_and_grad(*batch, pos, neg), theirs(losses.ContrastiveLoss(pos, neg), *batch))


@settings(deadline=None)
@given(batch=batches(), margin=st.sampled_from([0.05, 1.0]), power=st.sampled_from([1, 2]))
def test_batch_all(batch, margin, power):
    x, labels = batch
    distance = distances.LpDistance(normalize_embeddings=False, power=power)
    other = theirs(losses.TripletMarginLoss(margin=margin, distance=distance), x, labels)
    metric = "euclidean" if power == 1 else "squared"
    assert_alike(fl.batch_all_triplet_loss.value_and_grad(x, labels, margin, metric), other)


def hard(x, labels, margin):
    """Hermans' batch-hard loss of the anchors that have both, written out."""
    apart = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels
    positive, negative = same & ~torch.eye(len(x), dtype=bool), ~same
    far = torch.where(positive, apart, -torch.inf).amax(1)
    near = torch.where(negative, apart, torch.inf).amin(1)
    both = positive.any(1) & negative.any(1)
    return F.relu(far - near + margin)[both].mean() if both.any() else (0 * x).sum()


@settings(deadline=None)
@given(batch=batches(), margin=st.sampled_from([0.5, 5.0]))
def test_batch_hard(batch, margin):
    other = theirs(lambda x, labels: hard(x, labels, margin), *batch)
    assert_alike(fl.batch_hard_triplet_loss.value_and_grad(*batch, margin), other)


def cross_entropy_of(scores):
    return F.cross_entropy(scores, torch.arange(len(scores)))


@settings(deadline=None)
@given(batch=batches(1), count=st.integers(0, 3), symmetric=st.booleans(), cosine=st.booleans())
def test_multiple_negatives_ranking(batch, count, symmetric, cosine):
    q, _ = batch
    rng = np.random.default_rng(1)
    p, n = rng.normal(size=q.shape), rng.normal(size=(len(q), count, q.shape[1]))

    def loss(q, p, n):
        unit = F.normalize if cosine else lambda x, dim: x
        q, p, n = unit(q, dim=-1), unit(p, dim=-1), unit(n, dim=-1)
        value = cross_entropy_of(q @ torch.cat([p, n.flatten(0, 1)]).T / 0.3)
        return (value + cross_entropy_of(p @ q.T / 0.3)) / 2 if symmetric else value

    ours = fl.info_nce_loss.value_and_grad(q, p, n, 0.3, "cosine" if cosine else "dot", symmetric=symmetric)
    assert_alike(ours, theirs(loss, q, p, n))


@settings(deadline=None)
@given(batch=batches(1), scale=st.sampled_from([0.5, 10.0]), bias=st.sampled_from([-10.0, 0.0]))
def test_clip_and_siglip(batch, scale, bias):
    x = batch[0] / np.linalg.norm(batch[0], axis=1, keepdims=True)
    y = x[::-1] + 0.3 * np.random.default_rng(1).normal(size=x.shape)

    def clip(x, y, scale):
        scores = scale * x @ y.T
        return (cross_entropy_of(scores) + cross_entropy_of(scores.T)) / 2

    def siglip(x, y, scale, bias):
        signs = 2 * torch.eye(len(x), dtype=x.dtype) - 1
        return -F.logsigmoid(signs * (scale * x @ y.T + bias)).sum() / len(x)

    scale, bias = np.asarray(scale), np.asarray(bias)
    assert_alike(fl.clip_loss.value_and_grad(x, y, scale), theirs(clip, x, y, scale))
    assert_alike(fl.siglip_loss.value_and_grad(x, y, scale, bias), theirs(siglip, x, y, scale, bias))


@settings(deadline=None)
@given(data=st.data())
def test_distances(data):
    cdist, pdist = peer("scipy.spatial.distance").cdist, peer("scipy.spatial.distance").pdist
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    p = data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, np.inf]))
    stack = data.draw(st.sampled_from([(), (2,), (2, 3)]))
    rows, columns, width = (data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9)), data.draw(st.integers(1, 20)))
    x, y = rng.normal(size=(*stack, rows, width)), rng.normal(size=(*stack[-1:], columns, width))
    upstream = rng.normal(size=(*stack, rows, columns))
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
    want = torch.cdist(a, b, p=p)
    want.backward(torch.tensor(upstream))
    value, grads = fl.cdist.value_and_grad(x, y, p, grad_output=upstream)
    np.testing.assert_allclose(value, want.detach(), rtol=1e-12, atol=1e-12)
    for got, leaf in zip(grads, (a, b), strict=True):
        np.testing.assert_allclose(got, leaf.grad, rtol=1e-9, atol=1e-9)
    if p >= 1 and not stack and rows and columns:
        name = {1: "cityblock", 2: "euclidean", np.inf: "chebyshev"}.get(p, "minkowski")
        options = {"p": p} if name == "minkowski" else {}
        np.testing.assert_allclose(value, cdist(x, y, name, **options), rtol=1e-12)
        np.testing.assert_allclose(fl.pdist(x, p), pdist(x, name, **options), rtol=1e-12)
