"""The client, a process of its own: Airflow's own trigger runner with the waits of one contender.

``python -m benchmarks.waiting.client PLAN`` writes its numbers as the last line of its output.
The runner is the one of the triggerer, without a supervisor: it decrypts the arguments, makes the
triggers and one task for each, with log lines as the triggerer writes them, but into nothing. Its
sweep over all triggers once a second is left out, as it costs the same for everyone.

A thread conducts: some waits to warm up, then all; when the process is idle, or ``settle`` seconds
have passed, the window begins, over which the server lets the waits end.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

from airflow.executors.workloads.trigger import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger
from airflow.sdk.log import configure_logging, reset_logging

from benchmarks.waiting.contenders import BY_NAME, Contender
from benchmarks.waiting.meter import Meter, Watchdog, idle_since
from benchmarks.waiting.numbers import Noticed, Window, numbers
from benchmarks.waiting.plan import WARM_UP, Plan

REST = 2.0
"""Seconds in which the process does nothing but measure."""


class Events(deque[Any]):
    """The runner's events, with the epoch second at which each was fired."""

    def __init__(self) -> None:
        super().__init__()
        self.noticed: dict[int, Noticed] = {}

    def append(self, entry: Any) -> None:
        """Note it, as the runner appends it; nobody fetches it."""
        self.noticed[entry.trigger_id] = Noticed(time.time(), entry.event.payload)


class Client:
    """One run."""

    def __init__(self, plan: Plan, contender: Contender) -> None:
        self._plan, self._contender = plan, contender
        self._runner: Any = TriggerRunner()
        self._runner.events = self._events = Events()
        self._watchdog, self._meter = Watchdog(), Meter()
        self._loop: asyncio.AbstractEventLoop

    async def run(self) -> None:
        """Run until the thread that conducts ends the process."""
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watchdog.run())
        self._meter.start()
        threading.Thread(target=self._conduct, daemon=True).start()
        await watching

    def _conduct(self) -> None:
        try:
            result = self._measure()
        except BaseException as error:  # noqa: BLE001
            end({"failed": repr(error)})
        end(result)

    def _measure(self) -> dict[str, Any]:
        plan, patience = self._plan, self._plan.patience if self._contender.polls else 0
        self._create(self._work(WARM_UP))
        wait_for(lambda: len(self._events.noticed) >= len(WARM_UP), min(60, patience))
        waits = self._work(range(plan.waits))
        alone = self._meter.at(time.time() + REST)
        before = self._meter.at(alone.at + REST)
        made = self._create(waits)
        started = wait_for(lambda: self._idle(before.at), plan.settle)
        first, last = self._window()
        wait_for(self._all_noticed, patience)
        window = Window(alone, before, started and max(started, made), first, last)
        counts = self._ask("counts", since=first.at, until=last.at)
        lags = self._watchdog.between(first.at, last.at)
        return numbers(plan, window, lags, self._events.noticed, self._contender.good, counts)

    def _work(self, waits: range) -> list[RunTrigger]:
        """Return what the supervisor would send."""
        path, make = self._contender.classpath, self._contender.arguments
        secrets = [Trigger.encrypt_kwargs(make(number, self._plan)) for number in waits]
        together = zip(waits, secrets, strict=True)
        return [RunTrigger(id=n, classpath=path, encrypted_kwargs=text) for n, text in together]

    def _create(self, work: list[RunTrigger]) -> float:
        """Let the runner make the triggers; return when it has."""
        self._runner.to_create.extend(work)
        asyncio.run_coroutine_threadsafe(self._runner.create_triggers(), self._loop).result()
        return time.time()

    def _idle(self, since: float) -> float | None:
        return idle_since(list(self._meter.readings), list(self._watchdog.lags), since)

    def _window(self) -> tuple[Any, Any]:
        first = self._meter.at(time.time())
        self._ask("begin", waits=self._plan.waits, seconds=self._plan.seconds, at=first.at)
        return first, self._meter.at(first.at + self._plan.seconds)

    def _all_noticed(self) -> bool:
        return len(self._events.noticed) >= self._plan.waits + len(WARM_UP)

    def _ask(self, verb: str, **values: float) -> dict[str, Any]:
        """Tell the server, or ask it; from the thread, on a connection of its own."""
        parts = urlsplit(self._plan.url)
        address = parts.hostname or "", parts.port
        line: HTTPConnection = HTTPConnection(*address, timeout=60)
        if self._plan.bundle:
            trusted = create_default_context(cafile=self._plan.bundle)
            line = HTTPSConnection(*address, timeout=60, context=trusted)
        line.request("GET", f"/control/{verb}?{urlencode(values)}")
        answer: dict[str, Any] = json.load(line.getresponse())
        line.close()
        return answer


def wait_for(probe: Callable[[], Any], seconds: float) -> Any:
    """Call ``probe`` until it returns something, or time is up; return what it returned last."""
    until = time.monotonic() + seconds
    while not (found := probe()) and time.monotonic() < until:
        time.sleep(0.25)
    return found


def end(result: dict[str, Any]) -> NoReturn:
    """Write the numbers and be gone: nothing that still waits is of interest."""
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit("failed" in result)


def main() -> None:
    """Read the command line and run."""
    plan = Plan.loads(sys.argv[1])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
    contender = BY_NAME[plan.name]
    contender.prepare(plan)
    reset_logging()
    with Path(os.devnull).open("wb", buffering=0) as nowhere:
        configure_logging(json_output=True, output=nowhere, sending_to_supervisor=True)
        asyncio.run(Client(plan, contender).run())


if __name__ == "__main__":
    main()
