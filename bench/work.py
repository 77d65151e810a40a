"""The list of work: which loss on which arrays, and the ratios it should reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastloss.loss import LOSSES

MODES = ("value", "value_and_grad")

# The arrays given to a loss that no line of `listed` names, by the loss's family.
SHAPES: dict[str, tuple[int, ...]] = {
    "pointwise": (1 << 24,),
    "rowwise": (1024, 32000),
    "linear": (1024, 1024, 32000),
    "embedding": (8192, 128),
}

# What a goal measures, and whether it wants that large or small.
MEASURES = {
    "limit": ("time / limit", "<="),
    "peer": ("fastest peer / time", ">="),
    "torch": ("torch / time", ">="),
    "torch.compile": ("torch.compile / time", ">="),
    "float32": ("time / float32's", "<="),
    "beside": ("time / the other's", "<="),
    "threads": ("one thread / all", ">="),
    "seconds": ("time", "<="),
    "bytes": ("bytes", "<="),
}


@dataclass(frozen=True)
class Goal:
    """A bound on one ratio, time or size of a measurement."""

    measure: str
    bound: float

    def met(self, reached: float) -> bool:
        """Whether what was measured is within the bound."""
        return reached >= self.bound if MEASURES[self.measure][1] == ">=" else reached <= self.bound


Goals = tuple[Goal, ...]


@dataclass(frozen=True)
class Work:
    """One loss on arrays of one shape and dtype, with or without its gradient."""

    loss: str
    shape: tuple[int, ...]
    mode: str = "value"
    dtype: str = "float32"
    axis: int = -1
    data: str = "normal"
    goals: Goals = ()
    through: str = ""  # the library whose function of the same name it is called as

    @property
    def name(self) -> str:
        """What the reports call it and `--filter` searches."""
        words = [self.loss, "x".join(map(str, self.shape)), self.dtype, self.mode]
        words += [f"axis={self.axis}"] if self.axis != -1 else []
        words += [self.data] if self.data != "normal" else []
        words += [f"through fastloss.{self.through}"] if self.through else []
        return " ".join(words)

    @property
    def function(self) -> Any:
        """The loss itself."""
        return LOSSES[self.loss]


def goals(**bounds: float) -> Goals:
    """Goals by the name of what they measure."""
    return tuple(Goal(measure, bound) for measure, bound in bounds.items())


def both(loss: str, shape: tuple[int, ...], value: Goals = (), grad: Goals = (), **more: Any) -> list[Work]:
    """The value of a loss and its value with gradient, each with its own goals."""
    return [Work(loss, shape, mode, goals=bounds, **more) for mode, bounds in zip(MODES, (value, grad), strict=True)]


def modes(loss: str) -> tuple[str, ...]:
    """The modes a loss of the registry has."""
    return tuple(mode for mode in MODES if mode == "value" or hasattr(LOSSES[loss], mode))


def goal_work() -> list[Work]:
    """The work that has goals, and what is printed beside it for comparison."""
    large = goals(limit=1.35, peer=2), goals(limit=1.8, peer=5)
    step = goals(**{"torch": 4, "torch.compile": 3})
    work = [
        *both("cross_entropy", (1024, 32000), *large),
        *both("cross_entropy", (256, 128256), *large),
        *both("cross_entropy", (8192, 1000), goals(peer=2), goals(peer=2.5)),
        *both("cross_entropy", (1_000_000, 10), goals(peer=4), goals(peer=6)),
        *both("cross_entropy", (100_000, 100)),
        *both("cross_entropy", (1024, 32000), goals(float32=1), goals(float32=1), dtype="float16"),
        *both("cross_entropy", (1024, 32000), goals(float32=1), goals(float32=1), dtype="bfloat16"),
        *both("cross_entropy", (1024, 32000), dtype="float64"),
        *both("cross_entropy", (1024, 32000), data="confident"),
        *both("cross_entropy", (1024, 32000), data="rising"),
        *both("cross_entropy", (8, 19, 512, 512), axis=1),
        *both("logsumexp", (1024, 32000), *large),
        *both("logsumexp", (8192, 1000), goals(peer=2), goals(peer=2.5)),
        Work("score", (1024, 32000)),
        *both("kl_div_with_logits", (8192, 1000), goals(limit=2)),
        *pointwise_work(),
        *both("cross_entropy", (32, 10), goals(seconds=4e-6)),
        *(
            Work("cross_entropy", (1024, 32000), "value_and_grad", dtype, goals=step, through="torch")
            for dtype in ("float32", "bfloat16")
        ),
        *both("linear_cross_entropy", SHAPES["linear"], through="torch"),
        *both("triplet_margin_loss", (65536, 256), goals(limit=1.5)),
        *both("cosine_similarity", (65536, 256), goals(limit=1.5)),
        *both("multi_margin_loss", (8192, 1000), goals(limit=2)),
        *both("linear_cross_entropy", SHAPES["linear"], goals(peer=1.9), goals(peer=1.5)),  # rows, features, classes
        *both("batch_hard_triplet_loss", SHAPES["embedding"], goals(limit=2.5), goals(limit=4)),
        *both("nt_xent_loss", SHAPES["embedding"], goals(limit=4), goals(limit=8)),
        *both("supcon_loss", SHAPES["embedding"], goals(limit=4), goals(limit=8)),
        *both("ctc_loss", (500, 32, 1000), goals(peer=2), goals(peer=2)),
    ]
    return [item for item in work if item.loss in LOSSES]


# Of pointwise losses: which take powers, and how many times as fast as the fastest peer their gradients should be.
POWERS = {"tweedie_nll_loss", "sigmoid_focal_loss"}
TIMES = {
    "mse_loss": 2.5,
    "l1_loss": 2.5,
    "huber_loss": 2.5,
    "smooth_l1_loss": 2.5,
    "poisson_nll_loss": 4,
    "soft_margin_loss": 4,
    "binary_cross_entropy": 6,
    "binary_cross_entropy_with_logits": 7,
}


def pointwise_work() -> list[Work]:
    """Every pointwise loss, beside one read of its arrays."""
    return [
        item
        for name, loss in LOSSES.items()
        if loss.family == "pointwise"
        for item in both(
            name,
            SHAPES["pointwise"],
            goals(limit=2.5 if name in POWERS else 1.35),
            goals(peer=TIMES[name]) if name in TIMES else (),
        )
    ]


def other_work() -> list[Work]:
    """Every other loss of the registry at its family's shape: measured, without goals."""
    named = {(item.loss, item.mode) for item in goal_work()}
    return [
        Work(name, SHAPES[loss.family], mode)
        for name, loss in LOSSES.items()
        if loss.family in SHAPES
        for mode in modes(name)
        if (name, mode) not in named
    ]


def scaling_work() -> list[Work]:
    """The work that all threads are compared with one thread on: inputs beyond the caches of the cores."""
    bound = goals(threads=1.85)
    work = [
        *both("cross_entropy", (1024, 32000), bound, bound),
        *both("cross_entropy", (4096, 1000), bound, bound),
        *both("cross_entropy", (1_000_000, 10), bound, bound),
        *both("mse_loss", (1 << 24,), bound, bound),
        *both("binary_cross_entropy_with_logits", (1 << 24,), bound, bound),
    ]
    return [item for item in work if item.loss in LOSSES]
