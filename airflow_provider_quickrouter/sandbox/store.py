"""The state file: one JSON object in each line, each about one event.

A line is written to the operating system before the response that depends on it is sent. So it
survives a kill of the process, but not a failure of the machine. Only one sandbox at a time may use
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

# The first key is "event", the name of the event; the other keys are its data.
Event = dict[str, Any]

BEGINNING = b'{"event": "'


class StateError(Exception):
    """The state file cannot be used; the message names the file and the reason."""


class Store:
    """The events of a file, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One thread, so that the lines have the order of the calls.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="quickrouter-sandbox-state")

    def replay(self, apply: Callable[[Event], None]) -> None:
        """Pass each event to ``apply``, and remove a last line that a kill truncated.

        :raises StateError: the file cannot be used, or ``apply`` does not know the event of a line
            (it raises a KeyError, TypeError or ValueError). Then the file is unchanged.
        """
        try:
            with self._path.open("a+b") as file:
                file.seek(0)
                *lines, rest = file.read().split(b"\n")
                for number, line in enumerate(lines, 1):
                    try:
                        apply(json.loads(line))
                    except (KeyError, TypeError, ValueError) as error:
                        raise self._not_a_state_file(number, repr(error)) from error
                # Only a truncated event is removed; anything else is a file of another program.
                if rest[: len(BEGINNING)] != BEGINNING[: len(rest)]:
                    raise self._not_a_state_file(len(lines) + 1, "the line does not begin like an event")
                file.truncate(file.tell() - len(rest))
        except OSError as error:
            raise StateError(f"The state file {self._path} cannot be used: {error}") from error

    async def append(self, event: Event) -> None:
        """Write an event without blocking the event loop.

        :raises OSError: the file cannot be written; then nothing may be accepted.
        """
        await asyncio.wrap_future(self.write_later(event))

    def write_later(self, event: Event) -> Future[None]:
        """Write an event in the background, after the earlier ones."""
        return self._writer.submit(self._write, "ab", event)

    def restart(self, event: Event) -> None:
        """Replace all events by this one. Blocks.

        :raises OSError: the file cannot be written.
        """
        self._writer.submit(self._write, "wb", event).result()

    def _not_a_state_file(self, number: int, reason: str) -> StateError:
        return StateError(f"{self._path} is not a state file: line {number}: {reason}")

    def _write(self, mode: str, event: Event) -> None:
        with self._path.open(mode) as file:
            file.write(json.dumps(event).encode() + b"\n")


def record_as_json(record: Record) -> dict[str, Any]:
    """Return a prediction as JSON for a line."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {**values, "faults": record.faults.given()}


def record_of_json(values: dict[str, Any]) -> Record:
    """Return the prediction of a line.

    :raises KeyError, TypeError, FaultError: the values are of something else.
    """
    return Record(**{**values, "faults": parse_faults(values["faults"])})
