"""What the books are made of: predictions as the gateway lists them, failures as DAGs tell them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.books import Accepted, TaskEnd
from tests.chaos.gathering import accepted, failures, job
from tests.chaos.suite import QUICKROUTER

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
