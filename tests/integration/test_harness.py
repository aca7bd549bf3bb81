"""The local Airflow itself: it runs DAGs, defers, hands over XComs, and ends completely."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dev.airflow_env import airflow_env
from dev.airflow_processes import Component, end, is_alive
from dev.airflow_rest import PAGE, AirflowRest, Json
from dev.airflow_services import has_begun
from dev.local_airflow import LocalAirflow

DAG_ID = "harness_smoke"
PAUSE = "import time; time.sleep(600)"
# A child in a process group of its own which is deaf to SIGTERM, as a task may be.
DEAF_CHILD = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {PAUSE!r}], process_group=0)
print("up", flush=True)
time.sleep(600)
"""
# An owner that is asked to end while its child runs.
OWNER = f"""
import os, sys, time
from pathlib import Path
from dev.airflow_processes import Component, end
from dev.waiting import sigterm_interrupts
child = Component([sys.executable, "-c", {PAUSE!r}], dict(os.environ), Path(sys.argv[1]))
with sigterm_interrupts():
    try:
        child.start()
        print(child.process.pid, flush=True)
        time.sleep(600)
    finally:
        end([child])
"""


def test_a_dag_runs_defers_and_hands_over_its_xcoms(airflow: LocalAirflow) -> None:
    run_id = airflow.trigger(DAG_ID)

    airflow.wait_for_task(DAG_ID, run_id, "pause", state="deferred")

    assert airflow.wait_for_run(DAG_ID, run_id) == "success"
    assert airflow.task_state(DAG_ID, run_id, "number") == "success"
    assert airflow.xcom(DAG_ID, run_id, "number") == 42
    assert airflow.xcoms(DAG_ID, run_id) == {("number", -1): {"return_value": 42}}
    assert "yielding event" in airflow.task_log(DAG_ID, run_id, "pause")


def test_an_unknown_dag_is_an_error_that_names_it(airflow: LocalAirflow) -> None:
    with pytest.raises(TimeoutError, match="no DAG nothing_of_this_name"):
        airflow.trigger("nothing_of_this_name", timeout=0.1)


def test_a_component_that_was_killed_can_be_started_again(airflow: LocalAirflow) -> None:
    airflow.kill("triggerer", signal.SIGKILL)
    airflow.restart("triggerer")

    airflow.check_alive()


def test_a_triggerer_counts_once_each_that_was_started_since_has_a_job() -> None:
    assert not has_begun(10, alike=[10, 10.5], begun=[12])
    assert has_begun(10, alike=[10, 10.5], begun=[12, 13])


def test_a_job_from_before_a_restart_does_not_count_for_the_triggerer_after_it() -> None:
    assert not has_begun(50, alike=[10, 50], begun=[12, 13])
    assert has_begun(50, alike=[10, 50], begun=[12, 13, 52])


def test_a_list_longer_than_a_page_is_read_to_its_end() -> None:
    class Pages(AirflowRest):
        def call(self, method: str, path: str, **kwargs: Any) -> Json:
            offset = kwargs["params"]["offset"]
            return {"items": [{"n": n} for n in range(offset, 250)][:PAGE], "total_entries": 250}

    assert [item["n"] for item in Pages("http://nowhere").every("/x", "items")] == list(range(250))


def test_settings_of_another_airflow_do_not_leak_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "True")
    monkeypatch.setenv("AIRFLOW__API__SSL_CERT", "cert.pem")
    monkeypatch.setenv("PYTHONWARNINGS", "error")

    env = airflow_env(tmp_path, tmp_path / "dags", 1, {"AIRFLOW__CORE__PARALLELISM": "9"})

    assert env["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert env["AIRFLOW__CORE__PARALLELISM"] == "9"
    assert {"AIRFLOW__API__SSL_CERT", "PYTHONWARNINGS"}.isdisjoint(env)


def test_the_end_takes_deaf_processes_and_those_in_other_groups(tmp_path: Path) -> None:
    log = tmp_path / "deaf.log"
    component = Component([sys.executable, "-c", DEAF_CHILD], dict(os.environ), log)
    component.start()
    wait_for_text(log, "up")
    family = component.family()

    end([component], grace=0.5)

    assert len(family) == 2
    assert not any(is_alive(process.pid) for process in family)


def test_sigterm_of_the_owner_ends_what_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "child.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        owner.terminate()

    assert not is_alive(child)


def wait_for_text(file: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in file.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
