"""``python -m benchmarks.schedules``: how late an end is noticed, against how often it is asked.

A simulation: predictions whose times are drawn, and schedules that ask for them on a clock which
only pauses move; the provider's schedules are its own ``Poll`` and ``Histories``. Answers take no
time. Each trial draws a history and then ``PREDICTIONS`` predictions, the same for each schedule,
which do not become a part of that history. The columns, each a mean over all predictions of a
seed, given as the mean of ``--seeds`` seeds and as the worst of them:

- delay: seconds from a prediction's end to the first answer after it;
- requests: questions for a prediction, the one that finds it over included.

"The model changed": a history of runs of 60 s, and now runs of 4 s, which are learned from; told
is how many predictions pass until the mean delay is, and stays, within 0.5 s of the plain one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple

from airflow_provider_quickrouter.polling.history import Run
from benchmarks.asking import Ask, Cost, exponential, fixed, learned, learning, past, plain
from benchmarks.drawing import can_draw
from benchmarks.durations import DISTRIBUTIONS, Draw, lognormal, warm
from benchmarks.report import markdown, number
from benchmarks.schedules_figure import draw
from dev.waiting import ending_in_order

PREDICTIONS = 5
"""Predictions for each history."""

FIGURE = Path(__file__).resolve().parent.parent / "docs" / "figures" / "schedules.svg"

BEFORE, FOLLOWED, CLOSE = 60.0, 60, 0.5
"""Of a model that changed: median of its past runs in seconds, how many new ones are looked at,
and the seconds by which a delay may differ from the plain schedule's."""

Schedule = Callable[[Random, list[Run]], Ask]
"""Makes a way to ask, of a source of jitter and of 30 runs that have been."""

MOST = 30


def after(observations: int) -> Schedule:
    """Return the provider's schedule with a past of so many runs."""
    return lambda random, runs: learned(random, past(runs[:observations]))


SCHEDULES: Mapping[str, Schedule] = {
    "fixed 2 s": lambda random, runs: fixed(2.0),
    "fixed 5 s": lambda random, runs: fixed(5.0),
    "exponential to 10 s": lambda random, runs: exponential(0.5, 1.3, 10.0),
    "exponential to 5 s": lambda random, runs: exponential(0.5, 1.3, 5.0),
    "plain": lambda random, runs: plain(random),
    **{f"learned after {count}": after(count) for count in (0, 5, 10, MOST)},
}


class Target(NamedTuple):
    """The most that a schedule's means may be: seconds of delay, and requests."""

    distribution: str
    schedule: str
    delay: float
    requests: float


TARGETS = (Target("warm", "learned after 10", 1.1, 2.7), Target("mixture", "learned after 30", 1.1, 6.5))


class Means(NamedTuple):
    """Mean delay in seconds and mean requests: over the seeds, and of the worst seed each."""

    delay: float
    worst_delay: float
    requests: float
    worst_requests: float


Table = Mapping[str, Mapping[str, Means]]


def main() -> int:
    """Simulate, print and draw; return 1 if a target is missed."""
    options = parser().parse_args()
    seeds = range(options.seed, options.seed + options.seeds)
    with ending_in_order(lambda text: print_lines([text])):
        table = {
            name: measured(distribution, seeds, options.trials)
            for name, distribution in DISTRIBUTIONS.items()
        }
        changes = [predictions_to_learn(Random(seed), options.trials) for seed in seeds]  # noqa: S311
    missed = list(misses(table))
    print_lines([*report(table, options), "", changed(changes), *missed])
    if can_draw():
        draw(table, options.figure)
    return int(bool(missed))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    kind = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser("benchmarks.schedules", description=__doc__, formatter_class=kind)
    made.add_argument("--seed", type=int, default=1, help="the first one")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--trials", type=int, default=300, help="histories for each seed")
    made.add_argument("--figure", type=Path, default=FIGURE, help="drawn if matplotlib is there")
    return made


def measured(distribution: Draw, seeds: Sequence[int], trials: int) -> dict[str, Means]:
    """Return the means of each schedule under one distribution."""
    seasons = [season(distribution, Random(seed), trials) for seed in seeds]  # noqa: S311
    return {name: means([costs[name] for costs in seasons]) for name in SCHEDULES}


def season(distribution: Draw, random: Random, trials: int) -> dict[str, list[Cost]]:
    """Return what each schedule's predictions cost under one seed."""
    costs: dict[str, list[Cost]] = {name: [] for name in SCHEDULES}
    for _ in range(trials):
        runs = [distribution(random) for _ in range(MOST)]
        now = [distribution(random) for _ in range(PREDICTIONS)]
        jitter = random.random()
        for name, schedule in SCHEDULES.items():
            costs[name] += map(schedule(Random(jitter), runs), now)  # noqa: S311
    return costs


def means(seasons: Sequence[Sequence[Cost]]) -> Means:
    """Return the means over seeds, of what each prediction cost under each seed."""
    delays = [fmean(cost.delay for cost in costs) for costs in seasons]
    requests = [fmean(cost.requests for cost in costs) for costs in seasons]
    return Means(fmean(delays), max(delays), fmean(requests), max(requests))


def predictions_to_learn(random: Random, trials: int) -> int:
    """Return how many predictions pass until the delay is, and stays, close to the plain one."""
    usual = fmean(plain(random)(warm(random)).delay for _ in range(trials * PREDICTIONS))
    delays = [fmean(each) for each in zip(*map(change, [random] * trials), strict=True)]
    far = [place for place, delay in enumerate(delays, start=1) if delay > usual + CLOSE]
    return max(far, default=0)


def change(random: Random) -> list[float]:
    """Return the delays of predictions of a model that has just become faster, in seconds."""
    slow = lognormal(BEFORE)
    ask = learning(random, past([slow(random) for _ in range(MOST)]))
    return [ask(warm(random)).delay for _ in range(FOLLOWED)]


def misses(table: Table) -> Iterator[str]:
    """Yield a line for each target that is missed."""
    for target in TARGETS:
        found = table[target.distribution][target.schedule]
        if found.delay > target.delay or found.requests > target.requests:
            yield f"MISSED: {target}: {found}"


def report(table: Table, options: argparse.Namespace) -> list[str]:
    """Return the lines to print."""
    head = ("distribution, schedule", "delay s", "worst seed", "requests", "worst seed")
    rows = [
        (f"{distribution}, {schedule}", *(number(value, 2) for value in found))
        for distribution, schedules in table.items()
        for schedule, found in schedules.items()
    ]
    told = f"{options.seeds} seeds, {options.trials} histories each, {PREDICTIONS} predictions each"
    return ["", told, "", *markdown([head, *rows])]


def changed(counts: Sequence[int]) -> str:
    """Return the line about a model that has changed."""
    told = f"{number(fmean(counts), 1)} predictions (worst seed {max(counts)})"
    return f"The model changed from {BEFORE:g} s to 4 s: {told} until it is known."


def print_lines(lines: Sequence[str]) -> None:
    """Write lines."""
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    sys.exit(main())
