from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, STABLE_DIFFUSION, StableDiffusionInput
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.tasks import TaskInstance, context_of

PROMPT = {"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"}


def submit(**arguments: Any) -> QuickRouterSubmitPredictionOperator:
    defaults = {"task_id": "submit", "input": PROMPT, "version": STABLE_DIFFUSION}
    with DAG("test"):
        return QuickRouterSubmitPredictionOperator(**defaults | arguments)


def execute(task: QuickRouterSubmitPredictionOperator) -> tuple[str, TaskInstance]:
    task_instance = TaskInstance()
    return task.execute(context_of(task, task_instance)), task_instance


def render(task: QuickRouterSubmitPredictionOperator, values: Any) -> None:
    task.render_template_fields(values)


def test_it_returns_the_id_and_pushes_the_manifest_and_the_link(gateway: Sandbox) -> None:
    prediction_id, task_instance = execute(submit())
    manifest = task_instance.xcoms["prediction"]
    assert gateway.creates == 1
    assert manifest["id"] == prediction_id == gateway.predictions[0]["id"]
    assert manifest["status"] == "starting"
    assert manifest["url"] == f"{gateway.url}/replicate/v1/predictions/{prediction_id}"
    assert task_instance.xcoms["_link_QuickRouterPredictionLink"] == manifest["url"]


def test_it_pushes_nothing_where_the_author_wants_no_xcom(gateway: Sandbox) -> None:
    _, task_instance = execute(submit(do_xcom_push=False))
    assert task_instance.xcoms == {}
    assert gateway.creates == 1


def test_an_input_may_be_a_model(gateway: Sandbox) -> None:
    execute(submit(input=StableDiffusionInput(**PROMPT, width=512)))
    assert gateway.requests[0].body == {"version": STABLE_DIFFUSION, "input": PROMPT | {"width": 512}}


def test_a_limit_for_the_server_is_sent_along(gateway: Sandbox) -> None:
    execute(submit(version=None, model=FLUX_KONTEXT_PRO, cancel_after=120))
    assert gateway.requests[0].headers["cancel-after"] == "120s"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"input": {"width": 700}}, r"input\.width: 700"),
        ({"input": {"prompt": None}}, r"input\.prompt: is null"),
        ({"input": {"width": 700, "prompt": "{{ params.prompt }}"}}, r"input\.width: 700"),
        ({"input": "a prompt"}, "input: must be a dict"),
        ({"version": STABLE_DIFFUSION[:-2]}, "62 characters"),
        ({"model": FLUX_KONTEXT_PRO}, "exactly one of version="),
        ({"version": None}, "exactly one of version="),
        ({"cancel_after": 1}, "cancel_after"),
    ],
)
def test_a_wrong_constant_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says):
        submit(**arguments)


def test_templates_are_rendered_deeply_and_checked_when_the_task_runs(gateway: Sandbox) -> None:
    task = submit(
        input={"prompt": "{{ who }} on mars", "width": "{{ width }}", "tags": [{"a": "{{ who }}"}]},
        version="{{ version }}",
    )
    render(task, {"who": "a cat", "width": 512, "version": STABLE_DIFFUSION})
    execute(task)
    assert gateway.requests[0].body == {
        "version": STABLE_DIFFUSION,
        "input": {"prompt": "a cat on mars", "width": 512, "tags": [{"a": "a cat"}]},
    }


def test_a_rendered_value_that_is_wrong_fails_for_good_and_nothing_is_sent(gateway: Sandbox) -> None:
    task = submit(input={"width": "{{ width }}"})
    render(task, {"width": 700})
    with pytest.raises(AirflowFailException, match=r"input\.width") as failed:
        execute(task)
    assert isinstance(failed.value, errors.InvalidInputError)
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("fault", "kind", "airflow"),
    [
        (Faults(quota=True), errors.QuotaError, AirflowFailException),
        (Faults(no_channel=True), errors.NoChannelError, AirflowFailException),
        (Faults(drop="after"), errors.UncertainCreateError, AirflowFailException),
        (Faults(rate_limit="header", retry_after=500), errors.RateLimitError, AirflowException),
    ],
)
def test_each_error_is_one_of_airflows_and_keeps_its_own_class(
    gateway: Sandbox, fault: Faults, kind: type[errors.APIError], airflow: type[Exception]
) -> None:
    gateway.set_faults(fault)
    with pytest.raises(AirflowException) as failed:
        execute(submit())
    error = failed.value
    assert isinstance(error, kind)
    assert isinstance(error, airflow)
    assert isinstance(error, AirflowFailException) is (airflow is AirflowFailException)
    assert isinstance(error, kind)
    assert error.__cause__ is None  # its message would be printed twice


def test_a_wrong_input_of_a_mapped_task_is_final_too() -> None:
    with pytest.raises(AirflowFailException, match=r"input\.width: 700"):
        submit(input={"width": 700})


@pytest.mark.parametrize("trouble", [RuntimeError("no API server"), AirflowTaskTimeout("late")])
def test_once_it_is_paid_for_nothing_may_lead_to_a_retry(
    gateway: Sandbox, capsys: pytest.CaptureFixture[str], trouble: BaseException
) -> None:
    class Broken(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise trouble

    task = submit()
    prediction_id = task.execute(context_of(task, Broken()))
    log = capsys.readouterr().out
    assert prediction_id == gateway.predictions[0]["id"]
    assert f"Submitted prediction {prediction_id}" in log
    assert ("was not stored" in log) is isinstance(trouble, Exception)
