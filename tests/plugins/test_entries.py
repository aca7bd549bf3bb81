"""How the tasks of a run become cards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_quickrouter.plugins.cards import Row, State, entries_of

START = datetime(2026, 5, 4, tzinfo=UTC)


def row(task_id: str, index: int = -1, **more: object) -> Row:
    order = {"submit": 0, "wait": 1, "store": 2}
    fields: dict[str, object] = {
        "prediction_id": "a",
        "status": "starting",
        "task_state": "success",
        "started": START + timedelta(seconds=order[task_id]),
    }
    return Row((task_id, index), **{**fields, **more})  # type: ignore[arg-type]


def test_a_manifest_that_is_over_wins_over_a_later_one_that_is_not() -> None:
    rows = [row("submit"), row("wait", status="succeeded"), row("store", status="processing")]
    (entry,) = entries_of(rows)
    assert entry.best == rows[1]
    assert entry.places == [("submit", -1), ("wait", -1), ("store", -1)]


def test_the_order_is_that_of_tasks_and_map_indexes_whatever_that_of_the_rows() -> None:
    rows = [row("wait", 1, prediction_id="b"), row("submit", 1, prediction_id="b"), row("submit", 0)]
    assert [entry.prediction_id for entry in entries_of(rows)] == ["a", "b"]


def test_a_task_that_has_not_started_comes_last() -> None:
    rows = [row("submit", prediction_id="b", started=None), row("wait")]
    assert [entry.prediction_id for entry in entries_of(rows)] == ["a", "b"]


def test_files_belong_to_the_prediction_of_the_task_that_stored_them() -> None:
    rows = [row("submit"), row("store", prediction_id=None), row("store", status="succeeded")]
    (entry,) = entries_of(rows)
    assert entry.files == [("store", -1)]


def test_files_without_a_prediction_stand_alone_and_are_good() -> None:
    (entry,) = entries_of([row("store", 3, prediction_id=None)])
    assert (entry.prediction_id, entry.places, entry.best) == (None, [("store", 3)], None)
    assert entry.state(run_is_active=True) is State.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "task_state", "active", "state"),
    [
        ("succeeded", "failed", False, State.SUCCEEDED),
        ("failed", "failed", True, State.FAILED),
        ("canceled", "failed", True, State.CANCELED),
        ("aborted", "failed", True, State.CANCELED),
        ("processing", "deferred", True, State.RUNNING),
        ("processing", "up_for_retry", True, State.RUNNING),
        ("brand new word", "running", True, State.RUNNING),
        ("processing", "failed", True, State.LOST),
        ("starting", "success", False, State.LOST),
    ],
)
def test_the_state_of_a_card(status: str, task_state: str, active: bool, state: State) -> None:
    (entry,) = entries_of([row("wait", status=status, task_state=task_state)])
    assert entry.state(active) is state
