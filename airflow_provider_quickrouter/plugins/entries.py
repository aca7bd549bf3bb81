"""Which predictions a run has: what its tasks left in XCom, put together by prediction.

Submit, wait and store tasks each hold the manifest of the same prediction; a card shows it once.
Pure: rows in, entries out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from airflow_provider_quickrouter.api.prediction import PredictionStatus

Place = tuple[str, int]
"""A task instance of a run: task id and map index, -1 if it is not mapped."""

ENDED_BADLY = frozenset({"failed", "upstream_failed", "skipped", "removed"})
"""States of a task that follows its prediction no more, though the prediction may go on."""


class State(StrEnum):
    """How a card stands, in the words of the filter."""

    SUCCEEDED = "succeeded"
    RUNNING = "running"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"


_STATES = {
    PredictionStatus.SUCCEEDED: State.SUCCEEDED,
    PredictionStatus.FAILED: State.FAILED,
    PredictionStatus.CANCELED: State.CANCELED,
    PredictionStatus.ABORTED: State.CANCELED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """An XCom of a task instance, without its value.

    :ivar prediction_id: of a manifest; None where the row tells of stored files.
    :ivar status: the manifest's word.
    :ivar task_state: the task instance's; None before it has one.
    :ivar started: when the task instance started.
    """

    place: Place
    prediction_id: str | None
    status: str = ""
    task_state: str | None = None
    started: datetime | None = None

    @property
    def known(self) -> PredictionStatus:
        """The status in the API's words."""
        return PredictionStatus.of(self.status)


@dataclass(slots=True)
class Entry:
    """A prediction of a run, or files that were stored without one.

    :ivar manifests: rows of its manifests, in the order in which their tasks started.
    :ivar files: the task instances that stored its files, first started first.
    """

    prediction_id: str | None
    manifests: list[Row] = field(default_factory=list)
    files: list[Place] = field(default_factory=list)

    @property
    def best(self) -> Row | None:
        """The row that knows most: of those that are over, else of all, the last one."""
        over = [row for row in self.manifests if row.known.terminal] or self.manifests
        return over[-1] if over else None

    @property
    def places(self) -> list[Place]:
        """Every task instance that has to do with it, in the order of the tasks."""
        return list(dict.fromkeys([row.place for row in self.manifests] + self.files))

    def state(self, run_is_active: bool) -> State:
        """How it stands; lost is what no task follows any more and was never seen to end."""
        best = self.best
        if best is None:
            return State.SUCCEEDED
        if best.known.terminal:
            return _STATES[best.known]
        return State.RUNNING if run_is_active and not self.given_up else State.LOST

    @property
    def given_up(self) -> str | None:
        """The state of the first task that had to do with it and ended badly."""
        states = (row.task_state for row in self.manifests)
        return next((state for state in states if state in ENDED_BADLY), None)


def entries_of(rows: Iterable[Row]) -> list[Entry]:
    """Put rows together: one entry for each prediction, in the order of tasks and map indexes."""
    known = list(rows)
    order = _order_of_tasks(known)
    known.sort(key=lambda row: (order[row.place[0]], row.place[1]))
    made: dict[str | Place, Entry] = {}
    at = {row.place: row.prediction_id for row in known if row.prediction_id is not None}
    for row in known:
        prediction_id = at.get(row.place)
        key = row.place if prediction_id is None else prediction_id
        entry = made.setdefault(key, Entry(prediction_id))
        if row.prediction_id is None:
            entry.files.append(row.place)
        else:
            entry.manifests.append(row)
    return list(made.values())


def _order_of_tasks(rows: Sequence[Row]) -> dict[str, tuple[datetime, str]]:
    """Tasks that started earlier come first, then by name."""
    late = datetime.max.replace(tzinfo=UTC)
    first: dict[str, tuple[datetime, str]] = {}
    for row in rows:
        task_id = row.place[0]
        start = (row.started or late, task_id)
        first[task_id] = min(first.get(task_id, start), start)
    return first
