"""Inputs for the losses over a batch of embeddings: shapes are (embeddings, width)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from case import Case, Shape

from fastloss.reference import REFERENCES

Array = npt.NDArray[np.float64]

# What BLAS rounds away of a product is less than this many times what a kernel may of its result.
PRODUCTS = 40


def points(rng: np.random.Generator, shape: Shape) -> Array:
    """Embeddings with equal ones and near ones among them."""
    x: Array = rng.normal(size=shape)
    if len(x) > 6:
        x[3], x[5] = x[1], -x[2]
    return x


def lattice(rng: np.random.Generator, shape: Shape) -> Array:
    """Embeddings whose distances are exact squares' roots: equal and other ones, and none nearly equal."""
    return rng.integers(-3, 4, shape).astype(np.float64)


def hard_negatives(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.normal(size=(shape[0], 2, shape[1]))


def few_labels(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.int64]:
    """Repeated labels, and one that is not."""
    labels = rng.integers(-2, 1 + shape[0] // 5, shape[0])
    labels[: shape[0] // 9] = 1000
    labels[:1] = -5
    return labels


def one_label(rng: np.random.Generator, shape: Shape) -> npt.NDArray[np.uint8]:
    return np.ones(shape[0], np.uint8)


def upstream(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.normal(size=(shape[0], shape[0]))


def upstream_condensed(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.normal(size=shape[0] * (shape[0] - 1) // 2)


def of_products(name: str, **arguments: Any) -> tuple[Any, ...]:
    """The largest value and the largest slope of each kind: what products are rounded to is measured against those."""
    terms = REFERENCES[name].terms(**arguments)
    value, *grads = (PRODUCTS * np.max(np.abs(each), initial=0.0) for each in (terms.value, *terms.grads))
    return value, tuple(grads) if len(grads) > 1 else grads[0]


def number(x: float) -> Any:
    return lambda rng, shape: np.asarray(x)


def case(name: str, operands: dict[str, Any], *variants: dict[str, Any]) -> tuple[str, Case]:
    return name, Case(operands, ({}, *variants), functools.partial(of_products, name), axes=2)


BATCH = {"embeddings": points, "labels": few_labels}
TRIPLETS = {"embeddings": lattice, "labels": few_labels, "margin": 1.3}
METRICS = (
    {"metric": "squared"},
    {"metric": "cosine", "embeddings": points},
    {"soft_margin": True},
    {"labels": one_label},
)
SIDES = {"query": points, "positive": points, "negatives": hard_negatives}
FEATURES = {"image": points, "text": points}

EMBEDDING: dict[str, Case] = dict(
    [
        case(
            "cdist", {"x1": points, "x2": points}, *({"p": p, "grad_output": upstream} for p in (2, 1, 0, 3.0, np.inf))
        ),
        case("pdist", {"input": points}, *({"p": p, "grad_output": upstream_condensed} for p in (2, 1, 0.5))),
        case("batch_all_triplet_loss", TRIPLETS, *METRICS),
        case("batch_hard_triplet_loss", TRIPLETS, *METRICS),
        case("batch_semihard_triplet_loss", TRIPLETS, *METRICS),
        case(
            "contrastive_loss",
            {**BATCH, "embeddings": lattice, "normalize": False, "pos_margin": 1.3, "neg_margin": 4.3},
            {"embeddings": points, "normalize": True, "pos_margin": 0.3, "neg_margin": 1.2},
            {"metric": "squared"},
            {"metric": "cosine", "embeddings": points, "pos_margin": 0.3, "neg_margin": 1.2},
        ),
        case("circle_loss", BATCH, {"m": 0.2, "gamma": 8.0}, {"labels": one_label}),
        case("nt_xent_loss", BATCH, {"temperature": 0.5}, {"labels": one_label}, {"labels": 1}),
        case("supcon_loss", BATCH, {"temperature": 1.0}, {"labels": one_label}, {"labels": 1}),
        case(
            "info_nce_loss",
            SIDES,
            {"symmetric": True, "temperature": 0.5},
            {"in_batch": False},
            {"similarity": "dot", "temperature": 2.0},
        ),
        case("clip_loss", {**FEATURES, "scale": number(2.0)}, {"scale": number(-0.5)}),
        case("siglip_loss", {**FEATURES, "scale": number(2.0), "bias": number(-3.0)}),
    ]
)
