"""Every piece of Python in the README and on the site runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.docs.blocks import BLOCKS, DOCS, PRELUDE, ROOT, Block, those_in, where

PYTHON = those_in("python")
DAG_FILES = [block for block in PYTHON if block.is_dag_file]
TEST_FILES = [block for block in PYTHON if block.is_test_file]
IMPORTS, SUBMIT = [block.text for block in PYTHON if block.page == PRELUDE]
FRAGMENTS = [block for block in PYTHON if block not in (*DAG_FILES, *TEST_FILES)]


@pytest.mark.parametrize("block", FRAGMENTS, ids=where)
def test_a_fragment_runs_behind_the_lines_that_it_is_said_to_stand_behind(
    block: Block, gateway: Sandbox
) -> None:
    names: dict[str, Any] = {"__name__": "fragment"}
    with DAG("fragment") as dag:
        exec(IMPORTS, names)  # noqa: S102
        if "submit = " not in block.text:
            exec(SUBMIT, names)  # noqa: S102
        exec(compile(block.text, block.where, "exec"), names)  # noqa: S102
    assert dag.task_ids


def dag_ids(text: str) -> list[str]:
    """The ids of a file's DAGs: functions under ``@dag``, and first arguments of ``DAG``."""
    functions = re.findall(r"(?ms)^@dag\b.*?^def (\w+)", text)
    return functions + re.findall(r"with DAG\(\s*\"([^\"]+)", text)


def test_the_ui_describes_each_example_dag() -> None:
    bag = DagBag(str(ROOT / "dags_examples"))
    assert bag.import_errors == {}
    assert len(bag.dags) >= len(list((ROOT / "dags_examples").glob("*.py")))
    for dag in bag.dags.values():
        assert dag.description, dag.dag_id
        assert dag.doc_md, dag.dag_id
        assert dag.tags == {"quickrouter"}, dag.dag_id


def test_no_two_examples_have_the_same_dag_id() -> None:
    files = {block.text for block in DAG_FILES}
    # The README shows an example with the imports of Airflow 3.
    files |= {
        path.read_text().replace("airflow.providers.common.compat.sdk", "airflow.sdk")
        for path in (ROOT / "dags_examples").glob("*.py")
    }
    ids = Counter(found for text in files for found in dag_ids(text))
    assert min(map(len, map(dag_ids, files))) > 0
    assert [name for name, times in ids.items() if times > 1] == []


def environment(home: Path, gateway: Sandbox, **more: str) -> dict[str, str]:
    connection = {
        "conn_type": "quickrouter",
        "password": "any-key",
        "host": gateway.url,
        "extra": {"allow_private_addresses": True},
    }
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": bin_first,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW_CONN_QUICKROUTER_DEFAULT": json.dumps(connection),
        **more,
    }


def run(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    return done.stdout


@pytest.mark.slow("migrates a database of its own, and runs each DAG of the docs")
def test_every_dag_of_the_docs_succeeds(tmp_path: Path) -> None:
    folder, home = tmp_path / "dags", tmp_path / "airflow"
    folder.mkdir()
    for number, text in enumerate(dict.fromkeys(block.text for block in DAG_FILES)):
        here = text.replace("s3://aws_default@my-bucket", f"file://{tmp_path}/bucket")
        (folder / f"docs_{number}.py").write_text(here)
    with Sandbox(processing=0.2) as gateway:
        variables = environment(home, gateway, AIRFLOW__CORE__DAGS_FOLDER=str(folder), PYTHONPATH=str(ROOT))
        run(["airflow", "db", "migrate"], tmp_path, variables)
        command = [sys.executable, "-m", "tests.docs.run_dags", str(folder), str(tmp_path / "kept")]
        told = run(command, tmp_path, variables)
    states = json.loads(told.splitlines()[-1])
    assert len(states) >= len(list(folder.glob("*.py")))
    assert set(states.values()) == {"success"}, states
    assert list((tmp_path / "kept").rglob("*.png"))


@pytest.mark.slow("migrates a database of its own")
@pytest.mark.parametrize("block", TEST_FILES, ids=where)
def test_the_test_of_ones_own_dag_passes(block: Block, tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    example = (ROOT / "dags_examples" / "text_to_image.py").read_text()
    (tmp_path / "dags" / "text_to_image.py").write_text(example)
    (tmp_path / "test_my_dag.py").write_text(block.text)
    (script,) = [b.text for b in BLOCKS if b.page == block.page and "test_my_dag.py" in b.text]
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": bin_first, "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
    assert " passed" in run(["bash", "-e", "-c", script], tmp_path, variables)


def test_every_file_that_a_page_includes_is_an_example_that_tests_run() -> None:
    included = {
        (page.parent / name).resolve()
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"\{literalinclude\} (\S+)", page.read_text())
    }
    assert {path.parent for path in included} == {ROOT / "dags_examples"}
    assert all(path.is_file() for path in included)
