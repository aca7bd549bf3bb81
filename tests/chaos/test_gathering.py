"""What the books are made of: predictions as the gateway lists them, failures as DAGs tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.chaos.books import Accepted, TaskEnd
from tests.chaos.gathering import (
    accepted,
    cancels,
    count_requests,
    epoch,
    failures,
    get_statuses,
    job,
    predictions,
)
from tests.chaos.suite import QUICKROUTER

KEY = {"Authorization": "Bearer any-key"}
BODY = {
    "id": "abc",
    "input": {"prompt": "chaos run 3"},
    "status": "succeeded",
    "created_at": "1970-01-01T00:01:40.500000Z",
    "completed_at": None,
    "error": None,
}
LINE = {
    "dag_id": "chaos_run",
    "task_id": "run",
    "map_index": 3,
    "kinds": ["UncertainCreateError"],
    "message": "lost",
    "at": 100.0,
    "final": True,
    "since": 99.0,
    "until": None,
}


def test_a_prediction_is_read_with_its_instants_as_seconds() -> None:
    assert accepted(BODY) == Accepted("abc", "chaos run 3", "succeeded", 100.5)


@pytest.mark.enable_socket
def test_the_bookkeeping_of_a_sandbox_is_read_with_true_times_whatever_its_clock_shows() -> None:
    with Sandbox(faults=Faults(clock_skew=-86_400)) as sandbox:
        create = {"version": "a/b", "input": {"prompt": "chaos run 3"}}
        url = f"{sandbox.url}/v1/predictions"
        made = requests.post(url, json=create, headers=KEY, timeout=10).json()
        for _ in range(2):
            requests.post(f"{url}/{made['id']}/cancel", headers=KEY, timeout=10)
        requests.get(f"{url}/{made['id']}", headers=KEY, timeout=10)
        requests.get(f"{url}/unknown", headers=KEY, timeout=10)

        (found,) = predictions(sandbox.url)
        found_cancels = cancels(sandbox.url)
        assert get_statuses(sandbox.url) == {"200": 1, "404": 1}
        assert count_requests(sandbox.url) == 5

    shown = epoch(made["created_at"])
    assert shown is not None
    assert found.created_at == pytest.approx(shown + 86_400, abs=0.01)
    assert [cancel.id for cancel in found_cancels] == [found.id] * 2
    assert found.completed_at is not None
    assert found.created_at <= found_cancels[0].at <= found.completed_at


def test_failures_are_read_by_task_and_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "failures.jsonl"
    file.write_text(f'{json.dumps(LINE)}\n{{"dag_id": "cha')

    found = failures(file)

    assert list(found) == [("chaos_run", "run", 3)]
    assert found["chaos_run", "run", 3][0].since == 99.0
    assert failures(tmp_path / "none") == {}


def test_a_job_has_the_tasks_of_its_flow_and_its_index() -> None:
    run, pair = QUICKROUTER.flows
    ends = {("chaos_pair", "pair.submit", 1): TaskEnd("failed")}

    made = job(pair, 1, ends)

    assert (made.prompt, made.submit.state, made.wait) == ("chaos pair 1", "failed", TaskEnd(None))
    assert job(run, 0, {}).wait is None
