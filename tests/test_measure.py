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
    assert all(sample.disturbed == [] and sample.lost == 0 for sample in samples.values())


@pytest.mark.parametrize("answers", [(False, True, True), (True, False, True, True), (True, False, False, True, True)])
def test_disturbed_turns_are_taken_again(answers):
    """Not quiet before a turn: it waits. Not quiet after it: it does not count."""
    call, calls = counting()
    said = iter(answers)
    samples = measure.interleave({"a": measure.Contender(call)}, measure.Plan(1, 10, turn=0, quiet=lambda: next(said)))
    assert len(samples["a"].numbers) == 1
    assert samples["a"].disturbed == []
    assert samples["a"].lost == answers.count(False)
    assert next(said, None) is None
    turns = 1 + (answers[:2] == (True, False))
    assert next(calls) == 2 + 2 * turns  # two beforehand, and two of each turn: one to warm up


def test_patience_ends():
    """Where the cores are never quiet turns are taken after as many tries of each contender, and told apart."""
    plan = measure.Plan(2, 10, turn=0, tries=3, quiet=lambda: False)
    samples = measure.interleave({name: measure.Contender(lambda: None) for name in "ab"}, plan)
    for sample in samples.values():
        assert (sample.numbers, len(sample.disturbed), sample.lost) == ([], 2, 6)
        assert sample.summary()["disturbed"] == sample.summary()["turns"] == 2


def test_disturbed_turns_count_where_there_are_no_others():
    sample = measure.Sample([], disturbed=[3.0, 5.0])
    assert (sample.median, sample.least) == (4, 3)
    sample.numbers.append(2.0)
    assert (sample.median, sample.least, sample.summary()["turns"]) == (2, 2, 1)


def test_the_report_names_what_was_disturbed():
    report, run = pytest.importorskip("bench.report"), pytest.importorskip("bench.run")
    samples = {"fastloss": measure.Sample([1.0], disturbed=[2.0]), "limit": measure.Sample([1.0])}
    result = run.Result("work", samples)
    assert report.footnotes(result) == ["turns disturbed by other work on the cores: fastloss 1 of 2"]
    samples["fastloss"].disturbed.clear()
    assert report.footnotes(result) == []


def test_the_watch_compares_with_the_best_tenth(monkeypatch):
    quiet = pytest.importorskip("bench.quiet")
    times = iter([1.0, *[2.0] * 19, 2.1, 2.2, 1.5, 1.5, 1.5, 1.6, 1.7])
    monkeypatch.setattr(quiet.Watch, "_seconds", lambda self: next(times))
    watch = quiet.Watch()
    assert [watch() for _ in range(7)] == [True, False, True, True, True, True, False]


def test_the_watch_measures():
    watch = pytest.importorskip("bench.quiet").Watch()
    assert watch() in (True, False)
    assert all(0 < each < 10 for each in watch._times)
