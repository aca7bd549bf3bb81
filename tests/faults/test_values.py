"""What an author writes in a DAG file: values, templates, XComs of other tasks, connections."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import (
    FLUX_FILL_PRO,
    FLUX_KONTEXT_MAX,
    SD_IMG2IMG,
    SDXL,
    STABLE_DIFFUSION,
)
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterBatchPredictionOperator,
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.faults.dags import in_dag, worker_and_deferred
from tests.faults.gateway import Gateway, connect
from tests.faults.running import TaskInstance, run_task
from tests.faults.supervisor import airflow_reports

UNLISTED_MODEL = "someone/some-model"


def submit(**arguments: Any) -> Any:
    return QuickRouterSubmitPredictionOperator(**({"task_id": "run", "version": SDXL} | arguments))


def sent_inputs(gateway: Gateway) -> list[Any]:
    return [request.json["input"] for request in gateway.creates]


def refused(gateway: Gateway, make: Any, ti: TaskInstance | None = None, **dag: Any) -> str:
    """Return the message with which a task is refused, at parse time or before it sends a request."""
    try:
        result = run_task(in_dag(make, **dag), ti)
    except errors.InvalidInputError as error:
        assert gateway.requests == []
        return str(error)
    raise AssertionError(
        f"not refused: {result!r}; sent: {[each.json or each.path for each in gateway.requests]}"
    )


def test_default_args_reach_the_tasks_of_quickrouter_pictures() -> None:
    with DAG("test", schedule=None, default_args={"quickrouter_conn_id": "team_b"}) as dag:
        quickrouter_pictures(input={"prompt": "x"}, path="file:///tmp/q", version=SDXL)
    assert {vars(task)["quickrouter_conn_id"] for task in dag.tasks} == {"team_b"}


def test_default_args_of_an_override_reach_the_tasks_of_quickrouter_pictures() -> None:
    with DAG("test", schedule=None) as dag:
        quickrouter_pictures.override(group_id="g", default_args={"quickrouter_conn_id": "team_b"})(
            input={"prompt": "x"}, path="file:///tmp/q", version=SDXL
        )
    assert {vars(task)["quickrouter_conn_id"] for task in dag.tasks} == {"team_b"}


def test_a_version_in_default_args_reaches_quickrouter_pictures() -> None:
    with DAG("test", schedule=None, default_args={"version": SDXL}) as dag:
        quickrouter_pictures(input={"prompt": "x"}, path="file:///tmp/q")
    assert vars(dag.get_task("pictures.submit"))["version"] == SDXL


def test_the_outputs_of_mapped_tasks_can_stand_in_an_input(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = ["https://files.example/1.png", "https://files.example/2.png"]
    airflow_reports(monkeypatch, "running", mapped=urls)

    def make() -> Any:
        @task
        def url(i: int) -> str:
            return ""

        return submit(version=UNLISTED_MODEL, input={"prompt": "x", "reference_images": url.expand(i=[1, 2])})

    run_task(in_dag(make))
    assert sent_inputs(gateway) == [{"prompt": "x", "reference_images": urls}]


@pytest.mark.parametrize("prompt", ["{{ '1984' }}", "{{ 1984 }}"])
def test_a_number_that_native_rendering_made_of_a_string_is_sent_as_a_string(
    prompt: str, gateway: Gateway
) -> None:
    run_task(
        in_dag(
            lambda: submit(input={"prompt": prompt, "width": "{{ 512 }}"}), render_template_as_native_obj=True
        )
    )
    assert sent_inputs(gateway) == [{"prompt": "1984", "width": 512}]


MISSING = "{{ ti.xcom_pull(task_ids='skipped') }}"


@pytest.mark.parametrize("kind", ["sensor", "deferred sensor", "store"])
@pytest.mark.parametrize(
    "given", [MISSING, "", "{{ params.get('id', '') }}"], ids=["None", "empty", "rendered empty"]
)
def test_an_id_that_no_task_returned_is_refused_before_anything_is_sent(
    given: str, kind: str, gateway: Gateway, tmp_path: Path
) -> None:
    def make() -> Any:
        if kind == "store":
            return QuickRouterToObjectStorageOperator(
                task_id="run", path=f"file://{tmp_path}", prediction_id=given
            )
        return QuickRouterPredictionSensor(
            task_id="run",
            prediction_id=given,
            deferrable=kind == "deferred sensor",
            timeout=5,
            poke_interval=1,
        )

    assert "prediction_id" in refused(gateway, make)


@pytest.mark.parametrize("given", [MISSING, "{{ params.get('prompt', '') }}"], ids=["None", "empty"])
@pytest.mark.parametrize(
    "reference", [{"version": SDXL}, {"version": None, "model": FLUX_KONTEXT_MAX}], ids=["sdxl", "flux"]
)
def test_a_prompt_that_no_task_returned_is_refused_before_anything_is_paid(
    reference: dict[str, Any], given: str, gateway: Gateway
) -> None:
    assert "prompt" in refused(gateway, lambda: submit(input={"prompt": given}, **reference))


def test_an_optional_value_that_no_task_returned_is_left_out(gateway: Gateway) -> None:
    run_task(in_dag(lambda: submit(input={"prompt": "x", "negative_prompt": MISSING})))
    assert sent_inputs(gateway) == [{"prompt": "x"}]


@pytest.mark.parametrize("field", ["prompt", "image"])
def test_the_word_none_of_a_missing_value_is_never_paid_for(field: str, gateway: Gateway) -> None:
    """It may be refused or left out: the model is unlisted."""
    with suppress(errors.InvalidInputError):
        run_task(in_dag(lambda: submit(version=UNLISTED_MODEL, input={field: MISSING, "steps": 4})))
    assert "None" not in str(sent_inputs(gateway))


def test_an_input_that_renders_to_a_json_object_is_one(gateway: Gateway) -> None:
    run_task(
        in_dag(lambda: submit(input="{{ ti.xcom_pull(task_ids='up') | tojson }}")),
        TaskInstance(up={"prompt": "a cat", "width": 512}),
    )
    assert sent_inputs(gateway) == [{"prompt": "a cat", "width": 512}]


def test_the_word_none_is_sent_where_a_model_takes_it(gateway: Gateway) -> None:
    given = {"prompt": "x", "image": "https://files.example/1.png", "outpaint": "None"}
    run_task(in_dag(lambda: submit(version=None, model=FLUX_FILL_PRO, input=given)))
    assert sent_inputs(gateway) == [given]


def test_a_task_in_the_place_of_its_output_is_refused_with_the_remedy() -> None:
    with pytest.raises(errors.InvalidInputError, match=r"\.output"):
        in_dag(
            lambda: QuickRouterPredictionSensor(
                task_id="run", prediction_id=submit(task_id="s", input={"prompt": "x"})
            )
        )


def test_a_task_in_an_input_is_refused_with_the_remedy() -> None:
    def make() -> Any:
        draft = QuickRouterRunPredictionOperator(task_id="draft", version=SDXL, input={"prompt": "x"})
        return submit(version=UNLISTED_MODEL, input={"image": draft})

    with pytest.raises(errors.InvalidInputError, match=r"\.output"):
        in_dag(make)


@pytest.mark.parametrize("version", [SD_IMG2IMG, UNLISTED_MODEL])
def test_an_output_of_one_file_can_be_given_to_a_field_of_one_file(version: str, gateway: Gateway) -> None:
    def make() -> Any:
        draft = QuickRouterRunPredictionOperator(task_id="draft", version=SDXL, input={"prompt": "x"})
        return submit(version=version, input={"prompt": "y", "image": draft.output})

    run_task(in_dag(make), TaskInstance(draft=["https://files.example/0.png"]))
    assert sent_inputs(gateway) == [{"prompt": "y", "image": "https://files.example/0.png"}]


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ({"version": "stability-ai/stable-difusion"}, "stability-ai/stable-diffusion"),
        ({"version": "stabilty-ai/sdxl"}, "stability-ai/sdxl"),
        (
            {"version": None, "model": "black-forest-labs/flux-kontex-pro"},
            "black-forest-labs/flux-kontext-pro",
        ),
        (
            {"version": None, "model": "black-forest-labs/flux-kontext-prp"},
            "black-forest-labs/flux-kontext-pro",
        ),
        ({"version": None, "model": "black-forest-lab/flux-fill-pro"}, "black-forest-labs/flux-fill-pro"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_misspelt_name_of_a_listed_model_is_refused_when_the_dag_is_parsed(
    reference: dict[str, str], meant: str
) -> None:
    with pytest.raises(errors.InvalidInputError) as refusal:
        in_dag(lambda: submit(input={"prompt": "x", "image": "https://files.example/1.png"}, **reference))
    assert meant in str(refusal.value)


@pytest.mark.parametrize(
    "model",
    [
        "black-forest-labs/flux-kontext-dev",
        "stability-ai/stable-diffusion-3",
        "stability-ai/sdxl-lightning",
        "black-forest-labs/flux-pro",
    ],
)
def test_other_models_of_similar_names_are_not_refused(model: str) -> None:
    in_dag(lambda: submit(version=None, model=model, input={"prompt": "x"}))


@pytest.mark.parametrize("name", [FLUX_KONTEXT_MAX, FLUX_FILL_PRO])
def test_a_model_that_is_called_by_name_is_refused_as_version_with_the_remedy(name: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="model="):
        in_dag(lambda: submit(version=name, input={"prompt": "x", "image": "https://files.example/1.png"}))


@pytest.mark.parametrize(
    "given", [{}, {"output_format": "png"}, {"prompt": ""}, {"prompt": "  "}], ids=json.dumps
)
def test_an_input_without_a_required_prompt_is_refused_when_the_dag_is_parsed(given: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInputError, match="prompt"):
        in_dag(lambda: submit(version=None, model=FLUX_KONTEXT_MAX, input=given))


@pytest.mark.parametrize("given", [{}, {"width": 512}], ids=json.dumps)
def test_a_prompt_that_the_api_calls_optional_can_be_left_out(given: dict[str, Any]) -> None:
    """The API's page calls the prompt of stable-diffusion optional."""
    in_dag(lambda: submit(version=STABLE_DIFFUSION, input=given))


@pytest.mark.parametrize(
    "host",
    ["{}/replicate/v1", " {}", "{} "],
    ids=["with the prefix", "blank before", "blank after"],
)
def test_a_host_that_was_pasted_with_more_than_it_needs_works(
    host: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host.format(gateway.url))
    assert QuickRouterHook().create_prediction({"prompt": "x"}, version=SDXL).id
    assert [request.path for request in gateway.creates] == ["/replicate/v1/predictions"]


@worker_and_deferred
def test_a_skipped_prediction_leaves_what_later_tasks_read(
    deferrable: bool, gateway: Gateway, tmp_path: Path
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    gateway.result = {
        "status": "failed",
        "error": "NSFW content detected. Try running it again, or try a different prompt.",
    }
    ti = TaskInstance()
    task = in_dag(
        lambda: QuickRouterRunPredictionOperator(
            task_id="run",
            version=SDXL,
            input={"prompt": "x"},
            on_moderation="skip",
            deferrable=deferrable,
            output_path=f"file://{tmp_path}",
        )
    )
    with pytest.raises(AirflowSkipException):
        run_task(task, ti)
    assert ti.xcoms["prediction"]["status"] == "failed"
    assert ti.xcoms["files"] == []


def with_connection(kind: str, conn_id: str, prediction_id: str, folder: Path) -> Any:
    same: dict[str, Any] = {"task_id": "run", "quickrouter_conn_id": conn_id}
    if kind in ("run", "deferred run"):
        return QuickRouterRunPredictionOperator(
            version=SDXL, input={"prompt": "x"}, deferrable=kind == "deferred run", **same
        )
    if kind == "submit":
        return submit(input={"prompt": "x"}, **same)
    if kind == "batch":
        return QuickRouterBatchPredictionOperator(
            version=SDXL, inputs=[{"prompt": "x"}], output_path=f"file://{folder}/r.jsonl", **same
        )
    if kind == "store":
        return QuickRouterToObjectStorageOperator(
            path=f"file://{folder}", prediction_id=prediction_id, **same
        )
    return QuickRouterPredictionSensor(
        prediction_id=prediction_id, deferrable=kind == "deferred sensor", **same
    )


@pytest.mark.parametrize(
    "kind", ["run", "deferred run", "submit", "batch", "sensor", "deferred sensor", "store"]
)
def test_the_connection_can_be_a_template(
    kind: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect(monkeypatch, gateway.url, conn_id="team_2026")
    monkeypatch.delenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT")
    prediction_id = gateway.accept()
    gateway.result = {"status": "succeeded", "output": ["data:text/plain;base64,aGVsbG8="]}
    run_task(in_dag(lambda: with_connection(kind, "team_{{ ds[:4] }}", prediction_id, tmp_path)))
    assert gateway.requests
