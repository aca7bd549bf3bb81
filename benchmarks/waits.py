"""``python -m benchmarks.waits``: triggers that wait, of other providers and ours, side by side.

Each contender has a process of its own, with one event loop and Airflow's own trigger runner, and
a server of its own. All of its waits are begun at once; then they end evenly over a window of
``--seconds``. The columns, each the median of ``--runs`` runs:

- start: seconds from the first trigger's making until the process is idle: for half a second it
  takes less than three quarters of a core, and its loop is never more than 50 ms late;
- CPU a poll: milliseconds of the process in the window, threads included, by polls that the
  server got in it; what the instruments take by themselves is taken off;
- delay: seconds from the end of a wait, as the server knows it, to the trigger's event;
- lag: how late the loop woke a task that slept 10 ms, in the window; milliseconds;
- memory: growth of the process (RSS) from before the waits to the window, by waits; kilobytes;
- lost: waits that were not noticed within ``--patience``, or ended as anything but a success.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import circumstances, markdown, number, version_of
from benchmarks.waiting.contenders import BY_NAME, CONTENDERS, Contender
from benchmarks.waiting.plan import Plan, medians
from dev.airflow_env import FOREIGN_PREFIXES, HOST
from dev.airflow_processes import Component, end
from dev.report import Clock
from dev.waiting import ending_in_order, wait_until

HEAD = (
    *("trigger", "waits", "start s", "CPU ms a poll", "delay s, median", "delay s, 99%"),
    *("connections", "lag ms, 99%", "memory kB a wait", "polls in window", "requests", "lost"),
)


def main() -> int:
    """Measure; return 0 when all contenders ran."""
    options = parser().parse_args()
    clock = Clock()
    with ending_in_order(clock.say), tempfile.TemporaryDirectory() as home:
        results = {waits: measured(options, waits, Path(home), clock) for waits in options.waits}
    sys.stdout.write("\n".join(["", *report(options, results), ""]))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    kind = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser("benchmarks.waits", description=__doc__, formatter_class=kind)
    add = made.add_argument
    add("--waits", type=int, nargs="+", default=[1000, 5000])
    add("--poll-interval", type=float, default=5.0, metavar="S")
    add("--seconds", type=float, default=30.0, metavar="S", help="length of the window")
    add("--settle", type=float, default=30.0, metavar="S", help="the window begins then at last")
    add("--patience", type=float, default=300.0, metavar="S", help="for what comes after it")
    add("--runs", type=int, default=3)
    add("--only", nargs="+", choices=list(BY_NAME), help="default: all")
    add("--tls", action="store_true", help="over TLS, with an authority made for it")
    add("--errors", type=float, default=0.0, metavar="SHARE", help="of answers that are a 503")
    return made


def measured(options: argparse.Namespace, waits: int, home: Path, clock: Clock) -> dict[str, dict[str, Any]]:
    """Run each contender ``--runs`` times, in turns; return the medians by name.

    A run that fails is told and left out.
    """
    names = [c.name for c in CONTENDERS if not options.only or c.name in options.only]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(options.runs):
        for name in names:
            try:
                runs[name].append(run(plan_of(options, name, waits), options, home))
            except (RuntimeError, TimeoutError) as error:
                clock.say(f"{waits} waits, run {turn + 1}, {error}")
                continue
            clock.say(f"{waits} waits, run {turn + 1}, {name}: {json.dumps(runs[name][-1])}")
    return {name: medians(values) for name, values in runs.items() if values}


def plan_of(options: argparse.Namespace, name: str, waits: int) -> Plan:
    """Return what the client has to do."""
    times = (options.poll_interval, options.seconds, options.settle, options.patience)
    return Plan(name, waits, *times)


def run(plan: Plan, options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Run one contender against a fresh server; return its numbers.

    :raises RuntimeError: it failed; the message shows the end of its output.
    """
    with server(options, home) as (url, bundle):
        plan = replace(plan, url=url, bundle=bundle)
        environment = clean() | settings(home) | dict(BY_NAME[plan.name].environment(plan))
        if bundle:
            environment["SSL_CERT_FILE"] = bundle
        command = [sys.executable, "-m", "benchmarks.waiting.client", plan.dumps()]
        client = Component(command, environment, fresh(home / "client.log"))
        try:
            client.start()
            limit = 300 + plan.settle + plan.seconds + plan.patience + plan.waits / 5
            wait_until(lambda: client.returncode() is not None, limit, client.tail)
        finally:
            end([client])
        if client.returncode():
            raise RuntimeError(f"{plan.name} failed:\n{client.tail()}")
        return dict(json.loads(client.tail(1)))


@contextmanager
def server(options: argparse.Namespace, home: Path) -> Iterator[tuple[str, str]]:
    """Run the server; yield its address and the bundle of its authority, "" without TLS."""
    bundle, certificate = authority(home) if options.tls else ("", [])
    command = [sys.executable, "-m", "benchmarks.waiting.server", "--errors", str(options.errors)]
    child = Component([*command, *certificate], clean(), fresh(home / "server.log"))
    try:
        child.start()
        wait_until(lambda: child.tail(1).startswith("port "), 30, child.tail)
        scheme = "https" if bundle else "http"
        yield f"{scheme}://{HOST}:{child.tail(1).split()[1]}", bundle
    finally:
        end([child])


def authority(home: Path) -> tuple[str, list[str]]:
    """Make an authority and a certificate; return its bundle, and the server's arguments."""
    trustme = import_module("trustme")
    bundle, certificate = home / "authority.pem", home / "server.pem"
    made = trustme.CA()
    made.cert_pem.write_to_path(bundle)
    made.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
    return str(bundle), ["--certificate", str(certificate)]


def clean() -> dict[str, str]:
    """Return the environment without what concerns another Airflow, or proxies."""
    drop = (*FOREIGN_PREFIXES, "SSL_", "http_", "https_", "HTTP_", "HTTPS_", "ALL_", "all_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return kept | {"NO_PROXY": "*", "PYTHONUNBUFFERED": "1"}


def settings(home: Path) -> dict[str, str]:
    """Return what the runner needs of an Airflow: a home and a key."""
    return {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def fresh(log: Path) -> Path:
    """Return a log without the lines of an earlier process."""
    log.unlink(missing_ok=True)
    return log


def report(options: argparse.Namespace, results: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Return the lines to print."""
    over = "TLS" if options.tls else "plain HTTP"
    rows = [HEAD, *(row(BY_NAME[n], w, got) for w, all_ in results.items() for n, got in all_.items())]
    return [
        circumstances(),
        f"A poll each {options.poll_interval:g} s, window of {options.seconds:g} s, {over}, "
        f"{options.errors:.1%} of answers are 503; medians of {options.runs} runs.",
        "",
        *markdown(rows),
    ]


def row(contender: Contender, waits: int, got: Mapping[str, Any]) -> Sequence[str]:
    """Return the cells of one contender."""
    title = contender.title
    if contender.package:
        title += f" ({version_of(contender.package)})"
    cells = [title, number(waits), number(got["start_s"], 2, "never")]
    cells += [number(got["cpu_ms"], 3), number(got["median_s"], 2), number(got["late_s"], 2)]
    cells += [number(got["connections"]), number(got["lag_ms"], 1), number(got["memory_kb"], 1)]
    cells += [number(got["polls"]), number(got["requests"])]
    return [*cells, number(got["lost"]) if contender.polls else "-"]


if __name__ == "__main__":
    sys.exit(main())
