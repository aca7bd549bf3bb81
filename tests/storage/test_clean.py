"""``airflow quickrouter clean`` on each kind of storage."""

from __future__ import annotations

from types import SimpleNamespace

from airflow_provider_quickrouter.batch.journal import Record
from airflow_provider_quickrouter.cli import clean
from airflow_provider_quickrouter.storage.names import owner_of
from airflow_provider_quickrouter.submission.store import STORE_KEY, StoredState
from tests.tasks import TaskInstance


def test_the_records_of_tasks_and_of_finished_batches_are_found_and_deleted(folder: str) -> None:
    StoredState(f"{folder}/state", TaskInstance).set(STORE_KEY, {"fingerprint": "f", "begun_at": 1.0})
    for name in ("finished", "running"):
        record = Record(f"{folder}/{name}.jsonl", owner_of(TaskInstance))
        record.read(1)
        record.claim(TaskInstance)
        record.write([{"i": 0, "f": "f", "at": 1.0}])
        record.write([{"done": True}] if name == "finished" else [])
        record.close()
    args = SimpleNamespace(folder=folder, older_than=-1.0, delete=True)  # also what is new
    found = sorted(row["record"].rpartition("/")[2] for row in clean(args))
    assert found == ["finished.jsonl.record", f"run-{owner_of(TaskInstance)}.json"]
    assert clean(args) == []
    assert StoredState(f"{folder}/state", TaskInstance).get(STORE_KEY) is None
