"""Everything that one sandbox knows: its settings, predictions, faults to come and journal."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import NONE, Faults, parse_faults
from airflow_provider_quickrouter.sandbox.journal import Journal
from airflow_provider_quickrouter.sandbox.predictions import Record, phase_at
from airflow_provider_quickrouter.sandbox.schedule import FaultSchedule

ID_LETTERS = string.ascii_lowercase + string.digits
ID_LENGTH = 26
PAGE = 100
HIDDEN = "hidden"
"""What an answer shows for a version that was not named by its hash."""

NAMELESS = "sandbox/model"
"""What an answer shows for the model of a version that is only a hash."""

LASTING = frozenset(
    {
        "starting",
        "processing",
        "never",
        "fail",
        "output",
        "status_word",
        "not_found_for",
        "evil_urls",
        "expire_after",
    }
)
"""Faults of a create that stay with its prediction, wherever they were asked for."""

OWN = LASTING | {"latency", "hang", "no_cancel"}
"""Faults that stay with a prediction when its own input asks for them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a sandbox behaves when nothing is wrong; durations are seconds."""

    api_key: str | None = None
    starting: float = 0.5
    processing: float = 3.0
    faults: Faults = NONE


class Gateway:
    """One sandbox's state. Predictions are kept, oldest first, until :meth:`clear`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.predictions: dict[str, Record] = {}
        self.schedule = FaultSchedule()
        self.journal = Journal()

    def clear(self) -> None:
        """Forget predictions, requests and scheduled faults; the settings remain."""
        self.predictions.clear()
        self.schedule.clear()
        self.journal.clear()

    def accept(
        self,
        given: dict[str, Any],
        names: tuple[str, str],
        faults: Faults,
        now: float,
        deadline: float | None,
    ) -> Record:
        """Make and keep a prediction; ``names`` are its model and version."""
        model, version = names
        record = Record(
            id=_new_id(),
            model=model,
            version=version,
            input=given,
            seed=_seed(given),
            created_at=now,
            starting=self.settings.starting,
            processing=self.settings.processing,
            deadline=deadline,
            faults=faults.only(LASTING) | own_faults(given).only(OWN),
        )
        self.keep(record)
        self.journal.creates += 1
        return record

    def keep(self, record: Record) -> None:
        """Put a prediction in the place of the one with its id, or behind all others."""
        self.predictions[record.id] = record

    def cancel(self, record: Record, now: float) -> Record:
        """Cancel a prediction and return it; one that is over stays as it is."""
        if phase_at(record, now).completed_at is None:
            record = replace(record, canceled_at=now)
            self.keep(record)
        return record

    def page(self, end: int | None) -> tuple[list[Record], int | None, int | None]:
        """Return the page of records before the place ``end`` (``None``: the newest), newest first.

        The other two are the places where the next (older) and the previous page end, if any.
        """
        records = list(self.predictions.values())
        end = len(records) if end is None else min(end, len(records))
        start = max(0, end - PAGE)
        previous = min(end + PAGE, len(records)) if end < len(records) else None
        return records[start:end][::-1], start or None, previous


def own_faults(given: Any) -> Faults:
    """Return the faults that an input asks for under the name ``sandbox``.

    :raises FaultError: when they are not faults.
    """
    if isinstance(given, dict) and given.get("sandbox") is not None:
        return parse_faults(given["sandbox"])
    return NONE


def names_of_version(version: str) -> tuple[str, str]:
    """Return the model and the version that an answer shows for a create's ``version``."""
    model, _, digest = version.rpartition(":") if ":" in version else ("", "", version)
    if re.fullmatch("[0-9a-f]{64}", digest):
        return model or NAMELESS, digest
    return digest, HIDDEN


def _new_id() -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH))


def _seed(given: dict[str, Any]) -> int:
    seed = given.get("seed")
    return seed if type(seed) is int else secrets.randbelow(2**16)
