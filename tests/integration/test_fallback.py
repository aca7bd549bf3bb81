"""A list of models on a real scheduler, triggerer and worker."""

from __future__ import annotations

from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from dev.local_airflow import LocalAirflow
from tests.integration.marks import more_runs


@more_runs
def test_the_example_makes_the_picture_with_the_second_model_if_a_filter_rejects_the_first(
    airflow: LocalAirflow, gateway: Sandbox
) -> None:
    dag_id = "quickrouter_fallback_models"
    gateway.set_faults(Faults(processing=5.0, fail="NSFW content detected"), times=1, method="POST")
    gateway.set_faults(Faults(processing=5.0), times=1, method="POST")
    run_id = airflow.trigger(dag_id, {"prompt": "a carnival"})

    assert airflow.wait_for_run(dag_id, run_id) == "success"
    assert [p["model"] for p in gateway.predictions] == [FLUX_KONTEXT_PRO, "stability-ai/sdxl"]
    assert {p["input"]["prompt"] for p in gateway.predictions} == {"a carnival"}
    assert gateway.creates == 2
    manifest = airflow.xcom(dag_id, run_id, "picture", "prediction")
    assert (manifest["id"], manifest["model"]) == (gateway.predictions[1]["id"], "stability-ai/sdxl")
    warning = (
        "was rejected by a content filter: NSFW content detected. Trying the next model, stability-ai/sdxl:"
    )
    assert warning in airflow.task_log(dag_id, run_id, "picture")
    assert "stability-ai/sdxl made http" in airflow.task_log(dag_id, run_id, "report")
