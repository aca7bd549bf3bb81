"""The README promises nothing that does not hold; its blocks are run in ``tests/docs``."""

from __future__ import annotations

import re

from tests.docs.blocks import BLOCKS, README, ROOT

TEXT = README.read_text()


def test_the_dag_is_the_example_as_it_is_written_for_airflow_3_alone() -> None:
    (dag,) = [block.text for block in BLOCKS if block.page == README and block.language == "python"]
    example = (ROOT / "dags_examples" / "text_to_image.py").read_text()
    assert "airflow.sdk" in dag
    assert dag.replace("airflow.sdk", "airflow.providers.common.compat.sdk") == example


def test_the_two_commands_are_those_that_a_developer_and_the_ci_run() -> None:
    first = next(block.text for block in BLOCKS if block.page == README)
    commands = first.split("\n")[:-1]
    assert commands == ["make demo", "make test"]
    assert {f"timed {command}" for command in commands} <= set(
        (ROOT / ".ci" / "run").read_text().splitlines()
    )


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", TEXT)) <= targets


def test_the_files_that_it_leads_to_exist() -> None:
    paths = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT) + re.findall(r'src="([^"]+)"', TEXT)
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert len(paths) > 20
