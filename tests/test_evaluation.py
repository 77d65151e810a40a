"""Evaluation: the metrics themselves, and that batching, order and merging leave no trace in them."""

import copy
import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastloss as fl
from fastloss.exactsum import ExactSum

DTYPES = [np.float16, np.float32, np.float64]


def direct(logits, labels, ignore_index=-100, top_k=5):
    """Every metric by plain NumPy in float64, for finite logits."""
    logits = np.asarray(logits).astype(np.float64).reshape(-1, np.shape(logits)[-1])
    labels = np.asarray(labels).reshape(-1).astype(np.int64)
    kept = labels != ignore_index
    x, t = logits[kept], labels[kept]
    if not len(t):
        return {}
    largest = x.max(axis=1, keepdims=True)
    log_p = x - largest - np.log(np.exp(x - largest).sum(axis=1, keepdims=True))
    order = np.argsort(-x, axis=1, kind="stable")
    rank = np.argmax(order == t[:, None], axis=1)
    loss = -np.mean(log_p[np.arange(len(t)), t])
    return {
        "loss": loss,
        "perplexity": np.exp(loss),
        "bits_per_token": loss / np.log(2),
        "accuracy": np.mean(rank == 0),
        f"top{top_k}_accuracy": np.mean(rank < top_k),
        "entropy": -np.mean(np.sum(np.exp(log_p) * log_p, axis=1)),
        "count": len(t),
        "ignored": len(labels) - len(t),
        "nonfinite": 0,
    }


def evaluated(*batches, **settings):
    evaluation = fl.Evaluation(**settings)
    for logits, labels in batches:
        evaluation.update(logits, labels)
    return evaluation


def data(rows=40, classes=12, dtype=np.float32, seed=0, ignored=0.2):
    rng = np.random.default_rng(seed)
    logits = (4 * rng.standard_normal((rows, classes))).astype(dtype)
    labels = rng.integers(0, classes, rows)
    labels[rng.random(rows) < ignored] = -100
    return logits, labels


@st.composite
def batches(draw):
    """Logits, labels and the positions at which to cut them."""
    dtype = draw(st.sampled_from(DTYPES))
    rows, classes = draw(st.integers(0, 30)), draw(st.integers(1, 9))
    values = st.floats(-100, 100, width=16)
    logits = draw(hnp.arrays(dtype, (rows, classes), elements=values))
    labels = draw(hnp.arrays(np.int64, rows, elements=st.integers(-1, classes - 1)))
    cuts = sorted(draw(st.lists(st.integers(0, rows), max_size=4)))
    return logits, labels, [0, *cuts, rows]


def assert_same(left, right):
    assert pickle.dumps(list(left.compute().items())) == pickle.dumps(list(right.compute().items()))


@given(batches())
def test_metrics_are_those_of_numpy_and_the_same_bits_however_cut_ordered_or_merged(drawn):
    logits, labels, cuts = drawn
    whole = evaluated((logits, labels), ignore_index=-1, top_k=3)
    pieces = [(logits[a:b], labels[a:b]) for a, b in itertools.pairwise(cuts)]
    assert_same(evaluated(*pieces, ignore_index=-1, top_k=3), whole)
    assert_same(evaluated(*reversed(pieces), ignore_index=-1, top_k=3), whole)
    total = fl.Evaluation(ignore_index=-1, top_k=3)
    total.merge_state(evaluated(piece, ignore_index=-1, top_k=3) for piece in pieces)
    assert_same(total, whole)
    tolerance = 1e-12 if logits.dtype == np.float64 else 1e-6
    computed = whole.compute()
    for name, value in direct(logits, labels, ignore_index=-1, top_k=3).items():
        bound = tolerance * (1 + computed["loss"]) if name == "perplexity" else tolerance
        assert computed[name] == pytest.approx(value, rel=bound, abs=bound), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_names_and_order(dtype):
    logits, labels = data(dtype=dtype)
    computed = evaluated((logits, labels)).compute()
    assert computed == pytest.approx(direct(logits, labels), rel=1e-6)
    assert list(computed) == list(direct(logits, labels))
    assert all(type(value) in (float, int) for value in computed.values())


@pytest.mark.parametrize("top_k", [1, 2, 12, 100])
def test_top_k(top_k):
    logits, labels = data()
    computed = evaluated((logits, labels), top_k=top_k).compute()
    assert computed[f"top{top_k}_accuracy"] == direct(logits, labels, top_k=top_k)[f"top{top_k}_accuracy"]
    if top_k == 1:
        assert computed["top1_accuracy"] == computed["accuracy"]


def test_any_shape_axis_layout_and_label_dtype():
    logits, labels = data(rows=24, ignored=0)
    whole = evaluated((logits, labels))
    assert_same(evaluated((logits.reshape(2, 3, 4, 12), labels.reshape(2, 3, 4))), whole)
    assert_same(evaluated((np.asfortranarray(logits), labels.astype(np.uint8))), whole)
    assert_same(evaluated((logits[::-1], labels[::-1])), whole)
    assert_same(evaluated(*zip(logits, labels, strict=True)), whole)
    on_axis = fl.Evaluation()
    on_axis.update(np.moveaxis(logits.reshape(2, 12, 12), -1, 1), labels.reshape(2, 12), axis=1)
    assert on_axis.compute() == pytest.approx(whole.compute(), rel=1e-6)
    read_only = logits.copy()
    read_only.flags.writeable = False
    assert_same(evaluated((read_only, labels)), whole)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    logits, labels = data()
    logits = logits.astype(ml_dtypes.bfloat16)
    assert evaluated((logits, labels)).compute() == pytest.approx(direct(logits, labels), rel=1e-6)


@pytest.mark.parametrize(
    "batch",
    [
        None,
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int64)),
        (np.zeros((4, 3), np.float32), np.full(4, -100)),
    ],
    ids=["no update", "no rows", "all ignored"],
)
def test_means_over_nothing_are_nan(batch):
    evaluation = evaluated(*([batch] if batch else []))
    computed = evaluation.compute()
    counts = {name: computed.pop(name) for name in ("count", "ignored", "nonfinite")}
    assert counts == {"count": 0, "ignored": len(batch[1]) if batch else 0, "nonfinite": 0}
    assert all(math.isnan(value) for value in computed.values())
    assert "0 rows" in repr(evaluation)


def test_perplexity_overflows_to_infinity_without_a_warning(recwarn):
    computed = evaluated((np.array([[0.0, 5000.0]]), [0])).compute()
    assert computed["loss"] == 5000.0
    assert computed["perplexity"] == math.inf
    assert computed["nonfinite"] == 0
    assert not recwarn


def test_nan_and_infinite_losses_are_counted_and_not_averaged_away():
    good = (np.array([[1.0, 0.0], [0.0, 0.0]]), [0, 1])
    nan = (np.array([[np.nan, 0.0]]), [1])
    masked = (np.array([[-np.inf, 0.0]]), [0])
    computed = evaluated(good, masked).compute()
    assert (computed["loss"], computed["perplexity"], computed["nonfinite"]) == (math.inf, math.inf, 1)
    assert computed["entropy"] < 1.0
    for order in ([good, nan, masked], [masked, nan, good]):
        computed = evaluated(*order).compute()
        assert math.isnan(computed["loss"])
        assert math.isnan(computed["perplexity"])
        assert (computed["count"], computed["nonfinite"]) == (4, 2)
        assert (computed["accuracy"], computed["top5_accuracy"]) == (0.25, 0.75)
    assert evaluated(good, (nan[0], [-100])).compute()["loss"] == evaluated(good).compute()["loss"]


@pytest.mark.parametrize(
    ("logits", "labels", "error"),
    [
        (np.zeros((3, 4), np.float32), [0, 4, 1], IndexError),
        (np.zeros((3, 4), np.float32), [0, 1, -1], IndexError),
        (np.zeros((3, 4), np.float32), [0, 1], ValueError),
        (np.zeros((3, 5), np.float32), [0, 1, 2], ValueError),
        (np.float32(1.0), 0, ValueError),
        (np.zeros((3, 4), np.complex64), [0, 1, 2], TypeError),
        (np.zeros((3, 4), np.float32), [0.0, 1.0, 2.0], (TypeError, ValueError)),
    ],
    ids=["label too large", "label negative", "row count", "classes", "no axis", "complex", "float labels"],
)
def test_a_failed_update_leaves_everything_as_it_was(logits, labels, error):
    evaluation = evaluated((np.eye(4, dtype=np.float32), [0, 1, 2, 0]))
    before = pickle.dumps(evaluation)
    with pytest.raises(error):
        evaluation.update(logits, labels)
    assert pickle.dumps(evaluation) == before


def test_a_first_update_that_fails_does_not_fix_the_number_of_classes():
    evaluation = fl.Evaluation()
    with pytest.raises(IndexError):
        evaluation.update(np.zeros((1, 3), np.float32), [7])
    evaluation.update(np.zeros((1, 4), np.float32), [3])
    assert evaluation.compute()["count"] == 1


def test_merge_state_takes_one_or_many_and_leaves_them_alone():
    first, second, third = (evaluated(data(seed=seed)) for seed in range(3))
    before = pickle.dumps([second, third])
    total = copy.deepcopy(first)
    total.merge_state(second)
    total.merge_state([third])
    assert pickle.dumps([second, third]) == before
    assert_same(total, evaluated(*(data(seed=seed) for seed in range(3))))
    total.merge_state([])
    total.merge_state(fl.Evaluation())
    assert_same(total, evaluated(*(data(seed=seed) for seed in range(3))))
    first.merge_state(first)
    assert first.compute() == evaluated(data(seed=0), data(seed=0)).compute()


@pytest.mark.parametrize(
    "other",
    [fl.Evaluation(top_k=3), fl.Evaluation(ignore_index=-1), evaluated(data(classes=7)), "evaluation"],
    ids=["top_k", "ignore_index", "classes", "no evaluation"],
)
def test_merge_state_refuses_other_settings_whole(other):
    evaluation = evaluated(data())
    before = pickle.dumps(evaluation)
    with pytest.raises((ValueError, TypeError)):
        evaluation.merge_state([evaluated(data()), other])
    assert pickle.dumps(evaluation) == before


def test_reset_pickle_and_repr():
    evaluation = evaluated(data(), top_k=2)
    assert_same(pickle.loads(pickle.dumps(evaluation)), evaluation)
    loss, ignored = evaluation.compute()["loss"], evaluation.compute()["ignored"]
    assert repr(evaluation) == (
        f"Evaluation(ignore_index=-100, top_k=2): loss {loss:.6g} over {40 - ignored} rows, {ignored} ignored"
    )
    evaluation.reset()
    assert pickle.dumps(evaluation) == pickle.dumps(fl.Evaluation(top_k=2))
    evaluation.update(np.zeros((2, 3)), [0, 1])
    assert evaluation.compute()["count"] == 2


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_must_be_positive(top_k):
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        fl.Evaluation(top_k=top_k)


@given(hnp.arrays(st.sampled_from([np.float32, np.float64]), st.integers(1, 50), elements={"allow_nan": False}))
def test_exact_sum_is_the_correctly_rounded_mean(values):
    values = values[np.isfinite(values)]
    total = ExactSum()
    with np.errstate(all="raise"):
        total.add(values)
    if len(values):
        mean = sum(map(Fraction, values.tolist())) / len(values)
        assert total.mean(len(values)) == mean.numerator / mean.denominator
    assert math.isnan(ExactSum().mean(0))


def test_exact_sum_of_many_values():
    values = np.random.default_rng(0).standard_normal(100_000) * 1e10
    total = ExactSum()
    total.add(values.reshape(10, -1))
    assert total.mean(1) == math.fsum(values)
