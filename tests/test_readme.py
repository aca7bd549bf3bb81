"""The README promises nothing that does not hold: its code runs, its table is the code's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.hooks.exceptions import as_airflow
from airflow_provider_quickrouter.hooks.settings import DEFAULT_BASE_URL, Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def failure_rows() -> dict[str, str]:
    """``{class: last column}`` of the table of failures."""
    table = README.partition("## What fails")[2].partition("`soft_fail`")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {name: row[-1].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}


def instance(kind: type[QuickRouterError]) -> QuickRouterError:
    if issubclass(kind, errors.PredictionError):
        return kind("text", prediction_id="p1")
    return kind("text")


def test_the_dag_is_the_example() -> None:
    assert blocks("python")[0] == (ROOT / "dags_examples" / "text_to_image.py").read_text()


def test_the_table_of_failures_names_every_error_and_what_airflow_does() -> None:
    said = failure_rows()
    kinds = {name: kind for name, kind in vars(errors).items() if name.endswith("Error")}
    kinds |= {kind.__name__: kind for kind in errors.PredictionError.__subclasses__()}
    assert set(said) == set(kinds) - {"QuickRouterError", "APIError", "PredictionError"}
    for name, promise in said.items():
        failure = as_airflow(instance(kinds[name]))
        final = isinstance(failure, AirflowFailException | AirflowSensorTimeout)
        assert promise.startswith("no" if final else "yes"), name


def test_both_forms_of_the_connection_are_read() -> None:
    values = [shlex.split(line)[1].partition("=")[2] for line in blocks("bash")[0].splitlines()]
    as_json, as_uri = values
    for read, host in (
        (Settings.of(Connection.from_json(as_json, conn_id="c")), DEFAULT_BASE_URL),
        (Settings.of(Connection.from_uri(as_uri, conn_id="c")), "https://api.quickrouter.us"),
    ):
        assert (read.api_key, read.base_url) == ("YOUR_KEY", host)


def test_the_keys_of_the_manifest_are_named() -> None:
    manifest = Prediction.from_json({"id": "p1"}).manifest("https://x")
    named = README.partition("The manifest is a small JSON object:")[2].partition(". It can")[0]
    assert re.findall(r"`(\w+)`", named) == list(manifest)


def test_the_commands_of_the_sandbox_exist() -> None:
    command = blocks("console")[2].splitlines()[1]
    arguments = [*shlex.split(command)[1:], "--help"]
    module = "airflow_provider_quickrouter.sandbox"
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True)
    assert done.returncode == 0


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", README)) - {"lists", "test"} <= targets


def test_the_test_of_ones_own_dag_passes(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    shutil.copy(ROOT / "dags_examples" / "text_to_image.py", tmp_path / "dags")
    (tmp_path / "test_my_dag.py").write_text(blocks("python")[1])
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": bin_first, "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
    done = subprocess.run(
        ["bash", "-e", "-c", blocks("bash")[1]],  # noqa: S607
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
