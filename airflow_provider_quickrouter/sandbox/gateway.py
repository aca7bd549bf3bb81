"""Everything that one sandbox knows: its settings, predictions, faults to come and journal.

With a state file it also knows, after a start, what it knew before: predictions, cancels, how many
creates were accepted and how often it was started, all exactly; how many requests came, and their
peak, less up to a quarter of a second of them for each kill. The list of requests and the scheduled
faults begin empty.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import string
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.sandbox.chaos import Chaos, subject_of
from airflow_provider_quickrouter.sandbox.faults import LASTING, NONE, OWN, Faults, own_faults
from airflow_provider_quickrouter.sandbox.journal import Journal, Limits
from airflow_provider_quickrouter.sandbox.predictions import Record, Shelf, phase_at
from airflow_provider_quickrouter.sandbox.schedule import FaultSchedule, Gets
from airflow_provider_quickrouter.sandbox.store import Event, Store, record_as_json, record_of_json

ID_LETTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 26
# Seconds between two writes of the counts: a status request must not cost a write.
COUNTS_EVERY = 0.25

START: Event = {"event": "start"}
# What a response shows for a version that was not named by its hash, and for the model of a version
# that is only a hash.
HIDDEN = "hidden"
NAMELESS = "sandbox/model"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox behaves; durations are seconds.

    ``chaos`` is the seed of a plan of faults; ``state`` is the file that outlives the process.
    ``creates_per_minute`` and ``calls_per_minute`` (all but creates) are the
    limits of the API; ``None`` means that there is none.
    """

    api_key: str | None = None
    starting: float = 0.5
    processing: float = 3.0
    faults: Faults = NONE
    chaos: int | None = None
    state: Path | None = None
    creates_per_minute: float | None = None
    calls_per_minute: float | None = None


class Gateway:
    """One sandbox's state. Predictions are kept, oldest first, until :meth:`clear`.

    ``starts`` is how often the sandbox was started since then. ``cancel_requests`` are all that
    arrived, also the refused and dropped ones: ``id`` and ``at`` (epoch seconds) of each.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = None if settings.state is None else Store(settings.state)
        self._counts_written_at = 0.0
        self._forget()

    def _forget(self) -> None:
        self.predictions = Shelf()
        self.schedule = FaultSchedule()
        self.gets = Gets()
        self.cancel_requests: list[dict[str, Any]] = []
        self.journal = Journal()
        self.limits = Limits(self.settings.creates_per_minute, self.settings.calls_per_minute)
        self.chaos = None if self.settings.chaos is None else Chaos(self.settings.chaos)
        self.starts = 0
        self.paging = asyncio.Lock()  # one page after the other: status requests go between

    def start(self) -> None:
        """Load what the state file knows, and count this start.

        :raises StateError: when the file cannot be used.
        """
        if self._store is not None:
            self._forget()
            self._store.replay(self._apply)
            self._store.hand_over(START).result()
        self.paging = asyncio.Lock()  # of the loop of this start
        self.starts += 1

    def stop(self) -> None:
        """Write the last counts, if they can be written."""
        written = self._write_counts()
        if written is not None:
            wait([written])

    def clear(self) -> None:
        """Forget predictions, requests and scheduled faults, here and in the state file.

        The settings remain, and no limit is used up. No request may be under way.
        """
        self._forget()
        self.starts = 1
        if self._store is not None:
            self._store.restart(START)

    async def clear_requests(self) -> None:
        """Forget the requests, and count from 0 again."""
        self._forget_requests()
        await self._write({"event": "clear_requests"})

    def count(self, kind: str, now: float) -> None:
        """Count a request to the API."""
        self.journal.count(kind, now)
        if now >= self._counts_written_at + COUNTS_EVERY:
            self._counts_written_at = now
            self._write_counts()

    async def accept(
        self,
        given: dict[str, Any],
        names: tuple[str, str],
        faults: Faults,
        now: float,
        deadline: float | None,
    ) -> Record:
        """Make and keep a prediction; ``names`` are its model and version."""
        (model, version), seed = names, given.get("seed")
        record = Record(
            id="".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH)),
            model=model,
            version=version,
            input=given,
            seed=seed if type(seed) is int else secrets.randbelow(2**16),
            created_at=now,
            starting=self.settings.starting,
            processing=self.settings.processing,
            deadline=deadline,
            faults=self._lasting(given, faults),
        )
        # Written first: whatever a client knows to be accepted outlives a kill.
        await self._write({"event": "create", "record": record_as_json(record)})
        self._add(record)
        return record

    async def note_cancel_request(self, prediction_id: str | None, now: float) -> None:
        """Note that a request to cancel a prediction arrived, whatever becomes of it."""
        request = {"id": prediction_id, "at": now}
        await self._write({"event": "cancel_request", **request})
        self.cancel_requests.append(request)

    async def cancel(self, record: Record, now: float) -> Record:
        """Cancel a prediction and return it; one that is over stays as it is."""
        await self._write({"event": "cancel", "id": record.id, "at": now})
        return self._note_cancel(record.id, now)

    def counted(self) -> dict[str, Any]:
        """Return the counts as ``GET /sandbox/counts`` shows them."""
        journal = self.journal
        return {
            "starts": self.starts,
            "creates": journal.creates,
            "requests": dict(journal.counts),
            "peak_per_minute": journal.peak_per_minute,
        }

    def _lasting(self, given: dict[str, Any], faults: Faults) -> Faults:
        """Return the faults that stay with a prediction; chaos adds some if none are asked for."""
        lasting = faults.only(LASTING) | own_faults(given).only(OWN)
        planned = self._plan(given)
        # The settings' own faults are asked for of no prediction in particular.
        asked = lasting.only(LASTING) != self.settings.faults.only(LASTING)
        return lasting if asked else lasting | planned

    def _plan(self, given: dict[str, Any]) -> Faults:
        if self.chaos is None or (subject := subject_of(given)) is None:
            return NONE
        return self.chaos.for_prediction(subject)

    def _add(self, record: Record) -> None:
        self.predictions.add(record)
        self.journal.creates += 1

    def _note_cancel(self, prediction_id: str, at: float) -> Record:
        record = self.predictions[prediction_id]
        over = phase_at(record, at).completed_at is not None
        changed = replace(record, cancels=record.cancels + 1, canceled_at=record.canceled_at if over else at)
        self.predictions.replace(changed)
        return changed

    def _apply(self, event: Event) -> None:
        """Do again what an event of the state file says.

        :raises KeyError, TypeError, ValueError: when it is none.
        """
        match event["event"]:
            case "start":
                self.starts += 1
            case "create":
                record = record_of_json(event["record"])
                self._add(record)
                self.gets.end(record.id)  # how many GETs came before is not in the file
                self._plan(record.input)  # counted, so that the next one has the next fate
            case "cancel":
                self._note_cancel(event["id"], event["at"])
            case "cancel_request":
                self.cancel_requests.append({"id": event["id"], "at": event["at"]})
            case "counts":
                self.journal.resume(event["requests"], event.get("peak_per_minute", 0))
            case "clear_requests":
                self._forget_requests()
            case unknown:
                raise ValueError(f"unknown event {unknown!r}")

    def _forget_requests(self) -> None:
        self.journal, self.cancel_requests = Journal(), []

    def _write_counts(self) -> Future[None] | None:
        if self._store is None:
            return None
        journal = self.journal
        counts = {"requests": dict(journal.counts), "peak_per_minute": journal.peak_per_minute}
        return self._store.hand_over({"event": "counts", **counts})

    async def _write(self, event: Event) -> None:
        if self._store is not None:
            await self._store.append(event)


def names_of_version(version: str) -> tuple[str, str]:
    """Return the model and the version that an answer shows for a create's ``version``."""
    model, _, digest = version.rpartition(":") if ":" in version else ("", "", version)
    if re.fullmatch("[0-9a-f]{64}", digest):
        return model or NAMELESS, digest
    return digest, HIDDEN
