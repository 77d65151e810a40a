"""Exact sums: as fractions say, for every float there is, on every instruction set, in any segments."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastloss as fl
from fastloss.evaluation.moments import Moments
from fastloss.exactsum import PIECE, UNIT, ExactSum, pieces, tally

REALS = [np.float32, np.float64]


def exact(values):
    return sum(map(Fraction, values.tolist()), Fraction(0))


def summed(values):
    made = ExactSum()
    made.add(values)
    return made


@given(hnp.arrays(st.sampled_from(REALS), st.integers(0, 70), elements={"allow_nan": False, "allow_infinity": False}))
def test_sums_are_exact(values):
    total = summed(values)
    assert Fraction(total.total, UNIT) == exact(values)
    assert ExactSum.from_dict(total.to_dict()).total == total.total
    if len(values):
        mean = exact(values) / len(values)
        try:
            assert total.mean(len(values)) == mean.numerator / mean.denominator
        except OverflowError:
            assert math.isinf(total.mean(len(values)))


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("scale", ["one", "wide", "subnormal", "huge", "cancelling"])
def test_blocks_of_every_size_and_scale(real, size, scale, isa):
    rng = np.random.default_rng(size)
    info = np.finfo(real)
    values = rng.standard_normal(size)
    if scale == "wide":
        values = np.ldexp(values, rng.integers(info.minexp - 20, info.maxexp - 4, size))
    elif scale == "subnormal":
        values = values * float(info.smallest_normal)
    elif scale == "huge":
        values = values * (float(info.max) / 8)
    values = values.astype(real)
    if scale == "cancelling":
        values = np.concatenate([values, -values, [info.smallest_subnormal]]).astype(real)
    with np.errstate(all="raise"):
        assert Fraction(summed(values).total, UNIT) == exact(values)


@pytest.mark.parametrize("odd", [0.0, -0.0, 2.0**-22, 2.0**6, -(2.0**6), 2.0**-149, -1e30])
def test_around_the_sizes_that_are_added_as_integers(odd, isa):
    rng = np.random.default_rng(0)
    full = np.nextafter(np.float32(64), np.float32(0))
    mixed = np.ldexp(rng.uniform(1, 2, 2048), rng.integers(-22, 6, 2048)) * rng.choice([-1, 1], 2048)
    for values in (mixed.astype(np.float32), np.full(2048, full), np.full(2048, -full), np.full(2048, 2.0**-22)):
        for each in (odd, np.nextafter(np.float32(odd), np.float32(0)), np.nextafter(np.float32(odd), np.float32(99))):
            block = values.astype(np.float32)
            assert Fraction(summed(block).total, UNIT) == exact(block)
            block[rng.integers(2048)] = each
            assert Fraction(summed(block).total, UNIT) == exact(block)


@pytest.mark.parametrize("real", REALS)
def test_many_equal_numbers_do_not_overflow(real, isa):
    for value in (np.finfo(real).max, -np.finfo(real).max, real(1 / 3)):
        values = np.full(100_000, value, real)
        assert Fraction(summed(values).total, UNIT) == 100_000 * Fraction(float(value))


@pytest.mark.parametrize("real", REALS)
def test_what_is_not_finite_is_counted(real, isa):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(3000).astype(real)
    finite = values.copy()
    for value, count in ((np.nan, 3), (np.inf, 5), (-np.inf, 7)):
        at = rng.choice(3000, count, replace=False)
        values[at] = value
    finite[~np.isfinite(values)] = 0
    total = summed(values)
    odd = np.isnan(values).sum(), (values == np.inf).sum(), (values == -np.inf).sum()
    assert (total.nan, total.inf, total.minus_inf) == odd
    assert total.nonfinite == sum(odd)
    assert Fraction(total.total, UNIT) == exact(finite)
    assert math.isnan(total.mean(3000))
    assert total.mean(3000, finite=True) == float(exact(finite) / (3000 - total.nonfinite))
    assert summed(np.array([np.inf, 1.0], real)).mean(2) == math.inf
    assert summed(np.array([-np.inf, 1.0], real)).mean(2) == -math.inf
    assert math.isnan(summed(np.array([-np.inf, np.inf], real)).mean(2))
    assert math.isnan(ExactSum().mean(0))


@settings(deadline=None)
@given(st.data())
def test_segments_are_summed_and_counted_apart(data):
    size = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(data.draw(st.sampled_from(REALS)))
    rank, bounds = rng.integers(-1, 6, size), np.array([1, 3, 5])
    first = np.array([0, *sorted(data.draw(st.lists(st.integers(0, size), max_size=5))), size])
    sums, within = tally([a, b], first, rank, bounds)
    for i, (start, end) in enumerate(itertools.pairwise(first.tolist())):
        assert [Fraction(each.total, UNIT) for each in sums[i]] == [exact(a[start:end]), exact(b[start:end])]
        some = rank[start:end][rank[start:end] >= 0]
        assert within[i].tolist() == [(some < bound).sum() for bound in bounds]


@pytest.mark.parametrize("threads", [1, 4])
def test_pieces_cover_everything_once(threads):
    with fl.num_threads(threads):
        for size in (0, 1, PIECE, 5 * PIECE + 1):
            assert pieces(size)[0] == 0
            assert pieces(size)[-1] == size
            assert (np.diff(pieces(size)) >= 0).all()
        assert len(pieces(5 * PIECE + 1)) == threads + 1
        values = np.random.default_rng(0).standard_normal(5 * PIECE + 1)
        assert summed(values).total == summed(values[::-1]).total
        assert summed(values).mean(1) == math.fsum(values)


@given(
    hnp.arrays(
        st.sampled_from(REALS),
        st.integers(1, 30),
        elements={"min_value": -(2.0**60), "max_value": 2.0**60, "allow_nan": False},
    )
)
def test_squares_are_exact_where_float64_is_not(values):
    values = np.where(np.abs(values) < 1e-18, values.dtype.type(0), values)
    moments = Moments()
    moments.add(values)
    fractions = [Fraction(value) for value in values.tolist()]
    count, mean = len(fractions), sum(fractions) / len(fractions)
    assert Fraction(moments.square.total, UNIT) == sum(each * each for each in fractions)
    assert Fraction(moments.deviations(count), UNIT * UNIT) == count * sum((each - mean) ** 2 for each in fractions)


def test_squares_that_are_too_small_or_too_large_for_float64():
    moments = Moments()
    moments.add(np.array([1e-200, 2e-200]))
    assert moments.standard_error(2) >= 0
    moments.add(np.array([1e200]))
    assert moments.square.inf == 1
