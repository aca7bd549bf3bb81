"""``airflow quickrouter ...``: the commands as Airflow finds them, on a database and folders of the test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance as Row
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.batch.journal import Record
from airflow_provider_quickrouter.cli import running
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage.names import owner_of
from airflow_provider_quickrouter.submission.store import STORE_KEY, StoredState
from tests.operators.conftest import PROMPT

Run = Callable[..., Any]
TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
BEGUN_AT = 1_790_000_000.0
INTENT = {"fingerprint": "f" * 64, "begun_at": BEGUN_AT, "max_tries": 0}
DAY = 86_400


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A database of its own, with the tables that the commands read."""
    import_all_models()
    engine = create_engine(f"sqlite:///{tmp_path}/airflow.db")
    tables = [model.__table__ for model in (Row, XComModel, TaskStateStoreModel)]
    Base.metadata.create_all(engine, tables=tables)
    with Session(engine) as session:

        @contextmanager
        def create_session() -> Iterator[Session]:
            yield session

        monkeypatch.setattr("airflow.utils.session.create_session", create_session)
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")  # the commands change it
        yield session


@pytest.fixture
def run(session: Session, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line and return the JSON that it prints."""

    def run(*words: str) -> Any:
        args = get_parser().parse_args(["quickrouter", *words, "--output", "json"])
        capsys.readouterr()
        args.func(args)
        out = capsys.readouterr().out
        return json.loads(out[out.index("[") :])

    return run


def add(session: Session, state: str | None = None, *, task_id: str = "t", **manifest: Any) -> None:
    """Add a task instance with this manifest in XCom."""
    at = TASK | {"task_id": task_id}
    some = {"id": uuid4(), "dag_version_id": uuid4(), "pool": "p", "pool_slots": 1, "run_id": "r"}
    session.execute(insert(Row.__table__).values(**some | at, try_number=1, state=state))
    xcom = {"key": "prediction", "value": manifest, "dag_run_id": 1, "timestamp": datetime.now(UTC)}
    session.execute(insert(XComModel.__table__).values(**xcom | at))


def remember(session: Session, stored: Any, task_id: str = "t", at: float = BEGUN_AT + 9) -> None:
    updated = datetime.fromtimestamp(at, UTC)
    row = TASK | {"task_id": task_id, "key": STORE_KEY, "value": json.dumps(stored), "dag_run_id": 1}
    session.add(TaskStateStoreModel(**row, updated_at=updated))
    session.flush()


def test_airflow_finds_the_commands_by_the_provider_info() -> None:
    with pytest.raises(SystemExit):
        get_parser().parse_args(["quickrouter", "no-such-command"])
    assert get_parser().parse_args(["quickrouter", "running"]).func.args == (running,)


def test_running_lists_what_unfinished_tasks_wait_for(session: Session, run: Run) -> None:
    add(session, "deferred", task_id="wait", id="p1", status="processing")
    add(session, "up_for_retry", task_id="again", id="p2", status="starting")
    add(session, "success", task_id="submit", id="p3", status="starting")
    add(session, "running", task_id="storing", id="p4", status="succeeded")
    add(session, "running", task_id="other", of="another DAG")
    found = {row["task_id"]: (row["id"], row["state"]) for row in run("running")}
    assert found == {"wait": ("p1", "deferred"), "again": ("p2", "up_for_retry")}


def test_uncertain_lists_create_requests_without_an_id(session: Session, run: Run, gateway: Sandbox) -> None:
    gateway.set_faults(Faults(no_list=404), method="GET")
    remember(session, INTENT, "lost")
    remember(session, INTENT | {"reported": True}, "reported", at=BEGUN_AT + 60)
    remember(session, INTENT | {"prediction_id": "p"}, "accepted")
    remember(session, {"other": 1}, "odd")
    rows = {row["task_id"]: row for row in run("uncertain")}
    assert set(rows) == {"lost", "reported"}
    assert rows["lost"]["from"] == "2026-09-21T14:13:20+00:00"
    assert rows["reported"]["until"] == "2026-09-21T14:14:20+00:00"
    assert rows["lost"]["in_list"].startswith("HTTP 404")


def test_uncertain_names_the_predictions_that_the_list_has_of_that_time(
    session: Session, run: Run, gateway: Sandbox
) -> None:
    ids = [
        QuickRouterHook().create_prediction({"prompt": "a cat"}, version=STABLE_DIFFUSION).id for _ in "12"
    ]
    now = time.time()
    remember(session, INTENT | {"begun_at": now}, "now", at=now)
    remember(session, INTENT, "long ago")
    rows = {row["task_id"]: row["in_list"] for row in run("uncertain")}
    assert (set(rows["now"].split()), rows["long ago"]) == (set(ids), "")


def test_uncertain_reads_the_records_of_a_folder(tmp_path: Path, run: Run, gateway: Sandbox) -> None:
    folder = f"file://{tmp_path}/state"
    for n, stored in enumerate([INTENT, INTENT | {"prediction_id": "p"}, None]):
        StoredState(folder, SimpleNamespace(**TASK | {"task_id": f"t{n}"})).set(STORE_KEY, stored)
    assert run("uncertain") == []
    (row,) = run("uncertain", "--durable", folder)
    assert {name: row[name] for name in TASK} == TASK | {"task_id": "t0", "map_index": "-1"}


def test_cancel_cancels_and_says_what_became_of_it(run: Run, gateway: Sandbox) -> None:
    given = {"prompt": PROMPT, "sandbox": {"never": True}}
    prediction = QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION)
    assert run("cancel", prediction.id) == [{"id": prediction.id, "result": "It was canceled."}]
    assert [each["status"] for each in gateway.predictions] == ["canceled"]
    assert "does not know it (HTTP 404)" in run("cancel", "unknown1")[0]["result"]


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    for file in [path, *path.rglob("*")]:
        os.utime(file, (then, then))


def batch(folder: Path, name: str, *, done: bool) -> Path:
    """Make the record of a batch as its operator does."""
    ti = SimpleNamespace(**TASK | {"run_id": name})
    record = Record(f"file://{folder}/{name}.jsonl", owner_of(ti))
    record.read(1)
    record.claim(ti)
    record.write([{"try": 1, "max_tries": 0, "at": 1.0}, {"i": 0, "f": "f", "at": 1.0}])
    if done:
        record.write([{"done": True}])
    record.close()
    return folder / f"{name}.jsonl.record"


@pytest.mark.parametrize("delete", [False, True])
def test_clean_deletes_old_records_of_finished_batches_only(tmp_path: Path, run: Run, delete: bool) -> None:
    old, unfinished = batch(tmp_path, "old", done=True), batch(tmp_path, "unfinished", done=False)
    new = batch(tmp_path, "new", done=True)
    (tmp_path / "old.jsonl").write_text("{}")
    for path in (old, unfinished):
        age(path, 31)
    (row,) = run("clean", f"file://{tmp_path}", *(["--delete"] if delete else []))
    assert (row["run_id"], row["record"]) == ("old", str(old))
    assert old.exists() is not delete
    assert unfinished.exists()
    assert new.exists()
    assert (tmp_path / "old.jsonl").exists()


def test_clean_deletes_old_records_of_tasks_and_nothing_else(tmp_path: Path, run: Run) -> None:
    for task_id in ("old", "new"):
        StoredState(f"file://{tmp_path}", SimpleNamespace(**TASK | {"task_id": task_id})).set(
            STORE_KEY, INTENT
        )
    for name, text in (("a.json", "{}"), ("b.json", "{"), ("c.json", "[]"), ("d.txt", "")):
        (tmp_path / name).write_text(text)
        age(tmp_path / name, 400)
    (old,) = tmp_path.rglob("old-*.json")
    age(old, 8)
    assert run("clean", f"file://{tmp_path}", "--older-than", "9", "--delete") == []
    (row,) = run("clean", f"file://{tmp_path}", "--older-than", "7", "--delete")
    assert (row["task_id"], row["record"]) == ("old", str(old))
    left = {path.name.partition("-")[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"new", "a.json", "b.json", "c.json", "d.txt", "airflow.db"}
