"""ctc_loss beside torch.nn.functional.ctc_loss and optax's: generated batches, in every form, values and gradients."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from helpers import assert_same, peer
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl

torch = peer("torch")
F = torch.nn.functional
CTC = fl.ctc_loss

LENGTH_FORMS = {
    "int64": lambda lengths: torch.tensor(lengths),
    "int32": lambda lengths: torch.tensor(lengths, dtype=torch.int32),
    "uint8": lambda lengths: torch.tensor(lengths, dtype=torch.uint8),
    "tuple": lambda lengths: tuple(map(int, lengths)),
    "list": lambda lengths: list(map(int, lengths)),
}


def close(actual, expected, name):
    tolerance = {"float32": 1e-6, "float64": 1e-10}[name]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@st.composite
def batches(draw):
    """log_probs, a padded target that lacks the blank, lengths, the blank."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, count, labels = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(0, 12))
    classes = draw(st.sampled_from([2, 3, 10, 1100]))
    blank = draw(st.integers(0, classes - 1))
    logits = torch.tensor(rng.normal(0, draw(st.sampled_from([0.5, 4, 40])), (steps, count, classes)))
    # Few classes repeat labels by themselves.
    targets = (blank + rng.integers(1, min(classes, 5), (count, labels))) % classes if labels else np.zeros((count, 0))
    input_lengths = rng.integers(0, steps + 1, count) if draw(st.booleans()) else np.full(count, steps)
    target_lengths = rng.integers(0, labels + 1, count) if draw(st.booleans()) else np.full(count, labels)
    return logits.log_softmax(-1), targets.astype(np.int64), input_lengths, target_lengths, blank


def torch_of(x, *arguments, **options):
    """Torch's value and gradient of the sum of it."""
    leaf = x.clone().requires_grad_()
    value = F.ctc_loss(leaf, *arguments, **options)
    value.sum().backward()
    return value.detach().numpy(), leaf.grad.numpy()


@settings(max_examples=200, deadline=None)
@given(
    batch=batches(),
    name=st.sampled_from(["float32", "float64"]),
    target_dtype=st.sampled_from(["int64", "int32", "int16", "uint8"]),
    concatenated=st.booleans(),
    form=st.sampled_from(list(LENGTH_FORMS)),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    zero_infinity=st.booleans(),
)
def test_ctc_loss(batch, name, target_dtype, concatenated, form, reduction, zero_infinity):
    x, targets, input_lengths, target_lengths, blank = batch
    x = x.to(getattr(torch, name))
    if concatenated:
        targets = np.concatenate([row[:n] for row, n in zip(targets, target_lengths, strict=True)])
    if targets.size and targets.max() > 255:
        target_dtype = "int64"
    arguments = (torch.tensor(targets.astype(target_dtype)), *map(LENGTH_FORMS[form], (input_lengths, target_lengths)))
    options = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
    # In float32 torch keeps as many digits fewer as the loss has before the point.
    value, grad = torch_of(x.double(), *arguments, **options)
    ours, our_grad = CTC.value_and_grad(x, *arguments, **options)
    close(ours, value, name)
    assert not np.isnan(our_grad).any()
    # Where there is no alignment torch's gradient is NaN, here it is 0.
    close(our_grad, np.nan_to_num(grad), name)
    assert (our_grad[np.isnan(grad)] == 0).all()
    assert_same(CTC(x.numpy(), *arguments, **options), ours)


@settings(max_examples=100, deadline=None)
@given(
    batch=batches(),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    form=st.sampled_from(["tensor", "vector", "tuple"]),
)
def test_of_one_sequence(batch, reduction, form):
    x, targets, (steps, *_), (labels, *_), blank = batch
    x, target = x[:, 0], torch.tensor(targets[0, :labels])
    lengths = [
        {"tensor": torch.tensor, "vector": lambda n: torch.tensor([n]), "tuple": lambda n: (int(n),)}[form](each)
        for each in (steps, labels)
    ]
    theirs = torch_of(x, target, *lengths, blank, reduction=reduction)
    ours = CTC.value_and_grad(x, target, *lengths, blank, reduction=reduction)
    assert np.shape(ours[0]) == theirs[0].shape == ()
    close(ours[0], theirs[0], "float64")
    close(ours[1], np.nan_to_num(theirs[1]), "float64")


def test_gradient_through_log_softmax_is_that_by_the_logits():
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(20, 3, 7)), requires_grad=True)
    arguments = torch.tensor(rng.integers(1, 7, (3, 5))), (20, 18, 11), (5, 4, 0)
    F.ctc_loss(logits.log_softmax(-1), *arguments).backward()
    _, grad = CTC.value_and_grad(fl.log_softmax(logits), *arguments)
    close(grad, logits.grad.numpy(), "float64")


def test_names_order_and_defaults_are_torchs():
    theirs, ours = inspect.signature(F.ctc_loss).parameters, inspect.signature(CTC).parameters
    assert set(ours) == set(theirs)
    assert {name: each.default for name, each in ours.items()} == {name: each.default for name, each in theirs.items()}


REFUSED = {
    "input_lengths above": {"input_lengths": (7, 5, 4)},
    "input_lengths below": {"input_lengths": (6, -1, 4)},
    "target_lengths above": {"target_lengths": (2, 3, 1)},
    "target_lengths below": {"target_lengths": (2, -1, 1)},
    "too few lengths": {"input_lengths": (6, 5)},
    "too many lengths": {"target_lengths": (2, 2, 1, 1)},
    "floating lengths": {"input_lengths": torch.tensor([6.0, 5, 4]), "target_lengths": torch.tensor([2, 2, 1])},
    "boolean lengths": {"input_lengths": torch.ones(3, dtype=torch.bool), "target_lengths": torch.tensor([1, 1, 1])},
    "blank above": {"blank": 4},
    "blank below": {"blank": -1},
    "targets of another batch": {"targets": torch.ones((2, 2), dtype=torch.long)},
    "targets of three dimensions": {"targets": torch.ones((1, 3, 2), dtype=torch.long)},
    "concatenated, too long": {"targets": torch.ones(6, dtype=torch.long)},
    "concatenated, too short": {"targets": torch.ones(4, dtype=torch.long)},
    "one dimension": {"log_probs": torch.zeros(4)},
    "four dimensions": {"log_probs": torch.zeros(1, 6, 3, 4)},
    "integers": {"log_probs": torch.zeros((6, 3, 4), dtype=torch.long)},
    "reduction": {"reduction": "batchmean"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_refuses(case):
    arguments = {
        "log_probs": torch.zeros(6, 3, 4),
        "targets": torch.ones((3, 2), dtype=torch.long),
        "input_lengths": (6, 5, 4),
        "target_lengths": (2, 2, 1),
        **REFUSED[case],
    }
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        F.ctc_loss(**arguments)
    with pytest.raises((ValueError, TypeError), match="ctc_loss: "):
        CTC(**arguments)


def test_what_torch_does_not_refuse_and_does_not_have():
    x = torch.zeros(6, 3, 4).log_softmax(-1)
    lengths = (6, 5, 4), (2, 2, 1)
    with pytest.raises(IndexError, match=r"targets\[1, 0\] is 4"):
        CTC(x, torch.tensor([[1, 2], [4, 1], [1, 1]]), *lengths)
    for name in ("float16", "bfloat16"):
        half = x.to(getattr(torch, name))
        with pytest.raises(NotImplementedError):
            F.ctc_loss(half, torch.ones((3, 2), dtype=torch.long), *lengths)
        wanted = CTC.value_and_grad(half.float(), np.ones((3, 2), int), *lengths)
        out = torch.empty_like(half)
        value, _ = CTC.value_and_grad(half, np.ones((3, 2), int), *lengths, out=out)
        assert value == wanted[0]
        assert torch.equal(out, torch.tensor(wanted[1]).to(half.dtype))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_optax(seed):
    optax, jnp = peer("optax"), peer("jax.numpy")
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (17, 4, 6)).astype(np.float32)
    targets = rng.integers(1, 6, (4, 5))
    input_lengths, target_lengths = rng.integers(10, 18, 4), rng.integers(0, 6, 4)
    paddings = [np.arange(size) >= lengths[:, None] for size, lengths in ((17, input_lengths), (5, target_lengths))]
    theirs = optax.ctc_loss(
        jnp.asarray(logits.transpose(1, 0, 2)), paddings[0].astype(float), targets, paddings[1].astype(float)
    )
    ours = CTC(fl.log_softmax(logits), targets, input_lengths, target_lengths, reduction="none")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
