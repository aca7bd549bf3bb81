"""The command line: start a sandbox, print its URL, and run until a signal."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_quickrouter.sandbox.faults import KINDS, FaultError, parse_fault_options
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sandbox.store import StateError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox until SIGINT or SIGTERM; return the exit code."""
    parser = _parser()
    settings = vars(parser.parse_args(arguments))
    try:
        settings["faults"] = parse_fault_options(settings.pop("fault"))
    except FaultError as wrong:
        parser.error(str(wrong))
    end = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: end.set())
    try:
        with Sandbox(**settings) as sandbox:
            # The parent process may wait for this line, so it must not stay in a buffer.
            print(f"QuickRouter sandbox on {sandbox.url}", flush=True)
            end.wait()
    except OSError as wrong:
        address = f"{settings['host']}:{settings['port']}"
        print(f"cannot listen on {address}: {wrong}", file=sys.stderr)
        return 1
    except (StateError, ValueError) as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quickrouter-sandbox",
        description="A local gateway with QuickRouter's Replicate routes. It costs nothing.",
        epilog=f"Faults: {', '.join(KINDS)}.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address (default: %(default)s)")
    add("--port", type=int, default=8189, help="port; 0 chooses a free one (default: %(default)s)")
    add("--api-key", help="the only valid key (default: any key is valid)")
    for state, seconds in (("starting", 0.5), ("processing", 3.0)):
        wording = f"seconds that a prediction stays in the state {state} (default: %(default)s)"
        add(f"--{state}", type=_seconds, default=seconds, metavar="S", help=wording)
    wording = "add a fault to all requests; repeatable"
    add("--fault", action="append", default=[], metavar="NAME=VALUE", help=wording)
    wording = (
        "make 14 of 100 requests fail; of 100 predictions 3 fail, 10 start slowly, 20 get odd "
        "responses for some seconds, 5 get delayed responses and 9 contain poison; the seed fixes "
        "the plan"
    )
    add("--chaos", type=int, metavar="SEED", help=wording)
    wording = "store predictions, cancels and counts in this file, which survives a kill of the process"
    add("--state", type=Path, metavar="FILE", help=wording)
    for what, calls in (("creates", "create requests"), ("calls", "other requests to the API")):
        wording = f"maximum number of {calls} in a minute, spread evenly (default: no limit)"
        add(f"--{what}-per-minute", type=_rate, metavar="N", help=wording)
    wording = 'prices of models, as in the connection: {"owner/name": {"per_output": 0.04}} (default: free)'
    add("--prices", type=json.loads, metavar="JSON", help=wording)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 0:  # refuses NaN, too
        raise ValueError("a duration cannot be negative")
    return seconds


def _rate(text: str) -> float:
    per_minute = float(text)
    if not 0 < per_minute < math.inf:
        raise ValueError("a limit must be more than 0")
    return per_minute


if __name__ == "__main__":
    sys.exit(main())
