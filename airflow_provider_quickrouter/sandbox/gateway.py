"""The state of a sandbox: its settings, predictions, scheduled faults and journal.

With a state file, a start restores exactly the predictions, cancels, and numbers of accepted
creates and of starts. It also restores the number of requests and their peak, without those of up
to a quarter of a second before each kill. The list of requests and the scheduled faults are not
restored.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import string
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.sandbox.bodies import Prices, cost_of
from airflow_provider_quickrouter.sandbox.chaos import Chaos, subject_of
from airflow_provider_quickrouter.sandbox.faults import LASTING, NONE, OWN, Faults, own_faults
from airflow_provider_quickrouter.sandbox.journal import Journal, Limits
from airflow_provider_quickrouter.sandbox.predictions import Record, Shelf, phase_at
from airflow_provider_quickrouter.sandbox.schedule import FaultSchedule, Gets
from airflow_provider_quickrouter.sandbox.store import Event, Store, record_as_json, record_of_json

ID_LETTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 26
# Seconds between two writes of the counts, so that not each poll costs a write.
COUNTS_EVERY = 0.25

START: Event = {"event": "start"}
# A response shows these if the version was given without a hash, or as a hash without a model.
HIDDEN = "hidden"
DEPLOYED = f"dp-{'0' * 32}"  # the version of a deployment, whose model is known to the API alone
NAMELESS = "sandbox/model"
# Models of stability-ai by their version alone.
BY_VERSION = {
    "ac732df83cea7fff18b8472768c88ad041fa750ff7682a21affe81863cbe77e4": "stable-diffusion",
    "7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc": "sdxl",
    "15a3689ee13b0d2616e98820eca31d4c3abcd36672df6afce5cb6feb1d66087d": "stable-diffusion-img2img",
    "95b7223104132402a9ae91cc677285bc5eb997834bd2349fa486f53910fd68b3": "stable-diffusion-inpainting",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a sandbox. Durations are in seconds.

    ``chaos`` is the seed of a plan of faults, ``state`` the state file. ``creates_per_minute`` and
    ``calls_per_minute`` (all other requests) are the API's limits; ``None`` means no limit.
    ``prices`` are of models and deployments, by name.
    """

    api_key: str | None = None
    starting: float = 0.5
    processing: float = 3.0
    faults: Faults = NONE
    chaos: int | None = None
    state: Path | None = None
    creates_per_minute: float | None = None
    calls_per_minute: float | None = None
    prices: Prices = field(default_factory=dict)


class Gateway:
    """The state of a sandbox since the last :meth:`clear`.

    ``starts`` is the number of its starts. ``cancel_requests`` has the ``id`` and ``at`` (epoch
    seconds) of each received cancel request, also of refused and dropped ones.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = None if settings.state is None else Store(settings.state)
        self._counts_written_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self.predictions = Shelf()
        self.schedule = FaultSchedule()
        self.gets = Gets()
        self.cancel_requests: list[dict[str, Any]] = []
        self.journal = Journal()
        self.limits = Limits(self.settings.creates_per_minute, self.settings.calls_per_minute)
        self.chaos = None if self.settings.chaos is None else Chaos(self.settings.chaos)
        self.starts = 0
        self.paging = asyncio.Lock()  # one page at a time, so that polls are handled in between

    def start(self) -> None:
        """Load the state file, and count this start.

        :raises StateError: the file cannot be used.
        """
        if self._store is not None:
            self._reset()
            self._store.replay(self._apply)
            self._store.write_later(START).result()
        self.paging = asyncio.Lock()  # for the event loop of this start
        self.starts += 1

    def stop(self) -> None:
        """Write the last counts to the state file, if there is one."""
        written = self._write_counts()
        if written is not None:
            wait([written])

    def clear(self) -> None:
        """Delete predictions, requests and scheduled faults, also in the state file.

        The settings stay, and the limits start again. No request may be running.
        """
        self._reset()
        self.starts = 1
        if self._store is not None:
            self._store.restart(START)

    async def clear_requests(self) -> None:
        """Delete the requests and their counts."""
        self._reset_requests()
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
        deployed: bool = False,
    ) -> Record:
        """Create and store a prediction; ``names`` are its model (or deployment) and version."""
        (name, version), seed = names, given.get("seed")
        record = Record(
            id="".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH)),
            model=NAMELESS if deployed else name,
            version=DEPLOYED if deployed else version,
            deployment=name if deployed else None,
            input=given,
            seed=seed if type(seed) is int else secrets.randbelow(2**16),
            created_at=now,
            starting=self.settings.starting,
            processing=self.settings.processing,
            deadline=deadline,
            faults=self._lasting(given, faults),
        )
        # Written before the response, so that a prediction that a client knows survives a kill.
        await self._write({"event": "create", "record": record_as_json(record)})
        self._add(record)
        return record

    async def add_cancel_request(self, prediction_id: str | None, now: float) -> None:
        """Store that a cancel request was received, whatever its result."""
        request = {"id": prediction_id, "at": now}
        await self._write({"event": "cancel_request", **request})
        self.cancel_requests.append(request)

    async def cancel(self, record: Record, now: float) -> Record:
        """Cancel a prediction and return it; one that has ended does not change."""
        await self._write({"event": "cancel", "id": record.id, "at": now})
        return self._apply_cancel(record.id, now)

    def counted(self) -> dict[str, Any]:
        """Return the counts as ``GET /sandbox/counts`` shows them."""
        journal = self.journal
        return {
            "starts": self.starts,
            "creates": journal.creates,
            "requests": dict(journal.counts),
            "peak_per_minute": journal.peak_per_minute,
            "cost": self.cost,
        }

    @property
    def cost(self) -> float:
        """The sum of what the predictions have cost."""
        now, prices = time.time(), self.settings.prices
        return float(sum(cost_of(record, now, prices) for record in self.predictions.all() if prices))

    def _lasting(self, given: dict[str, Any], faults: Faults) -> Faults:
        """Return the faults of a new prediction; chaos adds some if none are set."""
        lasting = faults.only(LASTING) | own_faults(given).only(OWN)
        planned = self._plan(given)
        # Faults of the settings are not set for this prediction.
        is_set = lasting.only(LASTING) != self.settings.faults.only(LASTING)
        return lasting if is_set else lasting | planned

    def _plan(self, given: dict[str, Any]) -> Faults:
        if self.chaos is None or (subject := subject_of(given)) is None:
            return NONE
        return self.chaos.for_prediction(subject)

    def _add(self, record: Record) -> None:
        self.predictions.add(record)
        self.journal.creates += 1

    def _apply_cancel(self, prediction_id: str, at: float) -> Record:
        record = self.predictions[prediction_id]
        over = phase_at(record, at).completed_at is not None
        changed = replace(record, cancels=record.cancels + 1, canceled_at=record.canceled_at if over else at)
        self.predictions.replace(changed)
        return changed

    def _apply(self, event: Event) -> None:
        """Apply an event of the state file.

        :raises KeyError, TypeError, ValueError: the event is unknown or invalid.
        """
        match event["event"]:
            case "start":
                self.starts += 1
            case "create":
                record = record_of_json(event["record"])
                self._add(record)
                self.gets.end(record.id)  # the file does not have the number of its GETs
                self._plan(record.input)  # counts it, so that the next prediction gets the next faults
            case "cancel":
                self._apply_cancel(event["id"], event["at"])
            case "cancel_request":
                self.cancel_requests.append({"id": event["id"], "at": event["at"]})
            case "counts":
                self.journal.resume(event["requests"], event.get("peak_per_minute", 0))
            case "clear_requests":
                self._reset_requests()
            case unknown:
                raise ValueError(f"unknown event {unknown!r}")

    def _reset_requests(self) -> None:
        self.journal, self.cancel_requests = Journal(), []

    def _write_counts(self) -> Future[None] | None:
        if self._store is None:
            return None
        journal = self.journal
        counts = {"requests": dict(journal.counts), "peak_per_minute": journal.peak_per_minute}
        return self._store.write_later({"event": "counts", **counts})

    async def _write(self, event: Event) -> None:
        if self._store is not None:
            await self._store.append(event)


def names_of_version(version: str) -> tuple[str, str]:
    """Return the model and version that a response shows for a create's ``version``."""
    model, _, digest = version.rpartition(":") if ":" in version else ("", "", version)
    if re.fullmatch("[0-9a-f]{64}", digest):
        known = f"stability-ai/{BY_VERSION[digest]}" if digest in BY_VERSION else NAMELESS
        return model or known, digest
    return digest, HIDDEN
