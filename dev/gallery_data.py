"""Runs that are written straight into Airflow's database: what a gallery of any size shows.

As a command it reads the runs as JSON from its input. It is a process of its own since it imports
Airflow with the settings of the one whose database it fills.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass
class FilledTask:
    """A task instance as it should stand in the database.

    :ivar xcoms: by key.
    :ivar given: the rendered field ``input``; None for none.
    :ivar started: and ``ended``: epoch seconds.
    """

    task_id: str
    map_index: int = -1
    state: str | None = "success"
    xcoms: dict[str, Any] = field(default_factory=dict)
    given: Any = None
    started: float | None = None
    ended: float | None = None
    label: str | None = None


@dataclass
class FilledRun:
    """A run of a DAG that is in the database already."""

    dag_id: str
    run_id: str
    tasks: list[FilledTask]
    state: str = "success"


def as_json(runs: list[FilledRun]) -> str:
    """Return runs as the command reads them."""
    return json.dumps([asdict(run) for run in runs])


def from_json(text: str) -> list[FilledRun]:
    """Read what :func:`as_json` made."""
    return [
        FilledRun(**{**run, "tasks": [FilledTask(**task) for task in run["tasks"]]})
        for run in json.loads(text)
    ]


def fill(run: FilledRun, session: Any) -> None:
    """Make the run and its task instances, and leave their XComs and rendered fields."""
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbag import DBDagBag

    dag = DBDagBag().get_latest_version_of_dag(run.dag_id, session=session)
    version = DagVersion.get_latest_version(run.dag_id, session=session)
    if dag is None or version is None:
        raise RuntimeError(f"no DAG {run.dag_id} in the database")
    dag_run = _dag_run(dag, run, session)
    _without_tasks(dag_run, session)
    for task in run.tasks:
        _task_instance(dag, run, task, version, session)
    session.flush()
    session.add_all([each for task in run.tasks for each in _left_by(run, dag_run.id, task)])


def _dag_run(dag: Any, run: FilledRun, session: Any) -> Any:
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    now = datetime.now(UTC)
    began = min((_time(task.started) or now for task in run.tasks), default=now)
    made = dag.create_dagrun(
        run_id=run.run_id,
        run_after=now,
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.TEST,
        state=DagRunState(run.state),
        start_date=began,
        session=session,
    )
    if run.state in ("success", "failed"):
        made.end_date = now
    return made


def _without_tasks(dag_run: Any, session: Any) -> None:
    for made in dag_run.get_task_instances(session=session):
        session.delete(made)
    session.flush()


def _task_instance(dag: Any, run: FilledRun, task: FilledTask, version: Any, session: Any) -> None:
    from airflow.models.taskinstance import TaskInstance

    made = TaskInstance(
        dag.get_task(task.task_id),
        dag_version_id=version.id,
        run_id=run.run_id,
        state=task.state,
        map_index=task.map_index,
    )
    made.try_number = 1
    made.start_date, made.end_date = _time(task.started), _time(task.ended)
    made._rendered_map_index = task.label
    session.add(made)


def _time(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def _left_by(run: FilledRun, dag_run_id: int, task: FilledTask) -> list[Any]:
    """Make what a worker leaves: XComs as the execution API stores them, and its inputs."""
    from airflow.models.xcom import XComModel

    at = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": task.task_id, "map_index": task.map_index}
    left: list[Any] = [
        XComModel(**at, dag_run_id=dag_run_id, key=key, value=value) for key, value in task.xcoms.items()
    ]
    return left + ([] if task.given is None else [_fields(at, task.given)])


def _fields(at: dict[str, Any], given: Any) -> Any:
    """Create rendered fields without an operator, which their class would need."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from sqlalchemy.orm.attributes import instance_state
    from sqlalchemy.orm.instrumentation import manager_of_class

    fields = manager_of_class(RenderedTaskInstanceFields).new_instance()
    instance_state(fields)
    for name, value in {**at, "rendered_fields": {"input": given}}.items():
        setattr(fields, name, value)
    return fields


def main() -> int:
    """Fill in the runs that the input holds; return 0."""
    from airflow.utils.session import create_session

    with create_session() as session:
        for run in from_json(sys.stdin.read()):
            fill(run, session)
    return 0


if __name__ == "__main__":
    sys.exit(main())
