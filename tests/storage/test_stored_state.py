"""The record of a task on each kind of storage: what one attempt stores, the next one reads."""

from __future__ import annotations

from airflow_provider_quickrouter.submission.store import StoredState
from tests.tasks import TaskInstance


def test_what_is_stored_replaced_and_deleted_is_what_another_attempt_reads(folder: str) -> None:
    mine, next_attempts = (StoredState(folder, TaskInstance) for _ in range(2))
    assert next_attempts.get("key") is None
    mine.set("key", {"prediction_id": "first"})
    mine.set("key", {"prediction_id": "second"})
    assert StoredState(folder, TaskInstance).get("key") == {"prediction_id": "second"}
    assert next_attempts.get("key") == {"prediction_id": "second"}
    mine.delete("key")
    assert next_attempts.get("key") is None
