"""`python -m bench`: measure, print, and say which goals are met."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fastloss as fl

from . import bridges, evaluation, machine, peers, report
from .measure import Plan
from .process import run_import, run_memory, run_memory_of_products
from .quiet import Watch
from .run import Result, run, run_scaling
from .work import goal_work, other_work, scaling_work


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--filter", metavar="REGEX", help="only work whose name matches, of all there is")
    parser.add_argument("--all", action="store_true", help="also the losses that have no goals")
    parser.add_argument("--list", action="store_true", help="print the names of the work and stop")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contender (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="of each contender, whatever the rounds (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="three rounds, and one turn for what is slow")
    parser.add_argument("--threads", type=int, help="of fastloss, the limits and torch")
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="comma-separated, of %(default)s")
    parser.add_argument("--no-peers", action="store_true", help="fastloss and the limits alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the summary")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is not met")
    options = parser.parse_args()
    unknown = set(options.peers.split(",")) - set(peers.PEERS)
    if unknown:
        parser.error(f"--peers: no peer {', '.join(sorted(unknown))}; there are {', '.join(peers.PEERS)}")
    return options


Job = Callable[[], list[Result]]


def jobs(plan: Plan, threads: int, names: list[str], everything: bool) -> dict[str, Job]:
    """All there is to measure, by name."""
    found: dict[str, Job] = {}
    for work in [*goal_work(), *(other_work() if everything else [])]:
        found[work.name] = lambda work=work: [run(work, plan, names)]  # type: ignore[misc]
    for work in scaling_work():
        found[f"threads: {work.name}"] = lambda work=work: [run_scaling(work, plan, threads)]  # type: ignore[misc]
    found |= bridges.jobs(plan) if names else {}
    found |= evaluation.jobs(plan)
    found["memory of value_and_grad"] = lambda: run_memory(threads, names)
    found["memory of products"] = lambda: run_memory_of_products(threads)
    found["import time"] = lambda: [run_import(max(3, min(9, plan.rounds)))]
    return found


def main() -> int:
    """Run the command line."""
    options = arguments()
    threads = options.threads or fl.get_num_threads()
    fl.set_num_threads(threads)
    plan = Plan(options.rounds, options.seconds)
    if options.quick:
        plan = replace(plan, rounds=3, budget=0.5, least=1)
    if not options.list:
        plan = replace(plan, quiet=Watch())
    names = [] if options.no_peers else options.peers.split(",")
    found = jobs(plan, threads, names, everything=options.all or bool(options.filter))
    chosen = {name: job for name, job in found.items() if re.search(options.filter or "", name)}
    if options.list:
        print("\n".join(chosen))
        return 0

    if names:
        peers.set_threads(threads)
    facts = machine.describe(threads)
    print("\n".join(f"{key:>20}: {value}" for key, value in facts.items()), end="\n\n")
    if machine.busy():
        print("WARNING: this machine is busy with other work; do not trust the ratios\n")
        facts["warning"] = "the machine was busy with other work"
    results: list[Result] = []
    try:
        for number, (name, job) in enumerate(chosen.items(), 1):
            if sys.stderr.isatty():
                print(f"[{number}/{len(chosen)}] {name}", file=sys.stderr)
            for result in job():
                results.append(result)
                report.show(result)
    except KeyboardInterrupt:
        print("interrupted: the rest was not measured", file=sys.stderr)
    facts["load at the end"] = machine.load()
    report.summary(results).show()
    missed = [result.name for result in results if not all(outcome.met for outcome in result.outcomes)]
    reached = sum(len(result.outcomes) for result in results)
    print(f"{reached} goals measured; not met in: {'; '.join(missed) if missed else 'none'}")
    if options.json:
        report.write_json(options.json, facts, results)
    if options.markdown:
        report.write_markdown(options.markdown, facts, results)
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
