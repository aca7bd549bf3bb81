"""The file that outlives the process: one JSON object a line, each about one event.

A line is handed to the operating system before the answer that depends on it is sent: so it
outlives a kill of the process, though not a failure of the machine. One sandbox at a time may use
a file.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import parse_faults
from airflow_provider_quickrouter.sandbox.predictions import Record

# What happened: its name under "event", which comes first, and what belongs to it.
Event = dict[str, Any]

BEGINNING = b'{"event": "'


class StateError(Exception):
    """The state file cannot be used; the message names it and says why."""


class Store:
    """The events of a file, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One thread, so that the lines have the order in which they were handed over.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="quickrouter-sandbox-state")

    def replay(self, apply: Callable[[Event], None]) -> None:
        """Give each event to ``apply``, and take off a last line that a kill cut short.

        :raises StateError: when the file cannot be used, or when a line is not an event that
            ``apply`` knows (it raises a KeyError, TypeError or ValueError). The file is untouched.
        """
        try:
            with self._path.open("a+b") as file:
                file.seek(0)
                *lines, rest = file.read().split(b"\n")
                for number, line in enumerate(lines, 1):
                    try:
                        apply(json.loads(line))
                    except (KeyError, TypeError, ValueError) as error:
                        raise self._foreign(number, repr(error)) from error
                # Only the beginning of an event is cut off: else it is another program's file.
                if rest[: len(BEGINNING)] != BEGINNING[: len(rest)]:
                    raise self._foreign(len(lines) + 1, "it does not begin as an event does")
                file.truncate(file.tell() - len(rest))
        except OSError as error:
            raise StateError(f"cannot use the state file {self._path}: {error}") from error

    async def append(self, event: Event) -> None:
        """Write an event, without holding up the event loop.

        :raises OSError: when the file cannot be written; then nothing may be accepted.
        """
        await asyncio.wrap_future(self.hand_over(event))

    def hand_over(self, event: Event) -> Future[None]:
        """Let an event be written, after the ones before it; there is no need to wait for it."""
        return self._writer.submit(self._write, "ab", event)

    def restart(self, event: Event) -> None:
        """Replace all events by this one; it blocks until this is done.

        :raises OSError: when the file cannot be written.
        """
        self._writer.submit(self._write, "wb", event).result()

    def _foreign(self, number: int, reason: str) -> StateError:
        return StateError(f"{self._path} is no state file, see its line {number}: {reason}")

    def _write(self, mode: str, event: Event) -> None:
        with self._path.open(mode) as file:
            file.write(json.dumps(event).encode() + b"\n")


def record_as_json(record: Record) -> dict[str, Any]:
    """Return a prediction as a line holds it."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {**values, "faults": record.faults.given()}


def record_of_json(values: dict[str, Any]) -> Record:
    """Return the prediction of a line.

    :raises KeyError, TypeError, FaultError: when it holds something else.
    """
    return Record(**{**values, "faults": parse_faults(values["faults"])})
