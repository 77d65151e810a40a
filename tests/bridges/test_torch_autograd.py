"""fastloss.torch within autograd, transforms and torch.compile."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import peer
from hypothesis import given, settings
from hypothesis import strategies as st

torch = peer("torch")
T = torch.nn.functional
own = {name: getattr(T, name) for name in dir(T)}

from torch_calls import CALLS, DTYPES, EVERY, close, drawn, labels, leaves, predictions_of, quiet, run, spied, tensor  # noqa: E402

import fastloss.torch as F  # noqa: E402
from fastloss.torch import functional, table  # noqa: E402


@pytest.mark.parametrize(("name", "way"), [each for each in EVERY if table.TABLE[each[0]].grad])
def test_operator(name, way):
    """Each loss as an operator, as torch.library wants operators to be."""

    @settings(max_examples=1, deadline=None, database=None)
    @given(data=st.data())
    def check(data):
        arrays, options, predictions = drawn(data, name, way, [(4, 5)])
        tensors = leaves({key: tensor(each, "float32") for key, each in arrays.items()}, predictions)
        bridge = table.TABLE[name]
        if way == 1 and name == "gaussian_nll_loss":
            options["reduction"] = "mean"  # the other is torch's
        parameters = {**functional.Arguments(name, bridge).defaults, **options}
        parameters |= {key: each for key, each in bridge.nones.items() if parameters[key] is None}
        args = [tensors.get(key) for key in bridge.tensors] + [parameters[key] for key in bridge.options]
        operator = getattr(torch.ops.fastloss, name).default
        torch.library.opcheck(operator, (*args, parameters.get("reduction", "none"), True))

    check()


class TestAutograd:
    def labelled(self, *shape):
        rng = np.random.default_rng(3)
        return torch.tensor(rng.normal(0, 1, shape), requires_grad=True), torch.tensor(labels(rng, shape))

    @pytest.mark.parametrize(
        "name", [each for each in CALLS if each not in ("multi_margin_loss", "multilabel_margin_loss", "pdist")]
    )
    @pytest.mark.parametrize("reduction", ["none", "mean"])
    def test_second_derivatives(self, name, reduction):
        """A gradient that is to be differentiated is torch's own."""
        called, rng = CALLS[name][0], np.random.default_rng(5)
        arrays = {key: tensor(sampler(rng, (3, 2)), "float64") for key, sampler in called.tensors.items()}
        bridge = table.TABLE[name]
        predictions = predictions_of(name, arrays)
        fixed = {key: each for key, each in arrays.items() if key not in predictions}
        options = {"reduction": reduction} if bridge.reductions else {}

        def function(*values):
            return quiet(getattr(F, name), **dict(zip(predictions, values, strict=True)), **fixed, **options)

        given = [arrays[key].requires_grad_() for key in predictions]
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)

    def test_a_penalty_on_the_gradient(self):
        x, target = self.labelled(4, 5)
        found = []
        for function in (F.cross_entropy, own["cross_entropy"]):
            w = torch.ones(5, dtype=torch.float64, requires_grad=True)
            [grad] = torch.autograd.grad(function(x * w, target), [x], create_graph=True)
            found.append(torch.autograd.grad(grad.square().sum(), [w])[0])
        close(found[0], found[1], 1e-12)

    def test_twice_through_a_retained_graph(self):
        x, target = self.labelled(4, 5)
        w = x.detach().flatten().requires_grad_()
        loss = F.cross_entropy(w.view(4, 5), target)
        loss.backward(retain_graph=True)
        once = w.grad.clone()
        loss.backward(retain_graph=True)
        loss.backward()
        close(w.grad, 3 * once, 1e-14)
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()

    @pytest.mark.parametrize("factor", [1, 0.5])
    @pytest.mark.parametrize("reduction", ["mean", "none"])
    def test_the_gradient_is_handed_over(self, factor, reduction):
        """What was made with the value is what arrives: no copy, also when it is scaled."""
        x, target = self.labelled(4, 5)
        value = F.cross_entropy(x, target, reduction=reduction)
        made = value.grad_fn.grads[0].data_ptr()
        value.backward(torch.full_like(value, factor))
        assert x.grad.data_ptr() == made
        close(
            x.grad,
            factor * torch.autograd.grad(own["cross_entropy"](x, target, reduction=reduction).sum(), [x])[0],
            1e-12,
        )

    def test_is_freed_by_the_backward_pass(self):
        import weakref

        x, target = self.labelled(4, 5)
        logits = x * 2
        seen = weakref.ref(logits)
        loss = F.cross_entropy(logits, target)
        del logits
        loss.backward()
        assert seen() is None
        assert loss.grad_fn is not None

    def test_logits_may_be_overwritten_before_the_backward_pass(self):
        x, target = self.labelled(4, 5)
        expected = torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0]
        logits = x * 2
        loss = F.cross_entropy(logits, target)
        with torch.no_grad():
            logits.zero_()
        close(torch.autograd.grad(loss, [x])[0], expected, 1e-12)

    def test_many_upstream_gradients_at_once(self):
        x, target = self.labelled(4, 5)
        for reduction in ("none", "mean"):
            found = []
            for function in (F.cross_entropy, own["cross_entropy"]):
                value = function(x, target, reduction=reduction)
                many = torch.arange(1.0, 1 + 3 * value.numel()).to(x).reshape(3, *value.shape)
                found.append(torch.autograd.grad(value, [x], many, is_grads_batched=True)[0])
            close(found[0], found[1], 1e-12)

    def test_parts_of_a_program(self):
        """Non-contiguous, expanded and channels-last logits, in sums with other terms, scaled."""
        x, target = self.labelled(2, 3, 4, 5)
        for change in (
            lambda x: x.to(memory_format=torch.channels_last),
            lambda x: x.flip(0)[:, :, ::2],
            lambda x: x[:1].expand(2, -1, -1, -1),
        ):
            found = []
            for function in (F.cross_entropy, own["cross_entropy"]):
                logits = change(x)
                labelled = target[:, : logits.shape[2]]
                loss = 0.25 * function(logits, labelled) + function(logits, labelled, reduction="sum") + logits.sum()
                found.append(torch.autograd.grad(loss, [x])[0])
            close(found[0], found[1], 1e-12)

    def test_a_scaled_float16_mean_keeps_its_small_gradients(self):
        x = torch.zeros(60000, 2, dtype=torch.float16, requires_grad=True)
        (F.cross_entropy(x, torch.zeros(60000, dtype=torch.int64)) * 60000).backward()
        assert x.grad[0].tolist() == [-0.5, 0.5]

    def test_no_grad_and_inference_mode(self):
        x, target = self.labelled(4, 5)
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert not F.cross_entropy(x, target).requires_grad

    @pytest.mark.parametrize("name", [name for name in CALLS if name != "pdist"])
    def test_autocast(self, name):
        called, rng = CALLS[name][0], np.random.default_rng(7)
        tensors = {key: tensor(sampler(rng, (4, 5)), "bfloat16") for key, sampler in called.tensors.items()}
        predictions = predictions_of(name, tensors)
        with torch.autocast("cpu", torch.bfloat16):
            expected, found = (run(function, tensors, predictions, {}) for function in (own[name], getattr(F, name)))
        assert found[0].dtype == expected[0].dtype
        close(found[0], expected[0], 1e-6)
        for got, want in zip(found[1], expected[1], strict=True):
            assert got.dtype == torch.bfloat16
            close(got, want, 1e-2)

    def test_autocast_is_computed_here(self, monkeypatch):
        seen = spied(monkeypatch)
        with torch.autocast("cpu", torch.bfloat16):
            F.cross_entropy(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]))
            F.mse_loss(torch.zeros(3, dtype=torch.bfloat16), torch.ones(3))
            F.mse_loss(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
        assert seen == ["cross_entropy", "mse_loss"]

    def test_checkpoint(self):
        x, target = self.labelled(4, 5)
        for reentrant in (False, True):
            loss = torch.utils.checkpoint.checkpoint(
                lambda x: F.cross_entropy(x * 2, target), x, use_reentrant=reentrant
            )
            [grad] = torch.autograd.grad(loss, [x]) if not reentrant else (loss.backward(), x.grad)[1:]
            close(grad, torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0], 1e-12)

    def test_threads_and_hooks(self):
        x, target = self.labelled(4, 5)
        seen = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each: each.numpy(force=True), torch.from_numpy):
            loss = F.cross_entropy(x * 2, target)
        x.register_hook(seen.append)
        with torch.autograd.detect_anomaly(check_nan=True):
            loss.backward()
        close(x.grad, torch.autograd.grad(own["cross_entropy"](x * 2, target), [x])[0], 1e-12)
        assert len(seen) >= 1

    def test_parameters(self):
        x = torch.nn.Parameter(torch.zeros(3))
        F.mse_loss(x, torch.ones(3)).backward()
        assert torch.equal(x.grad, torch.full((3,), -2 / 3))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["cross_entropy", "linear_cross_entropy", "mse_loss", "triplet_margin_loss"])
def test_compiles_as_one_graph(name, dtype):
    torch._dynamo.reset()
    called, rng = CALLS[name][0], np.random.default_rng(1)
    tensors = {key: tensor(sampler(rng, (6, 5)), dtype) for key, sampler in called.tensors.items()}
    predictions = predictions_of(name, tensors)

    def step(**given):
        return getattr(F, name)(**{key: 2 * each if key in predictions else each for key, each in given.items()}) * 3

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected, found = (run(function, tensors, predictions, {}) for function in (step, compiled))
    close(found[0], expected[0], 1e-6)
    for got, want in zip(found[1], expected[1], strict=True):
        close(got, want, DTYPES[dtype])
    with torch.no_grad():
        close(compiled(**tensors), expected[0], 1e-6)


def test_compiles_for_any_shape():
    torch._dynamo.reset()
    compiled = torch.compile(F.cross_entropy, fullgraph=True, dynamic=True, backend="aot_eager")
    for n in (3, 4, 7):
        x, target = torch.randn(n, n + 2, requires_grad=True), torch.arange(n)
        expected = torch.autograd.grad(own["cross_entropy"](x, target), [x])[0]
        close(torch.autograd.grad(compiled(x, target), [x])[0], expected, 1e-6)


def test_compiles_beside_an_error():
    torch._dynamo.reset()
    compiled = torch.compile(F.cross_entropy, backend="aot_eager")
    with pytest.raises(IndexError):
        compiled(torch.zeros(2, 3), torch.tensor([0, 7]))


def test_compiles_within_transforms():
    torch._dynamo.reset()
    x, target = torch.randn(2, 3, 4), torch.tensor([[0, 1, 3], [2, 2, 0]])
    for function in (
        lambda x, y: torch.vmap(F.cross_entropy)(x, y),
        lambda x, y: torch.func.grad(lambda x: F.cross_entropy(x, y[0]))(x[0]),
        lambda x, y: torch.func.jvp(lambda x: F.cross_entropy(x, y[0]), (x[0],), (x[1],))[1],
    ):
        close(torch.compile(function, backend="aot_eager")(x, target), function(x, target), 1e-6)


def test_exports():
    class Model(torch.nn.Module):
        def forward(self, x, target):
            return F.cross_entropy(x, target)

    arguments = torch.zeros(2, 3), torch.tensor([0, 1])
    for strict in (False, True):
        exported = torch.export.export(Model(), arguments, strict=strict).module()
        assert "fastloss" not in str(exported.graph)
        close(exported(*arguments), own["cross_entropy"](*arguments), 1e-6)


def test_compiles_where_it_is_torchs():
    torch._dynamo.reset()
    x, y = torch.ones(3, 4), torch.zeros(4)
    compiled = torch.compile(lambda x, y: F.kl_div(x, y, reduction="sum"), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, y), own["kl_div"](x, y, reduction="sum"))
