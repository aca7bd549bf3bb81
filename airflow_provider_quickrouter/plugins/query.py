"""The gallery's queries of the metadata database; only this module knows Airflow's tables.

The queries work on Airflow 3.1 to 3.3. They name each column, since whole rows would load their
relations, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import ColumnElement, Select, and_, or_, select, tuple_
from sqlalchemy.orm import Session

from airflow_provider_quickrouter.api.prediction import amount_of
from airflow_provider_quickrouter.links import FILES_KEY, MANIFEST_KEY, OPERATOR
from airflow_provider_quickrouter.plugins.cards import STOPPED, Place, Row

ACTIVE = frozenset({"queued", "running"})  # states of a run that has not ended
ENDED = STOPPED | {"success"}  # states of a task that has ended
PART = 500  # task instances of one statement

TI = TaskInstance.__table__.c
XCOM = XComModel.__table__.c
FIELDS = RenderedTaskInstanceFields.__table__.c
KEYS = XCOM.key.in_((MANIFEST_KEY, FILES_KEY))
# The condition that a task has one of this provider's operators.
OWN = or_(TI.operator.like(f"%{OPERATOR}%"), TI.custom_operator_name.like("%quickrouter%"))


@dataclass(frozen=True, slots=True)
class Run:
    """A DAG run, and the session of its queries."""

    session: Session
    dag_id: str
    run_id: str
    state: str

    @property
    def active(self) -> bool:
        """Whether the run has not ended."""
        return self.state in ACTIVE

    def of(self, table: Any) -> ColumnElement[bool]:
        """Return the condition that a row belongs to this run."""
        return and_(table.dag_id == self.dag_id, table.run_id == self.run_id)


@contextmanager
def opened(dag_id: str, run_id: str) -> Iterator[Run | None]:
    """Yield a run, or None if it does not exist; its queries share a session."""
    with create_session() as session:
        same = (DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        state = session.scalar(select(DagRun.state).where(*same))
        yield None if state is None else Run(session, dag_id, run_id, str(state))


def rows(run: Run) -> tuple[list[Row], set[Place]]:
    """Return the manifests and stored files in the XComs of a run, without their values.

    Other DAGs may use these keys for other values, which are left out. The second item is this
    provider's task instances whose values cannot be read, for example references of an XCom backend.
    """
    value = XComModel.__table__.c.value
    columns = (
        # First the place: a row's ``[:2]``.
        *(XCOM.task_id, XCOM.map_index, XCOM.key, TI.state, TI.start_date),
        OWN.label("own"),
        value["id"].as_string().label("id"),
        value["status"].as_string().label("status"),
        value["cost"].as_string().label("cost"),
        value[(0, "sha256")].as_string().label("sha256"),
    )
    same = [XCOM[name] == TI[name] for name in ("dag_id", "run_id", "task_id", "map_index")]
    query = select(*columns).join_from(XComModel.__table__, TaskInstance.__table__, and_(*same))
    found = run.session.execute(query.where(run.of(XCOM), KEYS)).all()
    # XComs of a task that ended in the triggerer are JSON within a JSON string, in which the
    # database finds no fields.
    strings = [row for row in found if row.own and not (row.id or row.sha256)]
    values = _values(run, [row[:2] for row in strings])
    unreadable = {
        row[:2] for row in strings if not _row(row, values) and values.get((row.key, row[:2])) != []
    }
    return [row for each in found if (row := _row(each, values)) is not None], unreadable


def _row(found: Any, values: dict[tuple[str, Place], Any]) -> Row | None:
    place, prediction_id, status, sha256, cost = found[:2], found.id, found.status, found.sha256, found.cost
    value = values.get((found.key, place))
    if isinstance(value, dict):
        prediction_id, status, cost = value.get("id"), value.get("status"), value.get("cost")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        sha256 = value[0].get("sha256")
    if found.key == FILES_KEY:
        return Row(place, None, "", found.state, found.start_date) if sha256 else None
    if not (prediction_id and status):
        return None
    return Row(place, str(prediction_id), str(status), found.state, found.start_date, amount_of(cost))


def _values(run: Run, places: Sequence[Place]) -> dict[tuple[str, Place], Any]:
    query = select(XCOM.key, XCOM.task_id, XCOM.map_index, XCOM.value).where(KEYS)
    found = _in_parts(run, query, XCOM, places)
    return {(key, (task_id, index)): _decoded(value) for key, task_id, index, value in found}


def _in_parts(run: Run, query: Select[Any], table: Any, places: Sequence[Place]) -> Iterator[Any]:
    """Query many task instances in parts, since databases limit the parameters of a statement."""
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
    """Return the complete manifests and lists of stored files of some task instances."""
    values = _values(run, places).items()
    return (
        {place: value for (key, place), value in values if key == MANIFEST_KEY and isinstance(value, dict)},
        {place: value for (key, place), value in values if key == FILES_KEY and isinstance(value, list)},
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A task instance."""

    place: Place
    state: str | None
    try_number: int
    label: str | None
    operator: str

    @property
    def over(self) -> bool:
        """Whether the task has ended."""
        return self.state in ENDED


_TASK = (
    *(TI.task_id, TI.map_index, TI.state, TI.try_number),
    *(TI.rendered_map_index, TI.operator, TI.custom_operator_name),
)


def tasks(run: Run, places: Sequence[Place]) -> dict[Place, Task]:
    """Return some task instances of a run."""
    found = _in_parts(run, select(*_TASK), TI, places)
    return {task.place: task for task in map(_task, found)}


def own_tasks(run: Run) -> list[Task]:
    """Return the task instances of a run with this provider's operators."""
    return [_task(row) for row in run.session.execute(select(*_TASK).where(run.of(TI), OWN))]


def _task(row: Any) -> Task:
    operator = f"{row.operator or ''} {row.custom_operator_name or ''}".strip()
    return Task(row[:2], row.state, row.try_number or 0, row.rendered_map_index, operator)


def inputs(run: Run, places: Sequence[Place] | None = None) -> dict[Place, Any]:
    """Return the rendered ``input`` of task instances, if Airflow has stored it.

    None as ``places`` means the whole run.
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
