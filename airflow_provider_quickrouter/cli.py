"""``airflow quickrouter ...``: uncertain and running predictions, canceling, and old records.

Airflow 3.2 and later find the commands by the provider info; on earlier versions run
``python -m airflow_provider_quickrouter.cli ...``. Airflow imports this module for each of its own
commands, too, so functions import what they need.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ActionCommand, Arg, GroupCommand, core_commands

from airflow_provider_quickrouter.storage.names import TASK, task_of

Row = dict[str, Any]
UNFINISHED = ("running", "deferred", "up_for_reschedule", "up_for_retry", "scheduled", "queued")

CONN_ID = Arg(("--conn-id",), default="quickrouter_default", help="connection (default: %(default)s)")
DURABLE = Arg(("--durable",), help="folder of durable=, if tasks have one")
IDS = Arg(("prediction_id",), nargs="+", help="as in XCom, or in the console")
FOLDER = Arg(("folder",), help="folder of durable=, or of the results of batches")
DAYS = Arg(("--older-than",), type=float, default=30.0, metavar="DAYS", help="(default: %(default)s)")
DELETE = Arg(("--delete",), action="store_true", help="delete them (default: list them)")


def commands() -> list[GroupCommand]:
    """Return the commands. Airflow calls this."""
    actions = [
        (uncertain, "list create requests whose response was lost", (DURABLE, CONN_ID)),
        (running, "list predictions that tasks wait for", ()),
        (cancel, "cancel predictions", (IDS, CONN_ID)),
        (clean, "list or delete old records of tasks and of finished batches", (FOLDER, DAYS, DELETE)),
    ]
    listed = [
        ActionCommand(do.__name__, text, partial(_print, do), (*args, ARG_OUTPUT))
        for do, text, args in actions
    ]
    return [GroupCommand("quickrouter", "Manage predictions of QuickRouter", listed)]


def uncertain(args: Any) -> list[Row]:
    """Return each create request without an id: its time, and what the API's list has of that time."""
    from airflow_provider_quickrouter.api.errors import QuickRouterError
    from airflow_provider_quickrouter.submission.reconcile import MARGIN
    from airflow_provider_quickrouter.submission.record import Attempt

    rows, created, unread = list[Row](), list[tuple[str, float]](), ""
    for task, stored, until, _ in (*_in_database(), *(_in_folder(args.durable) if args.durable else ())):
        attempt = Attempt.from_json(stored)
        if attempt and not (attempt.prediction_id or attempt.done):
            rows.append({**task, "from": attempt.begun_at, "until": until})
    try:
        created = _listed(args.conn_id, min(row["from"] for row in rows) - MARGIN) if rows else []
    except QuickRouterError as error:
        unread = str(error)
    for row in rows:
        start, end = row["from"] - MARGIN, row["until"] + MARGIN
        row["in_list"] = unread or " ".join(id for id, at in created if start <= at <= end)
        row["from"], row["until"] = _time(row["from"]), _time(row["until"])
    return rows


def running(args: Any) -> list[Row]:
    """Return the predictions that unfinished tasks have in XCom and that are not over."""
    from airflow.models import xcom
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from airflow_provider_quickrouter.api.prediction import PredictionStatus
    from airflow_provider_quickrouter.links import MANIFEST_KEY

    model: Any = getattr(xcom, "XComModel", None) or xcom.XCom  # Airflow 3, Airflow 2
    task = [getattr(TaskInstance, name) for name in TASK]
    same = (getattr(model, name) == column for name, column in zip(TASK, task, strict=True))
    where = (*same, model.key == MANIFEST_KEY, TaskInstance.state.in_(UNFINISHED))
    rows = []
    with create_session() as session:
        for row in session.execute(select(*task, TaskInstance.state, model.value).where(*where)):
            manifest = model.deserialize_value(row)
            # Other DAGs may use this key for other values.
            known = isinstance(manifest, dict) and {"id", "status"} <= manifest.keys()
            if known and not PredictionStatus.of(manifest["status"]).terminal:
                rows.append({**task_of(row), "state": row.state, "id": manifest["id"]})
    return rows


def cancel(args: Any) -> list[Row]:
    """Cancel predictions, and return what became of each."""
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
    from airflow_provider_quickrouter.submission.cancel import cancel

    hook = QuickRouterHook(args.conn_id)
    return [{"id": id, "result": cancel(hook, id)} for id in args.prediction_id]


def clean(args: Any) -> list[Row]:
    """Return old records, and delete them if that is wanted."""
    rows = []
    for task, _, written, (fs, place) in _in_folder(args.folder):
        if time.time() - written > args.older_than * 86_400:
            rows.append({**task, "written": _time(written), "record": place})
            if args.delete:
                fs.rm(place, recursive=True)
    return rows


Record = tuple[Row, Any, float, Any]  # task, content, when it was last written, where it is


def _in_database() -> Iterator[Record]:
    """Yield the records in Airflow's store."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from airflow_provider_quickrouter.submission.store import STORE_KEY

    with suppress(ImportError):  # Airflow before 3.3
        from airflow.models.task_state_store import TaskStateStoreModel as Model

        with create_session() as session:
            for row in session.scalars(select(Model).where(Model.key == STORE_KEY)):
                yield task_of(row), json.loads(row.value), row.updated_at.timestamp(), None


def _in_folder(folder: str) -> Iterator[Record]:
    """Yield the records of tasks, and those of finished batches without their content."""
    from airflow_provider_quickrouter.storage.target import open_argument
    from airflow_provider_quickrouter.submission.store import STORE_KEY

    path = open_argument("folder", folder)
    fs = path.fs
    for place in (place for place in fs.find(path.path) if place.endswith(".json")):
        with suppress(TypeError, KeyError, ValueError):  # a file of something else
            found = json.loads(fs.cat_file(place))
            task, batch = {name: found[name] for name in TASK}, place.removesuffix(".record/owner.json")
            if batch == place:
                yield task, found[STORE_KEY], fs.modified(place).timestamp(), (fs, place)
                continue
            last = max(file for file in fs.find(f"{batch}.record") if file.endswith(".jsonl"))
            if fs.cat_file(last).endswith(b'{"done": true}\n'):
                yield task, None, fs.modified(last).timestamp(), (fs, f"{batch}.record")


def _listed(conn_id: str, since: float) -> list[tuple[str, float]]:
    """Return ids and times of the API's list, newest first, back to an instant."""
    from airflow_provider_quickrouter.api.protocol import page, read_page
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    found, cursor, exchange = list[tuple[str, float]](), None, QuickRouterHook(conn_id).exchange
    while True:
        predictions, cursor = read_page(exchange(page(cursor)), time.time())
        found += [(one.id, one.created_at.timestamp()) for one in predictions if one.created_at]
        if not cursor or not predictions or (found and found[-1][1] < since):
            return found


def _time(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")


def _print(command: Callable[[Any], list[Row]], args: Any) -> None:
    from airflow.cli.simple_table import AirflowConsole

    # As Airflow's own commands do: else the SDK finds no connection of the database.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    AirflowConsole().print_as(data=command(args), output=args.output)


if __name__ == "__main__":
    from airflow.providers_manager import ProvidersManager

    if not hasattr(ProvidersManager, "cli_command_functions"):  # Airflow before 3.2
        core_commands.extend(commands())
    sys.argv[:1] = ["airflow", "quickrouter"]
    from airflow.__main__ import main

    main()
