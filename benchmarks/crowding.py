"""``python -m benchmarks.crowding PLAN``: the waits of ``benchmarks.crowd``, in their own process.

``PLAN`` is a JSON object: ``ids``, a file of prediction ids, one a line; ``seconds`` to run;
``age``, seconds for which the waits have been going on already. The last line of the output is a
JSON object. When a wait was answered is noted on this side: in ``Schedule.on_step``, through which
each answer goes, of a GET as of a page of the list.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.polling.poll import Again
from airflow_provider_quickrouter.polling.schedule import Entry, Schedule
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from benchmarks.waiting.meter import Watchdog, reading
from benchmarks.waiting.plan import percentile


@dataclass
class Answers:
    """The longest time for which each wait had no answer, in seconds; instants are of one clock."""

    last: dict[str, float] = field(default_factory=dict)
    longest: dict[str, float] = field(default_factory=dict)
    number: int = 0
    errors: int = 0

    def begin(self, prediction_ids: Iterable[str], now: float) -> None:
        """Take up waits."""
        self.last = dict.fromkeys(prediction_ids, now)
        self.longest = dict.fromkeys(self.last, 0.0)

    def note(self, prediction_id: str, now: float) -> None:
        """Take in a good answer."""
        gap = now - self.last[prediction_id]
        self.last[prediction_id] = now
        self.longest[prediction_id] = max(self.longest[prediction_id], gap)
        self.number += 1

    def end(self, now: float) -> list[float]:
        """Return the longest time of each, the one that has not ended yet included."""
        return [max(gap, now - self.last[each]) for each, gap in self.longest.items()]


def instrumented(answers: Answers) -> None:
    """Let each answer that a wait takes in be noted: a good one leaves no trouble behind."""
    on_step, patched = Schedule.on_step, cast(Any, Schedule)

    def noting(self: Schedule, wait: Entry, step: Again | Outcome, now: float) -> None:
        if wait.poll.error:
            answers.errors += 1
        else:
            answers.note(wait.poll.prediction_id, now)
        on_step(self, wait, step, now)

    patched.on_step = noting


async def run(prediction_ids: list[str], seconds: float, age: float) -> dict[str, Any]:
    """Let all wait for so many seconds; return the numbers."""
    answers, watchdog = Answers(), Watchdog()
    instrumented(answers)
    watching = asyncio.create_task(watchdog.run())
    before, since = reading(), time.time()
    answers.begin(prediction_ids, since)
    waits = [asyncio.create_task(waiting(each, since - age)) for each in prediction_ids]
    await asyncio.sleep(seconds)
    after = reading()
    longest = answers.end(after.at)
    over = sum(task.done() for task in waits)
    await end([watching, *waits])
    return {
        "longest_s": max(longest),
        "usual_longest_s": percentile(longest, 50),
        "answers": answers.number,
        "answers_a_second": answers.number / (after.at - since),
        "errors": answers.errors,
        "over": over,
        **lags(watchdog.between, since, after.at),
        "cpu_share": (after.cpu - before.cpu) / (after.at - before.at),
        "memory_kb": (after.memory - before.memory) / 1024 / len(prediction_ids),
    }


async def waiting(prediction_id: str, started_at: float) -> None:
    """Entry as the triggerer does, until the one event."""
    trigger = QuickRouterPredictionTrigger(prediction_id, started_at=started_at)
    async for _ in trigger.run():
        return


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and see them end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def lags(between: Callable[[float, float], list[float]], since: float, until: float) -> dict[str, float]:
    """Return how late the loop woke a task that slept 10 ms, in milliseconds."""
    found = between(since, until)
    return {"lag_ms": 1000 * percentile(found, 99), "longest_lag_ms": 1000 * max(found)}


def main() -> None:
    """Read the command line and run."""
    plan = json.loads(sys.argv[1])
    prediction_ids = Path(plan["ids"]).read_text().split()
    result = asyncio.run(run(prediction_ids, plan["seconds"], plan["age"]))
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
