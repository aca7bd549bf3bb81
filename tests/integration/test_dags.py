"""Whole DAGs on a real scheduler, triggerer, API server and database."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow

LINK = "QuickRouter prediction"
PROMPT = "an astronaut riding a horse on mars, hd, dramatic lighting"


def posts(gateway: Sandbox) -> list[object]:
    return [entry.body for entry in gateway.requests if entry.method == "POST"]


def files_with(airflow: LocalAirflow, text: str) -> set[str]:
    """Which files of Airflow hold a text: the database, the logs of tasks and components."""
    files = [path for path in airflow.home.rglob("*") if path.is_file()]
    return {path.name for path in files if text.encode() in path.read_bytes()}


def test_the_example_submits_once_defers_while_it_waits_and_uses_id_and_picture(
    airflow: LocalAirflow, gateway: Sandbox, api_key: str, tmp_path: Path
) -> None:
    dag_id = "quickrouter_text_to_image"
    # Long enough for a busy machine to start the second task before the prediction is over.
    gateway.set_faults(Faults(processing=8), times=1, method="POST")
    run_id = airflow.trigger(dag_id, {"folder": f"file://{tmp_path}"})

    assert airflow.wait_for_run(dag_id, run_id) == "success"
    prediction_id = airflow.xcom(dag_id, run_id, "submit")
    page = f"{gateway.url}/predictions/{prediction_id}"
    assert "Deferring" in airflow.task_log(dag_id, run_id, "wait")
    assert airflow.extra_links(dag_id, run_id, "wait") == {LINK: page}
    assert files_with(airflow, api_key) == set()
    assert airflow.xcom(dag_id, run_id, "wait", "prediction")["id"] == prediction_id
    output = airflow.xcom(dag_id, run_id, "wait")
    assert output == [f"{gateway.url}/files/{prediction_id}/out-0.png"]
    log = airflow.task_log(dag_id, run_id, "use")
    assert f"Prediction {prediction_id} made file://{tmp_path}/{prediction_id}/0.png" in log
    assert (tmp_path / prediction_id / "0.png").read_bytes().startswith(b"\x89PNG")
    assert airflow.extra_links(dag_id, run_id, "submit") == {LINK: page}
    assert posts(gateway) == [{"version": STABLE_DIFFUSION, "input": {"prompt": PROMPT}}]
    create = next(entry for entry in gateway.requests if entry.method == "POST")
    assert create.headers["authorization"] == "Bearer ***"
    assert create.status == 201
    assert "Prediction" in airflow.task_log(dag_id, run_id, "wait")


def test_the_mapped_example_makes_one_picture_for_each_prompt(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "quickrouter_mapped_prompts"
    run_id = airflow.trigger(dag_id, {"subjects": ["a lighthouse", "a forest"]})

    assert airflow.wait_for_run(dag_id, run_id) == "success"
    urls = airflow.xcom(dag_id, run_id, "collect")
    ids = [airflow.xcom(dag_id, run_id, "submit", map_index=index) for index in range(2)]
    assert [url.split("/")[-2] for url in urls] == ids
    prompts = {prediction["input"]["prompt"] for prediction in gateway.predictions}
    assert prompts == {"a lighthouse, oil on canvas", "a forest, oil on canvas"}
    assert gateway.creates == 2


def test_all_four_paths_leave_the_same_return_value_and_manifest(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    run_id = airflow.trigger("paths")

    assert airflow.wait_for_run("paths", run_id) == "success"
    xcoms = airflow.xcoms("paths", run_id)
    truth = xcoms["poke", -1]
    assert truth["prediction"]["status"] == "succeeded"
    assert truth["return_value"] == truth["prediction"]["output"]
    for path in ("reschedule", "deferred", "finished"):
        assert xcoms[path, -1] == truth
    assert gateway.creates == 1


def test_a_bad_end_fails_without_a_retry_is_skipped_if_wanted_and_leaks_no_key(
    airflow: LocalAirflow, gateway: Sandbox, api_key: str
) -> None:
    dag_id = "bad_ends"
    run_id = airflow.trigger(dag_id)

    assert airflow.wait_for_run(dag_id, run_id) == "failed"
    states = {task["task_id"]: task for task in airflow.task_instances(dag_id, run_id)}
    assert {task_id: task["state"] for task_id, task in states.items()} == {
        "submit": "success",
        "fails": "failed",
        "skipped_deferred": "skipped",
        "skipped_reschedule": "skipped",
        "refused": "failed",
    }
    assert {task["try_number"] for task in states.values()} == {1}
    prediction_id = airflow.xcom(dag_id, run_id, "submit")
    log = airflow.task_log(dag_id, run_id, "fails")
    assert f"Prediction {prediction_id} was rejected by a content filter: NSFW content detected" in log
    assert "Model: stability-ai/stable-diffusion." in log
    assert "Using seed:" in log
    link = airflow.extra_links(dag_id, run_id, "fails")[LINK]
    assert link == f"{gateway.url}/replicate/v1/predictions/{prediction_id}"
    assert airflow.xcom(dag_id, run_id, "fails", "prediction")["error"] == "NSFW content detected"
    assert "input.width: '700': Input should be a multiple of 64" in airflow.task_log(
        dag_id, run_id, "refused"
    )
    assert gateway.creates == 1

    found = files_with(airflow, prediction_id)
    assert "attempt=1.log" in found
    assert {"airflow.db", "airflow.db-wal"} & found
    assert files_with(airflow, api_key) == set()
