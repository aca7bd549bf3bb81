"""A run of an example is judged by its states and by what it stored."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from dev.matrix.examples import EXAMPLES, Example, states, wrong_with
from dev.matrix.steps import is_complaint, last_line, verdict
from dev.matrix.table import Outcome
from tests.docs.blocks import ROOT
from tests.docs.test_examples import dag_ids

GOOD = {"run": "success", "submit[-1]": "success"}
ONE = Example("one", pictures=1)


def picture(file: Path) -> Path:
    file.parent.mkdir(parents=True)
    Image.new("RGB", (3, 2)).save(file)
    return file


def test_the_matrix_runs_every_example() -> None:
    texts = [file.read_text() for file in (ROOT / "dags_examples").glob("*.py")]
    ids = [found for text in texts for found in dag_ids(text)]
    assert sorted(example.dag_id for example in EXAMPLES) == sorted(ids)


def test_the_states_are_those_of_this_dags_runs_and_tasks(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        database.execute("create table dag_run (dag_id, state)")
        database.execute("create table task_instance (dag_id, task_id, map_index, state)")
        database.execute("insert into dag_run values ('one', 'success'), ('two', 'failed')")
        database.execute("insert into task_instance values ('one', 'submit', -1, 'success')")
        database.commit()
    assert states(tmp_path / "airflow.db", "one") == GOOD


def test_nothing_is_wrong_with_a_run_that_succeeded_and_stored_its_picture(tmp_path: Path) -> None:
    picture(tmp_path / "id" / "0.png")
    assert wrong_with(ONE, GOOD, tmp_path) == ""


@pytest.mark.parametrize(
    "found",
    [{**GOOD, "submit[-1]": "failed"}, {**GOOD, "wait[-1]": "None"}, {"run": "success"}, {}],
    ids=["failed", "not run", "without tasks", "nothing"],
)
def test_a_run_of_which_not_all_succeeded_is_wrong(found: dict[str, str], tmp_path: Path) -> None:
    picture(tmp_path / "id" / "0.png")
    assert wrong_with(ONE, found, tmp_path).startswith("one: {")


def test_a_picture_that_is_missing_or_broken_is_wrong(tmp_path: Path) -> None:
    assert wrong_with(ONE, GOOD, tmp_path) == "one: 0 pictures stored, not 1"
    picture(tmp_path / "id" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UnidentifiedImageError):
        wrong_with(ONE, GOOD, tmp_path)


def test_the_results_of_a_batch_are_counted(tmp_path: Path) -> None:
    line = json.dumps({"output": ["http://gateway/0.png"]})
    (tmp_path / "results.jsonl").write_text(f"{line}\n{line}\n")
    assert wrong_with(Example("batch", lines=2), GOOD, tmp_path) == ""
    assert wrong_with(Example("batch", lines=3), GOOD, tmp_path).endswith("2 results stored, not 3")


def test_what_airflow_logs_is_a_complaint_only_if_it_warns_of_this_package() -> None:
    assert is_complaint("[warning  ] The provider airflow-provider-quickrouter is odd")
    assert is_complaint("ERROR - Failed to import airflow_provider_quickrouter.links")
    assert not is_complaint("INFO - The hook_class 'airflow_provider_quickrouter' is there")
    assert not is_complaint("[warning  ] httpx is old")


def test_the_verdict_of_a_script_stands_among_what_airflow_logs() -> None:
    said = 'a line of Airflow\n{"wrong": "", "told": "105 modules"}\nanother\n'
    assert verdict(said) == Outcome(told="105 modules")


def test_a_script_without_a_verdict_is_wrong() -> None:
    assert verdict("a line\nImportError: no\n") == Outcome(wrong="ImportError: no")


def test_of_a_command_that_failed_the_last_line_that_says_something_is_told() -> None:
    assert last_line("Traceback\n  File\nImportError: no\n\n") == "ImportError: no"
    assert last_line("\n") == "no output"
