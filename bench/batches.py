"""Losses over a batch of embeddings as one writes them in torch: with the whole matrix of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def of_all_pairs(torch: Any) -> dict[str, Function]:
    """By the names of the losses."""
    functional = torch.nn.functional

    def same(labels: Any) -> tuple[Any, Any]:
        """Which pairs have one label, and which two."""
        alike = labels[:, None] == labels
        return alike & ~torch.eye(len(labels), dtype=torch.bool), ~alike

    def cosines(x: Any, temperature: float) -> Any:
        unit = functional.normalize(x)
        return unit @ unit.T / temperature

    def batch_hard_triplet_loss(x: Any, labels: Any) -> Any:
        positive, negative = same(labels)
        apart = torch.cdist(x, x)
        far = apart.masked_fill(~positive, -torch.inf).amax(1)
        near = apart.masked_fill(~negative, torch.inf).amin(1)
        return functional.relu(far - near + 5.0).mean()

    def nt_xent_loss(x: Any, labels: Any) -> Any:
        positive, negative = same(labels)
        s = cosines(x, 0.07)
        lse = s.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
        return functional.softplus(lse - s)[positive].mean()

    def supcon_loss(x: Any, labels: Any) -> Any:
        positive, _ = same(labels)
        s = cosines(x, 0.1)
        own = torch.eye(len(x), dtype=torch.bool)
        log_p = s - s.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
        return -((log_p * positive).sum(1) / positive.sum(1)).mean()

    def picking(s: Any) -> Any:
        return functional.cross_entropy(s, torch.arange(len(s)))

    def info_nce_loss(q: Any, p: Any) -> Any:
        return picking(functional.normalize(q) @ functional.normalize(p).T / 0.05)

    def clip_loss(x: Any, y: Any, scale: Any) -> Any:
        s = scale * x @ y.T
        return (picking(s) + picking(s.T)) / 2

    def siglip_loss(x: Any, y: Any, scale: Any, bias: Any) -> Any:
        s = scale * x @ y.T + bias
        return functional.softplus(torch.where(torch.eye(len(x), dtype=torch.bool), -s, s)).sum() / len(x)

    return {
        "batch_hard_triplet_loss": batch_hard_triplet_loss,
        "nt_xent_loss": nt_xent_loss,
        "supcon_loss": supcon_loss,
        "info_nce_loss": info_nce_loss,
        "clip_loss": clip_loss,
        "siglip_loss": siglip_loss,
        "cdist": torch.cdist,
    }
