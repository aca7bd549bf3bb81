"""What the table shows of rows that went well, failed, or were not run."""

from __future__ import annotations

from dev.matrix.table import STEPS, Outcome, Row, markdown, plain

WELL = Row("3.3.2", "3.11", outcomes=[Outcome(f"told {n}") for n in range(len(STEPS))], seconds=9.6)
BROKEN = Row("3.1.8", "3.13", outcomes=[Outcome(), Outcome(wrong="no\nmore")], seconds=2)
NOT_RUN = Row("2.11.2", "3.14", unsupported="not supported by this Airflow")


def test_a_row_is_as_it_should_be_only_if_every_step_was_run_and_nothing_is_wrong() -> None:
    assert WELL.ok
    assert NOT_RUN.ok
    assert not BROKEN.ok
    assert not Row("3.3.2", "3.11", outcomes=[Outcome()] * (len(STEPS) - 1)).ok
    assert not Row("3.3.2", "3.11").ok


def test_the_plain_table_has_columns_of_even_width_and_the_first_line_of_what_is_wrong() -> None:
    header, well, broken, not_run = plain([WELL, BROKEN, NOT_RUN]).splitlines()
    assert header.index("import") == well.index("ok, told 1") == broken.index("FAILED: no")
    assert "more" not in broken
    assert broken.split()[-5:] == ["not", "run", "not", "run", "2"]
    assert not_run.split(maxsplit=2)[2] == "not supported by this Airflow"
    assert well.endswith(" 10")


def test_a_long_complaint_is_cut() -> None:
    assert len(Outcome(wrong="x" * 1000).text) == len("FAILED: ") + 100


def test_the_markdown_has_as_many_columns_in_each_line() -> None:
    lines = markdown([WELL, BROKEN, NOT_RUN]).splitlines()
    assert {line.count("|") for line in lines} == {len(STEPS) + 4}
    assert lines[1].replace("|", "").split() == ["---"] * (len(STEPS) + 3)
