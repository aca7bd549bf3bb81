"""Faults of a prediction's GETs that depend on the GETs before: odd responses, held responses.

What was sent before is known to this process alone. So a restart of the sandbox ends these faults
for all predictions that it had accepted before.
"""

from __future__ import annotations

from collections import Counter

from airflow_provider_quickrouter.sandbox.faults import NONE, Faults
from airflow_provider_quickrouter.sandbox.predictions import Record


class Gets:
    """The GETs of those predictions whose faults depend on them. Instants are epoch seconds."""

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._good: Counter[str] = Counter()
        self._odd_since: dict[str, float] = {}
        self._ended: set[str] = set()

    def faults_of(self, record: Record, now: float) -> Faults:
        """Return the faults of a prediction's next GET, which arrives at ``now``; count it."""
        hung, odd = record.faults.hung_gets, record.faults.odd_gets
        if record.id in self._ended or (hung is None and odd is None):
            return NONE
        self._sent[record.id] += 1
        if hung is not None and self._sent[record.id] <= hung["times"]:
            return Faults(hang=hung["seconds"])
        if odd is None or self._good[record.id] < odd.get("after", 0):
            return NONE
        since = self._odd_since.setdefault(record.id, now)
        return Faults(odd_response=odd["response"]) if now < since + odd["seconds"] else NONE

    def note_good(self, record: Record) -> None:
        """Note that the response to a GET holds the whole prediction."""
        if record.faults.odd_gets is not None:
            self._good[record.id] += 1

    def end(self, prediction_id: str) -> None:
        """Let the GETs of a prediction have no such faults any more."""
        self._ended.add(prediction_id)

    def clear(self) -> None:
        """Forget all GETs."""
        self._sent.clear()
        self._good.clear()
        self._odd_since.clear()
        self._ended.clear()
