"""The decorator and the group of tasks, on a real scheduler, triggerer and worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.pictures import render
from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from dev.waiting import wait_until
from tests.integration.marks import more_runs

LONG = Faults(processing=10.0)
"""So long that each wait defers, and the scheduler sees it: else it takes the task for lost."""


def shown_input(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> Any:
    """What Airflow's page shows as the input of a task."""
    (shown,) = (
        task["rendered_fields"]["input"]
        for task in airflow.task_instances(dag_id, run_id)
        if task["task_id"] == task_id
    )
    return shown


def test_the_example_makes_a_picture_of_what_its_function_returns(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "quickrouter_taskflow"
    given = {"prompt": "morning fog in Porto, watercolour", "width": 768, "height": 512}
    gateway.set_faults(LONG)
    run_id = airflow.trigger(dag_id, {"place": "Porto"})

    airflow.wait_for_task(dag_id, run_id, "picture", state="deferred")
    # Airflow stores the rendered fields a moment after the state.
    wait_until(
        lambda: shown_input(airflow, dag_id, run_id, "picture") == given, 60, lambda: "input not shown"
    )
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert shown_input(airflow, dag_id, run_id, "picture") == given
    assert [prediction["input"] for prediction in gateway.predictions] == [given]
    output = airflow.xcom(dag_id, run_id, "picture")
    assert airflow.xcom(dag_id, run_id, "use") == output[0]


@more_runs
def test_the_group_submits_waits_and_stores_for_each_prompt(
    airflow: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    dag_id, subjects = "quickrouter_picture_group", ["a lighthouse", "a forest", "a harbour"]
    gateway.set_faults(LONG, times=3)
    run_id = airflow.trigger(dag_id, {"subjects": subjects, "folder": f"file://{tmp_path}"})

    for n in range(3):
        airflow.wait_for_task(dag_id, run_id, "pictures.wait", state="deferred", map_index=n)
    assert airflow.wait_for_run(dag_id, run_id) == "success"
    ids = [airflow.xcom(dag_id, run_id, "pictures.submit", map_index=n) for n in range(3)]
    stored = airflow.xcom(dag_id, run_id, "collect")
    assert stored == [f"file://{tmp_path}/{prediction_id}/0.png" for prediction_id in ids]
    for path in stored:
        assert Path(path.removeprefix("file://")).read_bytes().startswith(b"\x89PNG")
    prompts = [prediction["input"]["prompt"] for prediction in gateway.predictions]
    assert sorted(prompts) == sorted(f"{subject}, linocut" for subject in subjects)
    assert gateway.creates == 3


@more_runs
def test_lists_expanded_functions_and_files_of_a_storage_become_predictions(
    airflow: LocalAirflow, gateway: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(render("a cat", 1, 0, (256, 256)))
    gateway.set_faults(LONG, times=5)
    run_id = airflow.trigger("decorated", {"file": f"file://{file}"})

    assert airflow.wait_for_run("decorated", run_id) == "success"
    inputs = {p["id"]: p["input"] for p in gateway.predictions}
    outputs = [airflow.xcom("decorated", run_id, "animals", map_index=n) for n in range(2)]
    assert [len(output) for output in outputs] == [1, 1]
    ships = [airflow.xcom("decorated", run_id, "ship", map_index=n) for n in range(2)]
    assert [inputs[made]["prompt"] for made in ships] == ["a yacht named Ada", "a yacht named Grace"]
    repaint = inputs[airflow.xcom("decorated", run_id, "repaint", "prediction")["id"]]
    assert repaint["prompt"] == "2 animals"
    assert repaint["image"].startswith("data:image/png;base64,")
    assert shown_input(airflow, "decorated", run_id, "repaint") == {
        "image": f"file://{file}",
        "prompt": "2 animals",
    }
    assert gateway.creates == 5
    states = {task["task_id"]: task["state"] for task in airflow.task_instances("decorated", run_id)}
    assert (states["nothing_inputs"], states["nothing"]) == ("skipped", "skipped")
