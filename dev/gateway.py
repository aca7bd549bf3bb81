"""The gateway of an Airflow on this machine.

The sandbox, started here as a process of its own, or with a key in the environment the real one,
which costs money.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_quickrouter import get_provider_info
from dev.airflow_env import HOST, free_port
from dev.airflow_processes import Component, end
from dev.waiting import wait_until

CONNECTION_ID = "quickrouter_default"
KEY_VARIABLE = "QUICKROUTER_API_KEY"
SANDBOX_KEY = "any-key-opens-the-sandbox"
SANDBOX_LINE = re.compile(r"QuickRouter sandbox on http://\S+")


@contextmanager
def chosen_gateway(
    logs: Path, say: Callable[[str], None], port: int = 0, state: Path | None = None
) -> Iterator[dict[str, str]]:
    """Yield the fields of the connection: the real gateway if there is a key, else a sandbox.

    ``port``: of the sandbox; another free one if it is taken. ``state``: its file, by which it
    knows its predictions, and pictures, again.
    """
    key = os.environ.get(KEY_VARIABLE)
    if key:
        say(f"{KEY_VARIABLE} is set: using the REAL gateway, which COSTS MONEY")
        yield connection(key)
        return
    options = ["--state", str(state)] if state else []
    with sandbox(logs / "sandbox.log", port, options) as process:
        say(f"sandbox runs at {process.url}: no key, no costs (set {KEY_VARIABLE} to use the real gateway)")
        yield connection(SANDBOX_KEY, process.url)


def connection(key: str, url: str | None = None) -> dict[str, str]:
    """Return the fields of an Airflow connection; without ``url`` it means the real gateway.

    The sandbox shows each prediction on a page of its own: the link of the tasks leads there.
    Its pictures have a private address.
    """
    fields = {"conn_type": "quickrouter", "password": key}
    if not url:
        return fields
    names = get_provider_info()["connection-types"][0]["conn-fields"]
    # Airflow's form for a change shows only the extras that are there.
    extra = {
        **dict.fromkeys(names),
        "allow_private_addresses": True,
        "console_url": f"{url}/predictions/{{id}}",
    }
    return {**fields, "host": url, "extra": json.dumps(extra)}


def connection_env(fields: dict[str, str]) -> dict[str, str]:
    """Return the environment variable by which Airflow finds the default connection."""
    return {f"AIRFLOW_CONN_{CONNECTION_ID.upper()}": json.dumps(fields)}


class SandboxProcess:
    """A sandbox in a separate process, with the same address after a restart.

    ``port``: another free one if it is taken. ``options``: more of its command line.
    """

    def __init__(self, log: Path, port: int = 0, options: Sequence[str] = ()) -> None:
        log.unlink(missing_ok=True)
        self.port = free_port(port)
        self.url = f"http://{HOST}:{self.port}"
        module = [sys.executable, "-m", "airflow_provider_quickrouter.sandbox"]
        command = [*module, "--port", str(self.port), *options]
        self._child = Component(command, dict(os.environ), log)
        self._starts = 0

    def start(self) -> None:
        """Start it and wait until it responds.

        :raises RuntimeError: it ended; the message shows the end of its log.
        """
        self._starts += 1
        self._child.start()
        wait_until(self._answers, 30, lambda: f"the sandbox does not start:\n{self._child.tail()}")

    def _answers(self) -> bool:
        if self._child.returncode() is not None:
            raise RuntimeError(f"the sandbox ended:\n{self._child.tail()}")
        return len(SANDBOX_LINE.findall(self._child.tail())) >= self._starts

    def stop(self, grace: float = 5.0) -> None:
        """End it: SIGTERM, up to ``grace`` seconds, SIGKILL."""
        end([self._child], grace)

    def kill(self) -> None:
        """End it as the kernel does when memory is short, and collect it."""
        self._child.kill(signal.SIGKILL)
        self.stop(grace=0)


@contextmanager
def sandbox(log: Path, port: int = 0, options: Sequence[str] = ()) -> Iterator[SandboxProcess]:
    """Run the sandbox as a child process.

    :raises RuntimeError: it ended; the message shows the end of its log.
    """
    process = SandboxProcess(log, port, options)
    try:
        process.start()
        yield process
    finally:
        process.stop()
