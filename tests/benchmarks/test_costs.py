"""What the benchmarks of imports and of workers make of what they see."""

from __future__ import annotations

import json

import pytest

from benchmarks.imports import HTTP, map_rows, slowest
from benchmarks.report import circumstances, markdown, number
from benchmarks.worker_seconds import WAYS, Census, Cost, is_known, row


def test_a_table_is_markdown_that_is_readable_as_it_is() -> None:
    lines = markdown([("what", "ms"), ("a", "1,000"), ("bcdef", "2")])

    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ----- | ----: |"


def test_numbers_are_for_people() -> None:
    assert number(16074) == "16,074"
    assert number(0.3349, 3) == "0.335"
    assert number(None, unknown="never") == "never"


def test_a_result_tells_its_date_machine_and_versions() -> None:
    assert "UTC" in circumstances()
    assert "apache-airflow " in circumstances()


def test_the_slowest_modules_come_first() -> None:
    told = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:      1500 |      99999 | pydantic\n"
        "import time:     20000 |      20000 |   airflow.sdk.bases.hook\n"
    )

    assert slowest(told, 1) == [("airflow.sdk.bases.hook", "20.0")]


def test_an_import_is_compared_with_that_of_the_http_provider() -> None:
    assert map_rows({HTTP: 200.0, "ours": 30.0})[1] == ("ours", "30.0", "15.0%")


def test_worker_seconds_are_the_lives_of_task_processes() -> None:
    census = Census({1: (10.0, 35.0), 2: (20.0, 21.5), 3: (20.0, 20.1)}, {1, 2})

    assert census.seconds == pytest.approx(26.5)


def test_a_way_that_the_sensor_does_not_know_is_left_out_with_a_note() -> None:
    assert is_known("poke")
    assert is_known("deferred")
    assert row("deferred", None, 20)[-1] == "not in this version"
    assert row("poke", Cost(20, 500.0, 31.0, 40.0, "success"), 20)[3] == "25.00"


def test_the_keywords_of_the_ways_cross_an_environment_variable() -> None:
    assert json.loads(json.dumps(WAYS)) == WAYS
