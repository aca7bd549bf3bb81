"""The README promises nothing that does not hold: its code runs, its table is the code's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
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


def failure_rows() -> dict[str, tuple[str, str]]:
    """``{class: last two columns}`` of the table of failures: of operators and of the sensor."""
    table = README.partition("## What fails")[2].partition("`soft_fail`")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    promises = [(row[0], (row[-2].strip(), row[-1].strip())) for row in rows]
    return {name: said for names, said in promises for name in re.findall(r"`(\w+)`", names)}


def instance(kind: type[QuickRouterError]) -> QuickRouterError:
    if issubclass(kind, errors.PredictionError):
        return kind("text", prediction_id="p1")
    return kind("text")


def test_the_dag_is_the_example() -> None:
    assert blocks("python")[0] == (ROOT / "dags_examples" / "text_to_image.py").read_text()


def test_the_wait_without_a_worker_is_that_of_its_example() -> None:
    example = (ROOT / "dags_examples" / "without_a_worker.py").read_text()
    assert textwrap.indent(blocks("python")[1], "    ") in example


def errors_below(kind: type[QuickRouterError]) -> list[type[QuickRouterError]]:
    """All classes that a task can raise: the leaves, and the bases that are raised themselves."""
    below = [found for child in kind.__subclasses__() for found in errors_below(child)]
    abstract = (QuickRouterError, errors.APIError, errors.PredictionError)
    ours = kind.__module__ == errors.__name__ and "AirflowException" not in str(kind.__mro__)
    return below + ([kind] if ours and kind not in abstract else [])


def test_the_table_of_failures_names_every_error_and_what_airflow_does() -> None:
    said, kinds = failure_rows(), errors_below(QuickRouterError)
    assert set(said) == {kind.__name__ for kind in kinds}
    for kind in kinds:
        for promise, anew in zip(said[kind.__name__], (True, False), strict=True):
            failure = as_airflow(instance(kind), anew=anew)
            final = isinstance(failure, AirflowFailException | AirflowSensorTimeout)
            kept = promise == "never raised" or promise.startswith("no" if final else "yes")
            assert kept, (kind.__name__, promise)


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
    (tmp_path / "test_my_dag.py").write_text(blocks("python")[2])
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
