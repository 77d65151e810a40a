"""Evaluation's figures beside scikit-learn's and torch's."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

metrics = peer("sklearn.metrics")
torch = peer("torch")

SEEDS = st.integers(0, 2**32 - 1)
EXAMPLES = settings(max_examples=40, deadline=None)


def computed(predictions, labels, **options):
    made = fl.Evaluation(**options)
    made.update(predictions, labels)
    return made.compute()


@EXAMPLES
@given(
    SEEDS, st.integers(2, 3000), st.sampled_from([0.01, 1.0, 10.0]), st.sampled_from(["float16", "float32", "float64"])
)
def test_binary(seed, rows, scale, dtype):
    rng = np.random.default_rng(seed)
    logit = (scale * rng.standard_normal(rows)).astype(dtype)
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit.astype(float)))).astype(int)
    label[:2] = 0, 1
    found = computed(logit, label, task="binary", brier=True)
    wide = logit.astype(np.float64)
    p, predicted = 1 / (1 + np.exp(-wide)), wide > 0
    if scale <= 1:  # of larger logits 1 - p has few digits left
        assert found["loss"] == pytest.approx(metrics.log_loss(label, p), rel=1e-10 if dtype == "float64" else 1e-5)
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(label, p), rel=1e-12)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(label, predicted), rel=1e-15)
    assert found["f1"] == pytest.approx(
        metrics.f1_score(label, predicted, zero_division=np.nan), rel=1e-14, nan_ok=True
    )
    for name in ("precision", "recall"):
        wanted = getattr(metrics, f"{name}_score")(label, predicted, zero_division=np.nan)
        assert found[name] == pytest.approx(wanted, rel=1e-14, nan_ok=True)
    area = metrics.roc_auc_score(label, wide)
    assert abs(found["auc"] - area) <= found["auc_error"] + 1e-12
    if rows > 1000:
        assert found["auc_error"] < 0.01


@EXAMPLES
@given(SEEDS, st.integers(2, 500), st.floats(1e-6, 1e6))
def test_regression(seed, rows, scale):
    rng = np.random.default_rng(seed)
    target = scale * rng.standard_normal(rows) + rng.choice([0, 1e3])
    prediction = target + scale * rng.standard_normal(rows)
    found = computed(prediction, target, task="regression")
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(target, prediction), rel=1e-12)
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(target, prediction), rel=1e-12)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, prediction), rel=1e-12)
    wanted = metrics.r2_score(target, prediction, force_finite=False)
    assert found["r2"] == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@EXAMPLES
@given(SEEDS, st.integers(2, 300), st.integers(2, 40))
def test_tokens(seed, rows, classes):
    rng = np.random.default_rng(seed)
    logits, labels = 3 * rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)
    found = computed(logits, labels, top_k=(1, 3), brier=True)
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)
    loss = torch.nn.functional.cross_entropy(x, y)
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert found["perplexity"] == pytest.approx(loss.exp().item(), rel=1e-12)
    p = torch.softmax(x, -1)
    assert found["entropy"] == pytest.approx(torch.special.entr(p).sum(-1).mean().item(), rel=1e-12)
    names = list(range(classes))
    for k in (1, 3):
        if k < classes:
            wanted = metrics.top_k_accuracy_score(labels, logits, k=k, labels=names) if classes > 2 else None
            assert wanted is None or found[f"top{k}_accuracy"] == pytest.approx(wanted, rel=1e-15)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, logits.argmax(1)), rel=1e-15)
    truth = np.eye(classes)[labels]
    assert found["brier"] == pytest.approx(((p.numpy() - truth) ** 2).sum(1).mean(), rel=1e-12)
    assert found["loss"] == pytest.approx(metrics.log_loss(labels, p.numpy(), labels=names), rel=1e-9)
