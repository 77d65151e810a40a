"""The modules of fastloss.torch: torch's classes, with its constructors, state and answers."""

from __future__ import annotations

import inspect
import pickle

import pytest
from helpers import peer

torch = peer("torch")

import fastloss.torch as F  # noqa: E402
from fastloss.torch import autograd, functional, modules  # noqa: E402

torch.manual_seed(0)
X, Y, P, Q = torch.randn(4, 5), torch.randn(4, 5), torch.rand(4, 5), torch.rand(4, 5)
LABELS, LISTS, SIGNS = torch.tensor([0, 4, 2, 1]), torch.randint(-1, 5, (4, 5)), torch.tensor([1.0, -1, 1, -1])
W = torch.rand(5)
CTC = (torch.randn(7, 2, 5).log_softmax(-1), torch.tensor([[1, 2], [3, 0]]), torch.tensor([7, 6]), torch.tensor([2, 1]))


def l1(a, b):
    return (a - b).abs().sum(-1)


CALLS = {
    "BCELoss": [({}, (P, Q)), ({"weight": W, "reduction": "none"}, (P, Q))],
    "BCEWithLogitsLoss": [({}, (X, Q)), ({"weight": W, "pos_weight": 2 * W, "reduction": "sum"}, (X, Q))],
    "CTCLoss": [({}, CTC), ({"blank": 4, "reduction": "none", "zero_infinity": True}, CTC)],
    "CosineEmbeddingLoss": [({}, (X, Y, SIGNS)), ({"margin": 0.2, "reduction": "sum"}, (X, Y, SIGNS))],
    "CosineSimilarity": [({}, (X, Y)), ({"dim": 0, "eps": 0.5}, (X, Y))],
    "CrossEntropyLoss": [
        ({}, (X, LABELS)),
        ({"weight": W, "ignore_index": 4, "label_smoothing": 0.1, "reduction": "none"}, (X, LABELS)),
    ],
    "GaussianNLLLoss": [({}, (X, Y, P)), ({"full": True, "eps": 0.3, "reduction": "none"}, (X, Y, P))],
    "HingeEmbeddingLoss": [({}, (P, X.sign())), ({"margin": 0.4, "reduction": "sum"}, (P, X.sign()))],
    "HuberLoss": [({}, (X, Y)), ({"delta": 0.3, "reduction": "none"}, (X, Y))],
    "KLDivLoss": [({"reduction": "batchmean"}, (X, P)), ({"log_target": True, "reduction": "none"}, (X, Y))],
    "L1Loss": [({}, (X, Y)), ({"reduction": "sum"}, (X, Y))],
    "LinearCrossEntropyLoss": [
        ({"in_features": 5, "num_classes": 6}, (X, LABELS)),
        ({"in_features": 5, "num_classes": 5, "bias": True, "weight": W, "label_smoothing": 0.1}, (X, LABELS)),
        ({"in_features": 5, "num_classes": 5, "out_features": (2,)}, (X, LABELS[:, None].expand(4, 2))),
    ],
    "MSELoss": [({}, (X, Y)), ({"size_average": False}, (X, Y)), ({"reduce": False}, (X, Y))],
    "MarginRankingLoss": [({}, (X, Y, P.sign())), ({"margin": 0.4, "reduction": "sum"}, (X, Y, P.sign()))],
    "MultiLabelMarginLoss": [({}, (X, LISTS)), ({"reduction": "none"}, (X, LISTS))],
    "MultiLabelSoftMarginLoss": [({}, (X, Q)), ({"weight": W, "reduction": "none"}, (X, Q))],
    "MultiMarginLoss": [({}, (X, LABELS)), ({"p": 2, "margin": 0.4, "weight": W, "reduction": "sum"}, (X, LABELS))],
    "NLLLoss": [({}, (X, LABELS)), ({"weight": W, "ignore_index": 2, "reduction": "none"}, (X, LABELS))],
    "PairwiseDistance": [({}, (X, Y)), ({"p": 1.0, "eps": 0.1, "keepdim": True}, (X, Y))],
    "PoissonNLLLoss": [({}, (X, P)), ({"log_input": False, "full": True, "eps": 0.1, "reduction": "none"}, (P, Q))],
    "SmoothL1Loss": [({}, (X, Y)), ({"beta": 0.3, "reduction": "none"}, (X, Y))],
    "SoftMarginLoss": [({}, (X, Y.sign())), ({"reduction": "sum"}, (X, Y.sign()))],
    "TripletMarginLoss": [({}, (X, Y, P)), ({"margin": 3.0, "p": 1, "swap": True, "reduction": "none"}, (X, Y, P))],
    "TripletMarginWithDistanceLoss": [
        ({}, (X, Y, P)),
        ({"margin": 2.0, "swap": True, "reduction": "none"}, (X, Y, P)),
        ({"distance_function": l1}, (X, Y, P)),
    ],
}
EVERY = [(name, way) for name, calls in CALLS.items() for way in range(len(calls))]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def differentiated(module, arguments):
    first = arguments[0].clone().requires_grad_()
    value = module(first, *arguments[1:])
    return value, torch.autograd.grad(value.sum(), first)[0]


def test_every_module_is_tested():
    assert set(CALLS) == set(modules.MODULES)


@pytest.mark.parametrize(("name", "way"), EVERY)
def test_is_torchs(name, way, monkeypatch):
    seen, whole = [], autograd.compute

    def compute(bridge, *args):
        seen.append(bridge.loss)
        return whole(bridge, *args)

    monkeypatch.setattr(autograd, "compute", compute)
    monkeypatch.setattr(functional, "compute", compute)
    options, arguments = CALLS[name][way]
    ours, theirs = getattr(F, name)(**options), getattr(torch.nn, name)(**options)
    ours.load_state_dict(theirs.state_dict())
    for got, want in zip(differentiated(ours, arguments), differentiated(theirs, arguments), strict=True):
        torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-6)
    by_torch = name == "TripletMarginWithDistanceLoss" or "out_features" in options  # the first has a function always
    assert bool(seen) != by_torch
    assert isinstance(ours, getattr(torch.nn, name))
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))


def test_too_many_arguments_are_refused():
    for name in ("MSELoss", "LinearCrossEntropyLoss"):
        with pytest.raises(TypeError):
            getattr(F, name)(**CALLS[name][0][0])(X, Y, X, X, X, X, X, X)
    with pytest.raises(TypeError, match="multiple values"):
        F.MSELoss()(X, Y, input=X)


@pytest.mark.parametrize("name", CALLS)
def test_is_pickled_and_moved(name):
    module = getattr(F, name)(**CALLS[name][0][0])
    assert type(pickle.loads(pickle.dumps(module))) is getattr(F, name)
    assert type(module.double()) is getattr(F, name)


def test_compiles_as_one_graph():
    torch._dynamo.reset()
    model = torch.nn.Sequential(torch.nn.Linear(5, 5))
    loss = F.CrossEntropyLoss(label_smoothing=0.1)
    compiled = torch.compile(lambda x, y: loss(model(x), y), fullgraph=True, backend="aot_eager")
    compiled(X, LABELS).backward()
    found = model[0].weight.grad
    expected = torch.autograd.grad(torch.nn.CrossEntropyLoss(label_smoothing=0.1)(model(X), LABELS), model[0].weight)
    torch.testing.assert_close(found, expected[0])


def test_trains_as_torch_does():
    """The same network under both losses takes the same steps."""
    ends = []
    for source in (F, torch.nn):
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1), torch.nn.Sigmoid())
        optimizer, loss = torch.optim.Adam(model.parameters(), 0.05), source.BCELoss()
        for _ in range(20):
            optimizer.zero_grad()
            loss(model(X), (LABELS > 1).float()[:, None]).backward()
            optimizer.step()
        ends.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)
