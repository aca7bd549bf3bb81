"""The predictions of a sandbox, found by their ids and by their places."""

from __future__ import annotations

from airflow_provider_quickrouter.sandbox.predictions import Record

PAGE = 100

Page = tuple[list[Record], int | None, int | None]
"""Records, newest first, and the places where the next (older) and the previous page end."""


class Shelf:
    """Predictions, oldest first. A page costs the same however many there are."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._places: dict[str, int] = {}

    def add(self, record: Record) -> None:
        """Put a new prediction at the end."""
        self._places[record.id] = len(self._records)
        self._records.append(record)

    def replace(self, record: Record) -> None:
        """Put a prediction in the place of the one with its id.

        :raises KeyError: when there is none.
        """
        self._records[self._places[record.id]] = record

    def get(self, prediction_id: str) -> Record | None:
        """Return the prediction of an id, if there is one."""
        place = self._places.get(prediction_id)
        return None if place is None else self._records[place]

    def __getitem__(self, prediction_id: str) -> Record:
        return self._records[self._places[prediction_id]]

    def all(self) -> list[Record]:
        """Return all predictions, oldest first."""
        return list(self._records)

    def newest(self, count: int) -> list[Record]:
        """Return at most so many predictions, newest first."""
        return self._records[: -count - 1 : -1]

    def page(self, end: int | None) -> Page:
        """Return the page before the place ``end``, or the newest page."""
        length = len(self._records)
        end = length if end is None else min(end, length)
        start = max(0, end - PAGE)
        previous = min(end + PAGE, length) if end < length else None
        return self._records[start:end][::-1], start or None, previous

    def clear(self) -> None:
        """Forget all predictions."""
        self._places.clear()
        self._records.clear()
