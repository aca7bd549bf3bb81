"""``python -m benchmarks.crowd``: many waits in one event loop, and what a gateway sees of them.

The sandbox runs in a process of its own, and so do ``--waits`` triggers of ours: asyncio tasks in
one loop, which share one connection and wait for predictions that never end. They have been waiting
for ``--age`` seconds, as after a restart of a triggerer, and are watched from their beginning for
``--seconds``; once with the API's list of predictions, under the connection's default budget, and
once without it, under ``--without-list`` requests a minute. The columns:

- budget: requests a minute that the connection allows;
- peak: the most requests within any 60 s, as the sandbox counts them;
- fair share: seconds between two answers for a wait if all had equally many of those that the
  budget carries (a page of the list has 100);
- unanswered: the longest time without an answer, in seconds: of the median wait, and of any;
- lag: how late the loop woke a task that slept 10 ms; milliseconds;
- CPU: share of a core, of the process with the waits; memory: its growth by waits, kilobytes.

It fails if the peak is above the budget, if a wait was without an answer for more than three times
its fair share (and than twice ``poll_interval``), if the lag (99 %) is 100 ms or more, or if a wait
ended or met an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import requests

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.polling.list_poll import PAGE
from airflow_provider_quickrouter.polling.poll import DEFAULT_POLL_INTERVAL
from airflow_provider_quickrouter.polling.rate_limit import DEFAULT_PER_MINUTE, USED
from benchmarks.report import circumstances, markdown, number
from benchmarks.waits import clean, settings
from dev.airflow_processes import Component, end
from dev.gateway import SANDBOX_KEY, connection_env, sandbox
from dev.report import Clock
from dev.waiting import ending_in_order, wait_until

SHARES, LAG = 3, 100.0
"""How many fair shares a wait may be without an answer, and milliseconds of lag (99 %)."""

HEAD = (
    *("waits", "budget", "peak", "fair share s", "unanswered s, median", "unanswered s, longest"),
    *("answers a second", "lag ms, 99%", "lag ms, longest", "CPU", "memory kB a wait"),
)


@dataclass(frozen=True)
class Setting:
    """One way to run: ``options`` are of the sandbox; ``a_request``: answers, at most."""

    title: str
    per_minute: float
    a_request: int
    options: tuple[str, ...] = ()

    def fair_share(self, waits: int) -> float:
        """Return the seconds between two answers for a wait, if all are answered alike."""
        answers_a_second = self.per_minute * USED / 60 * self.a_request
        return waits / answers_a_second

    def most(self, waits: int) -> float:
        """Return the seconds for which a wait may be without an answer."""
        return max(SHARES * self.fair_share(waits), 2 * DEFAULT_POLL_INTERVAL)


@dataclass(frozen=True)
class Result:
    """What was seen: ``client`` as ``benchmarks.crowding`` tells it, ``counts`` as the sandbox."""

    setting: Setting
    waits: int
    client: Mapping[str, Any]
    counts: Mapping[str, Any]

    def faults(self) -> Iterator[str]:
        """Yield what is not as it should be."""
        longest, most = self.client["longest_s"], self.setting.most(self.waits)
        if self.counts["peak_per_minute"] > self.setting.per_minute:
            yield f"{self.counts['peak_per_minute']} requests within 60 s"
        if longest > most:
            yield f"a wait was without an answer for {longest:.1f} s, more than {most:.1f} s"
        if self.client["lag_ms"] >= LAG:
            yield f"the loop was {self.client['lag_ms']:.0f} ms late (99 %)"
        if self.client["answers"] < 0.95 * self.counts["requests"].get("get", 0):
            yield f"only {self.client['answers']} answers were noted: the numbers are wrong"
        for what in ("errors", "over"):
            if self.client[what]:
                yield f"{self.client[what]} {what}, but no prediction has an end"


def main() -> int:
    """Measure and print; return 1 if something is not as it should be."""
    options, clock = parser().parse_args(), Clock()
    with ending_in_order(clock.say), tempfile.TemporaryDirectory() as home:
        results = [measured(each, options, Path(home), clock) for each in settings_of(options)]
    sys.stdout.write("\n".join(["", circumstances(), "", *table(results), ""]))
    faults = [f"BROKEN: {r.setting.title}: {fault}" for r in results for fault in r.faults()]
    sys.stdout.write("".join(f"{fault}\n" for fault in faults))
    return int(bool(faults))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser("benchmarks.crowd", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--waits", type=int, default=20_000)
    made.add_argument("--seconds", type=float, default=120.0)
    made.add_argument("--age", type=float, default=3_600.0, metavar="S")
    made.add_argument("--without-list", type=float, default=60_000.0, metavar="REQUESTS")
    made.add_argument("--only", choices=["list", "no-list"], help="default: both")
    return made


def settings_of(options: argparse.Namespace) -> list[Setting]:
    """Return the ways to run."""
    refusing = ("--fault", "no_list=404")
    ways = {
        "list": Setting("with the list", DEFAULT_PER_MINUTE, PAGE),
        "no-list": Setting("without it", options.without_list, 1, refusing),
    }
    return [way for name, way in ways.items() if options.only in (None, name)]


def measured(setting: Setting, options: argparse.Namespace, home: Path, clock: Clock) -> Result:
    """Run one way against a fresh sandbox."""
    log = home / "sandbox.log"
    with sandbox(log, options=["--starting", "0", *setting.options]) as gateway:
        ids = asyncio.run(create_all(gateway.url, options.waits))
        requests.delete(f"{gateway.url}/sandbox/requests", timeout=60).raise_for_status()
        clock.say(f"{setting.title}: {len(ids)} predictions are made")
        (home / "ids").write_text("\n".join(ids))
        plan = {"ids": str(home / "ids"), "seconds": options.seconds, "age": options.age}
        client = waited(plan, environment(gateway.url, setting, home), home / "client.log")
        counts = requests.get(f"{gateway.url}/sandbox/counts", timeout=60).json()
    result = Result(setting, options.waits, client, counts)
    clock.say(f"{setting.title}: {json.dumps([client, counts])}")
    return result


def environment(url: str, setting: Setting, home: Path) -> dict[str, str]:
    """Return the environment of the process with the waits."""
    extra = {"requests_per_minute": setting.per_minute}
    fields = {"conn_type": "quickrouter", "host": url, "password": SANDBOX_KEY}
    return clean() | settings(home) | connection_env({**fields, "extra": json.dumps(extra)})


def waited(plan: Mapping[str, Any], env: Mapping[str, str], log: Path) -> dict[str, Any]:
    """Run the process with the waits; return what it tells.

    :raises RuntimeError: it failed; the message shows the end of its output.
    """
    log.unlink(missing_ok=True)
    client = Component([sys.executable, "-m", "benchmarks.crowding", json.dumps(plan)], env, log)
    try:
        client.start()
        wait_until(lambda: client.returncode() is not None, plan["seconds"] + 300, client.tail)
    finally:
        end([client])
    if client.returncode():
        raise RuntimeError(f"the waits failed:\n{client.tail()}")
    return dict(json.loads(client.tail(1)))


async def create_all(url: str, count: int, at_once: int = 16) -> list[str]:
    """Make predictions that never end; return their ids, the oldest first."""
    headers = {"Authorization": f"Bearer {SANDBOX_KEY}", "User-Agent": "benchmarks.crowd"}
    made: list[str] = []
    async with aiohttp.ClientSession(headers=headers) as session:
        todo = iter(range(count))
        await asyncio.gather(*(creating(session, url, todo, made) for _ in range(at_once)))
    return made


async def creating(session: aiohttp.ClientSession, url: str, todo: Iterator[int], made: list[str]) -> None:
    """Make one after the other, as long as there is something to do."""
    given = {"prompt": "a crowd", "sandbox": {"never": True}}
    body = {"version": STABLE_DIFFUSION, "input": given}
    for _ in todo:
        async with session.post(f"{url}/replicate/v1/predictions", json=body) as answer:
            answer.raise_for_status()
            made.append(str((await answer.json())["id"]))


def table(results: Sequence[Result]) -> list[str]:
    """Return the lines of the table."""
    return markdown([HEAD, *map(row, results)])


def row(result: Result) -> tuple[str, ...]:
    """Return the cells of one way."""
    setting, client = result.setting, result.client
    return (
        f"{number(result.waits)}, {setting.title}",
        number(setting.per_minute),
        number(result.counts["peak_per_minute"]),
        number(setting.fair_share(result.waits), 1),
        number(client["usual_longest_s"], 1),
        number(client["longest_s"], 1),
        number(client["answers_a_second"]),
        number(client["lag_ms"], 1),
        number(client["longest_lag_ms"], 1),
        f"{client['cpu_share']:.0%}",
        number(client["memory_kb"], 1),
    )


if __name__ == "__main__":
    sys.exit(main())
