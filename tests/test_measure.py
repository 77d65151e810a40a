"""How the benchmark takes its turns: on quiet cores where it can, and saying so where it can not."""

from __future__ import annotations

import itertools

import pytest

measure = pytest.importorskip("bench.measure", reason="the benchmark is only beside the sources")


def counting():
    """A call that counts itself, and its counter."""
    calls = itertools.count()
    return (lambda: next(calls)), calls


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_every_contender_has_its_turns(rounds):
    plan = measure.Plan(rounds, budget=10, turn=0)
    samples = measure.interleave({name: measure.Contender(lambda: None) for name in "abc"}, plan)
    assert {name: len(sample.numbers) for name, sample in samples.items()} == dict.fromkeys("abc", rounds)
    assert all(sample.disturbed == 0 and sample.lost == 0 for sample in samples.values())


@pytest.mark.parametrize("answers", [(False, True, True), (True, False, True, True), (True, False, False, True, True)])
def test_disturbed_turns_are_taken_again(answers):
    """Not quiet before a turn: it waits. Not quiet after it: it does not count."""
    call, calls = counting()
    said = iter(answers)
    samples = measure.interleave({"a": measure.Contender(call)}, measure.Plan(1, 10, turn=0, quiet=lambda: next(said)))
    assert len(samples["a"].numbers) == 1
    assert samples["a"].disturbed == 0
    assert samples["a"].lost > 0
    assert next(said, None) is None
    turns = 1 + (answers[:2] == (True, False))
    assert next(calls) == 2 + 2 * turns  # two beforehand, and two of each turn: one to warm up


def test_patience_ends():
    """Where the cores are never quiet all turns are taken within the budget, and said to be disturbed."""
    samples = measure.interleave(
        {"a": measure.Contender(lambda: None)}, measure.Plan(4, budget=0.1, turn=0, quiet=lambda: False)
    )
    assert len(samples["a"].numbers) == samples["a"].disturbed == 4
    assert 0.1 <= samples["a"].lost < 1
    assert samples["a"].summary()["disturbed"] == 4


def test_the_report_names_what_was_disturbed():
    report, run = pytest.importorskip("bench.report"), pytest.importorskip("bench.run")
    result = run.Result("work", {"fastloss": measure.Sample([1.0, 2.0], disturbed=1), "limit": measure.Sample([1.0])})
    assert report.footnotes(result) == ["turns disturbed by other work on the cores: fastloss 1 of 2"]
    result.samples["fastloss"].disturbed = 0
    assert report.footnotes(result) == []


def test_the_watch_compares_with_its_best(monkeypatch):
    quiet = pytest.importorskip("bench.quiet")
    times = iter([*[2.0] * 20, 2.1, 2.2, 1.0, 1.07, 1.1])
    monkeypatch.setattr(quiet.Watch, "_seconds", lambda self: next(times))
    watch = quiet.Watch()
    assert [watch() for _ in range(5)] == [True, False, True, True, False]


def test_the_watch_measures():
    watch = pytest.importorskip("bench.quiet").Watch()
    assert watch() in (True, False)
    assert 0 < watch._best < 0.1
