"""The table: a row for each number, a column for each contender."""

from __future__ import annotations

from collections import Counter

from benchmarks.contenders import CONTENDERS, DAGS, env
from benchmarks.table import table
from tests.chaos.books import Accepted, Books, Job, TaskEnd
from tests.chaos.ledger import balance
from tests.chaos.run import Result

ACCEPTED = [Accepted("good", "benchmark 0", "succeeded", 100, 104)]
JOBS = [Job("benchmark 0", TaskEnd("success", "good"))]
BOOKS = Books(ACCEPTED, JOBS)
RESULT = Result(BOOKS, balance(ACCEPTED, JOBS), 8.0, 12, Counter(task=2, gateway=1))


def test_a_column_has_the_numbers_of_its_contender() -> None:
    lines = table({"HTTP": RESULT, "Run": RESULT})

    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for cells in split(lines)}
    assert rows[""] == ["HTTP", "Run"]
    assert rows["creates accepted"] == rows["... delivered"] == ["1", "1"]
    assert rows["requests per second"] == ["1.5", "1.5"]
    assert rows["kills"] == ["3", "3"]


def test_the_lines_are_equally_long_and_the_second_is_the_rule() -> None:
    lines = table({"HTTP": RESULT})

    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == set("|-: ")


def test_all_contenders_have_the_same_prompts_and_a_dag_that_is_there() -> None:
    text = "".join(file.read_text() for file in DAGS.glob("*.py"))

    assert len({contender.flow.prompt for contender in CONTENDERS}) == 1
    assert all(contender.flow.dag_id in text for contender in CONTENDERS)
    assert env("http://127.0.0.1:1").keys() >= {"AIRFLOW_CONN_GATEWAY", "PYTHONPATH"}


def split(lines: list[str]) -> list[list[str]]:
    return [line.split("|") for line in lines]
