"""The gallery's queries of the metadata database; nothing else here knows Airflow's tables.

What is read is the same from Airflow 3.1 to 3.3. Columns are named one by one, since whole rows
would load what they are related to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import ColumnElement, Select, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_quickrouter.links import FILES_KEY, MANIFEST_KEY, OPERATOR
from airflow_provider_quickrouter.plugins.cards import ENDED_BADLY, Place, Row

ACTIVE = frozenset({"queued", "running"})  # states of a run that is not over
FINISHED = ENDED_BADLY | {"success"}  # states of a task that is over
PART = 500  # task instances of one statement

TI = TaskInstance.__table__.c
XCOM = XComModel.__table__.c
FIELDS = RenderedTaskInstanceFields.__table__.c
# Whether a task is of one of this provider's operators.
_OURS = or_(TI.operator.like(f"%{OPERATOR}%"), TI.custom_operator_name.like("%quickrouter%"))


@dataclass(frozen=True, slots=True)
class Run:
    """A run, and what can be read of it."""

    session: Session
    dag_id: str
    run_id: str
    state: str

    @property
    def active(self) -> bool:
        """Whether it is not over."""
        return self.state in ACTIVE

    def of(self, table: Any) -> ColumnElement[bool]:
        """Return the condition that a row belongs to this run."""
        return and_(table.dag_id == self.dag_id, table.run_id == self.run_id)


@contextmanager
def opened(dag_id: str, run_id: str) -> Iterator[Run | None]:
    """Yield a run, or None if it does not exist; its queries share a session."""
    with create_session() as session:
        known = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        state = session.scalar(select(DagRun.state).where(*known))
        yield None if state is None else Run(session, dag_id, run_id, str(state))


def rows(run: Run) -> list[Row]:
    """Return what the tasks of a run left in XCom that looks like ours, without the values.

    Other DAGs may use these keys for something else: what does not look like ours is left out.
    """
    value = XComModel.__table__.c.value
    columns = (
        *(XCOM.task_id, XCOM.map_index, XCOM.key, TI.state, TI.start_date),
        (_OURS).label("ours"),
        value["id"].as_string().label("id"),
        value["status"].as_string().label("status"),
        value[(0, "sha256")].as_string().label("sha256"),
    )
    same = [XCOM[name] == TI[name] for name in ("dag_id", "run_id", "task_id", "map_index")]
    query = select(*columns).join_from(XComModel.__table__, TaskInstance.__table__, and_(*same))
    keys = XCOM.key.in_((MANIFEST_KEY, FILES_KEY))
    found = run.session.execute(query.where(run.of(XCOM), keys)).all()
    texts = _kept_as_text(run, found)
    return [row for each in found if (row := _row(each, texts)) is not None]


def _row(found: Any, texts: dict[tuple[str, Place], Any]) -> Row | None:
    place = (found.task_id, found.map_index)
    prediction_id, status, sha256 = found.id, found.status, found.sha256
    value = texts.get((found.key, place))
    if value is not None:
        prediction_id, status, sha256 = _signs(value)
    if found.key == MANIFEST_KEY and not (prediction_id and status):
        return None
    if found.key == FILES_KEY and not sha256:
        return None
    if found.key == FILES_KEY:
        return Row(place, None, "", found.state, found.start_date)
    return Row(place, str(prediction_id), str(status), found.state, found.start_date)


def _signs(value: Any) -> tuple[Any, Any, Any]:
    """Return id and status of a manifest, and the checksum of the first of stored files."""
    if isinstance(value, dict):
        return value.get("id"), value.get("status"), None
    first = value[0] if isinstance(value, list) and value else None
    return None, None, first.get("sha256") if isinstance(first, dict) else None


def _kept_as_text(run: Run, found: Any) -> dict[tuple[str, Place], Any]:
    """Return the values in which the database sees no fields.

    XComs of a task that ended in the triggerer are JSON within a JSON string.
    """
    unseen = [row for row in found if row.ours and not (row.id or row.sha256)]
    return _values(run, [(row.task_id, row.map_index) for row in unseen])


def _values(run: Run, places: Sequence[Place]) -> dict[tuple[str, Place], Any]:
    query = select(XCOM.key, XCOM.task_id, XCOM.map_index, XCOM.value)
    keys = XCOM.key.in_((MANIFEST_KEY, FILES_KEY))
    found = _in_parts(run, query.where(keys), XCOM, places)
    return {(key, (task_id, index)): _decoded(value) for key, task_id, index, value in found}


def _in_parts(run: Run, query: Select[Any], table: Any, places: Sequence[Place]) -> Iterator[Any]:
    """Query many task instances in parts: databases limit the values of a statement."""
    for start in range(0, len(places), PART):
        part = places[start : start + PART]
        same = tuple_(table.task_id, table.map_index).in_(part)
        yield from run.session.execute(query.where(run.of(table), same))


def _decoded(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


def manifests_and_files(
    run: Run, places: Sequence[Place]
) -> tuple[dict[Place, dict[str, Any]], dict[Place, list[Any]]]:
    """Return the whole manifests, and the lists of stored files, of some task instances."""
    values = _values(run, places)
    manifests = {place: value for (key, place), value in values.items() if key == MANIFEST_KEY}
    files = {place: value for (key, place), value in values.items() if key == FILES_KEY}
    return (
        {place: value for place, value in manifests.items() if isinstance(value, dict)},
        {place: value for place, value in files.items() if isinstance(value, list)},
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A task instance."""

    place: Place
    state: str | None
    start: datetime | None
    end: datetime | None
    try_number: int
    label: str | None
    operator: str

    @property
    def over(self) -> bool:
        """Whether it is in a state that lasts."""
        return self.state in FINISHED


_TASK = (
    *(TI.task_id, TI.map_index, TI.state, TI.start_date, TI.end_date, TI.try_number),
    *(TI.rendered_map_index, TI.operator, TI.custom_operator_name),
)


def tasks(run: Run, places: Sequence[Place]) -> dict[Place, Task]:
    """Return some task instances of a run."""
    found = _in_parts(run, select(*_TASK), TI, places)
    return {task.place: task for task in map(_task, found)}


def own_tasks(run: Run) -> list[Task]:
    """Return the task instances of a run that are of this provider's operators."""
    found = run.session.execute(select(*_TASK).where(run.of(TI), _OURS))
    return [_task(row) for row in found]


def _task(row: Any) -> Task:
    place = (row.task_id, row.map_index)
    times = (row.start_date, row.end_date)
    operator = f"{row.operator or ''} {row.custom_operator_name or ''}".strip()
    return Task(place, row.state, *times, row.try_number or 0, row.rendered_map_index, operator)


def inputs(run: Run, places: Sequence[Place] | None = None) -> dict[Place, Any]:
    """Return the rendered ``input`` of task instances, as far as Airflow has stored it.

    :param places: the task instances; None means those of the whole run.
    """
    query = select(FIELDS.task_id, FIELDS.map_index, FIELDS.rendered_fields)
    if places is None:
        found: Iterable[Any] = run.session.execute(query.where(run.of(FIELDS)))
    else:
        found = _in_parts(run, query, FIELDS, places)
    return {
        (task_id, index): fields["input"]
        for task_id, index, fields in found
        if isinstance(fields, dict) and "input" in fields
    }
