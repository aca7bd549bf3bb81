"""A list of models: which errors lead to the next one, and what each attempt pays for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, SDXL, STABLE_DIFFUSION, SDXLInput
from airflow_provider_quickrouter.decorators.quickrouter import quickrouter_task
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.faults import running
from tests.operators.conftest import cancels, durable, failing_writes, first_try
from tests.tasks import Clock, TaskInstance, context_of, event_of, rebuilt, run

each_mode = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
NSFW = "NSFW content detected"
FLUX = FLUX_KONTEXT_PRO


def given(**faults: Any) -> dict[str, Any]:
    """An input, with these faults of the sandbox for its prediction."""
    return {"prompt": "a cat", "sandbox": faults}


REFUSED = given(fail=NSFW, processing=0.4)
GOOD = given(processing=0.4)
RUNS = given(never=True)


def operator(models: list[Any], **arguments: Any) -> Callable[[], QuickRouterRunPredictionOperator]:
    fields: dict[str, Any] = {"task_id": "run", "input": GOOD, "model": models, "poll_interval": 0.5}
    return lambda: QuickRouterRunPredictionOperator(**fields | arguments)


def execute(models: list[Any], task_instance: TaskInstance, **arguments: Any) -> TaskDeferred:
    """Run one attempt until it is deferred."""
    with DAG("test"):
        task = operator(models, deferrable=True, **durable(task_instance) | arguments)()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, task_instance))
    return deferred.value


def resume(models: list[Any], task_instance: TaskInstance, deferred: TaskDeferred) -> Any:
    """Run the task after the event of its trigger, as another process."""
    with DAG("test"):
        task = operator(models, deferrable=True, **durable(task_instance))()
    event = event_of(rebuilt(deferred.trigger))
    stored = json.loads(json.dumps(deferred.kwargs or {}))
    return task.execute_complete(context_of(task, task_instance), event=event, **stored)


def paid(gateway: Sandbox) -> list[str]:
    """The models of the accepted create requests, oldest first."""
    return [prediction["model"] for prediction in gateway.predictions]


SD_NAME, SDXL_NAME = (reference.partition(":")[0] for reference in (STABLE_DIFFUSION, SDXL))


@each_mode
def test_after_moderation_the_next_model_is_tried(gateway: Sandbox, deferrable: bool) -> None:
    task_instance = TaskInstance()
    models = [(FLUX, REFUSED), (STABLE_DIFFUSION, REFUSED), SDXL]
    output = run(operator(models, deferrable=deferrable), task_instance)
    assert paid(gateway) == [FLUX, SD_NAME, SDXL_NAME]
    manifest = task_instance.xcoms["prediction"]
    assert (manifest["model"], manifest["output"]) == (SDXL_NAME, output)
    assert manifest["id"] == gateway.predictions[-1]["id"]
    assert cancels(gateway) == []


@each_mode
@pytest.mark.parametrize("fault", [Faults(no_channel=True), Faults(status=422)], ids=["no channel", "422"])
def test_after_a_refused_create_request_the_next_model_is_tried(
    gateway: Sandbox, deferrable: bool, fault: Faults
) -> None:
    task_instance = TaskInstance()
    gateway.set_faults(fault, times=1)
    assert run(operator([FLUX, SDXL], deferrable=deferrable), task_instance)
    assert paid(gateway) == [task_instance.xcoms["prediction"]["model"]] == [SDXL_NAME]


def test_after_an_input_that_a_model_cannot_have_the_next_model_is_tried(gateway: Sandbox) -> None:
    made = {"prompt": "a cat", "width": "{{ 700 }}"}
    task = running_task(lambda: operator([STABLE_DIFFUSION, SDXL], input=made)())
    assert running.run_task(task)
    assert [prediction["input"]["width"] for prediction in gateway.predictions] == [700]
    assert paid(gateway) == [SDXL_NAME]


def running_task(make: Callable[[], Any]) -> Any:
    with DAG("test"):
        return make()


def test_each_fallback_is_logged_as_a_warning_with_the_reason_and_both_models(
    gateway: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.set_faults(Faults(no_channel=True), times=1)
    assert run(operator([FLUX, (STABLE_DIFFUSION, given(fail=NSFW)), SDXL]), TaskInstance())
    warnings = [line for line in capsys.readouterr().out.splitlines() if "[warning" in line]
    assert f"] Model {FLUX}: HTTP 503: No available channel for this model " in warnings[0]
    assert f". Trying the next model, {STABLE_DIFFUSION} [airflow" in warnings[0]
    refused = f"Prediction {gateway.predictions[0]['id']} was rejected by a content filter: {NSFW}"
    assert f"] Model {STABLE_DIFFUSION}: {refused}. Trying the next model, {SDXL} [airflow" in warnings[1]


@each_mode
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(drop="after"), errors.UncertainCreateError),
        (Faults(accepted_status=502), errors.UncertainCreateError),
        (Faults(odd_response="unauthorized"), errors.AuthenticationError),
        (Faults(quota=True), errors.QuotaError),
    ],
    ids=["connection lost", "502", "401", "quota"],
)
def test_no_other_error_leads_to_another_model(
    gateway: Sandbox, deferrable: bool, fault: Faults, kind: type[Exception]
) -> None:
    gateway.set_faults(Faults(no_list=404), method="GET")
    gateway.set_faults(fault, times=1, method="POST")
    with pytest.raises(kind):
        run(operator([FLUX, SDXL], deferrable=deferrable), TaskInstance())
    assert sum(entry.method == "POST" for entry in gateway.requests) == 1


@each_mode
def test_the_last_models_error_is_that_of_the_task(gateway: Sandbox, deferrable: bool) -> None:
    with pytest.raises(errors.PredictionModerated) as failed:
        run(operator([FLUX, SDXL], input=REFUSED, deferrable=deferrable), TaskInstance())
    assert isinstance(failed.value, AirflowFailException)
    assert gateway.predictions[1]["id"] in str(failed.value)
    gateway.clear()
    gateway.set_faults(Faults(no_channel=True))
    with pytest.raises(errors.NoChannelError):
        run(operator([FLUX, SDXL], deferrable=deferrable), TaskInstance())
    gateway.set_faults(None)


@each_mode
def test_only_what_the_last_model_refuses_is_skipped(gateway: Sandbox, deferrable: bool) -> None:
    make = operator([FLUX, SDXL], input=REFUSED, deferrable=deferrable, on_moderation="skip")
    with pytest.raises(AirflowSkipException):
        run(make, TaskInstance())
    assert gateway.creates == 2


@each_mode
def test_the_manifest_names_the_model_also_if_the_gateway_does_not(
    gateway: Sandbox, deferrable: bool
) -> None:
    task_instance = TaskInstance()
    gateway.set_faults(Faults(body="sparse"))
    models = [(FLUX, given(status_word={"failed": "nsfw"}, fail=NSFW)), SDXL]
    assert run(operator(models, deferrable=deferrable), task_instance)
    gateway.set_faults(None)
    manifest = task_instance.xcoms["prediction"]
    assert f"{manifest['model']}:{manifest['version']}" == SDXL


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("cleared", [False, True], ids=["retry", "clear"])
def test_what_the_second_model_runs_is_resumed(gateway: Sandbox, cleared: bool) -> None:
    models, lost = [(FLUX, REFUSED), (SDXL, RUNS)], first_try()
    with pytest.raises(TaskDeferred) as second:
        resume(models, lost, execute(models, lost))
    again = execute(models, lost.again(cleared=cleared))
    assert again.trigger.prediction_id == second.value.trigger.prediction_id
    assert again.kwargs == second.value.kwargs == {"model_index": 1}
    assert (paid(gateway), cancels(gateway)) == ([FLUX, SDXL_NAME], [])


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("cleared", [False, True], ids=["retry", "clear"])
def test_a_worker_that_is_lost_between_two_models_pays_for_each_once(gateway: Sandbox, cleared: bool) -> None:
    models, lost = [(FLUX, REFUSED), (SDXL, RUNS)], first_try()
    event_of(rebuilt(execute(models, lost).trigger))  # the worker is lost before it handles the event
    second = execute(models, lost.again(cleared=cleared))
    assert (paid(gateway), cancels(gateway)) == ([FLUX, SDXL_NAME], [])
    assert execute(models, lost.again().again()).trigger.prediction_id == second.trigger.prediction_id
    assert gateway.creates == 2


def test_a_worker_that_is_lost_within_the_second_create_request_leads_to_a_report(gateway: Sandbox) -> None:
    models, lost = [(FLUX, REFUSED), (SDXL, RUNS)], first_try()
    deferred = execute(models, lost)
    event_of(rebuilt(deferred.trigger))
    gateway.set_faults(Faults(no_list=404), method="GET")
    with failing_writes(1, SystemExit()), pytest.raises(SystemExit):
        resume(models, lost, deferred)
    with pytest.raises(errors.UncertainCreateError, match=f"look for {SDXL}"):
        run(operator(models, deferrable=True), lost.again())
    assert gateway.creates == 2


def test_a_retry_after_a_transient_error_of_the_second_model_does_not_pay_for_the_first_again(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, task_instance = [(FLUX, REFUSED), SDXL], first_try()
    deferred = execute(models, task_instance)
    event_of(rebuilt(deferred.trigger))
    clock = Clock(monkeypatch)
    gateway.set_faults(Faults(rate_limit="header", retry_after=3000), method="POST")
    with pytest.raises(errors.RateLimitError):
        resume(models, task_instance, deferred)
    with pytest.raises(errors.RateLimitError):
        run(operator(models, deferrable=True), task_instance.again())
    gateway.set_faults(None)
    clock.now += 60
    assert run(operator(models, deferrable=True), task_instance.again())
    assert paid(gateway) == [FLUX, SDXL_NAME]


def test_a_clear_starts_with_the_first_model_if_there_is_nothing_to_resume(gateway: Sandbox) -> None:
    models, task_instance = [(FLUX, given(fail=NSFW)), SDXL], first_try()
    assert run(operator(models), task_instance)
    assert run(operator(models), task_instance.again(cleared=True))
    assert paid(gateway) == [FLUX, SDXL_NAME] * 2


@pytest.mark.parametrize("fault", [Faults(no_channel=True), None], ids=["refused", "moderated"])
def test_a_clear_after_all_models_have_failed_starts_with_the_first(
    gateway: Sandbox, fault: Faults | None
) -> None:
    task_instance = first_try()
    gateway.set_faults(fault or Faults(fail=NSFW))
    with pytest.raises(AirflowFailException):
        run(operator([FLUX, SDXL]), task_instance)
    gateway.set_faults(None)
    before = len(paid(gateway))
    assert run(operator([FLUX, SDXL]), task_instance.again(cleared=True))
    assert paid(gateway)[before:] == [FLUX]


def test_a_changed_input_starts_with_the_first_model_and_cancels_what_runs(gateway: Sandbox) -> None:
    models, task_instance = [FLUX, SDXL], first_try()
    gateway.set_faults(Faults(no_channel=True), times=1)
    old = execute(models, task_instance, input=RUNS).trigger.prediction_id
    execute(models, task_instance.again(), input={**RUNS, "prompt": "a dog"})
    assert (paid(gateway), cancels(gateway)) == ([SDXL_NAME, FLUX], [old])


def test_a_list_that_became_shorter_starts_with_the_first_model(gateway: Sandbox) -> None:
    task_instance = first_try()
    gateway.set_faults(Faults(no_channel=True), times=1)
    deferred = execute([FLUX, SDXL], task_instance, input=given(fail=NSFW, processing=0.4))
    with pytest.raises(errors.PredictionModerated):
        resume([FLUX], task_instance, deferred)
    execute([FLUX], task_instance.again(), input=RUNS)
    assert paid(gateway) == [SDXL_NAME, FLUX]


def test_without_a_store_the_deferral_remembers_the_model(gateway: Sandbox) -> None:
    models = [(FLUX, REFUSED), (STABLE_DIFFUSION, REFUSED), SDXL]
    assert run(operator(models, deferrable=True, durable=False), first_try())
    assert paid(gateway) == [FLUX, SD_NAME, SDXL_NAME]


def test_a_model_may_be_tried_twice(gateway: Sandbox) -> None:
    with pytest.raises(errors.PredictionModerated):
        run(operator([SDXL, SDXL], input=REFUSED), TaskInstance())
    assert paid(gateway) == [SDXL_NAME, SDXL_NAME]


@pytest.mark.usefixtures("each_store")
def test_a_retry_after_an_execution_timeout_between_two_models_tries_the_second(gateway: Sandbox) -> None:
    task_instance = first_try()
    make = operator([(FLUX, given(fail=NSFW)), SDXL], **durable(task_instance))
    # The third write is the intent of the second create request.
    with failing_writes(2, AirflowTaskTimeout("late")), pytest.raises(AirflowTaskTimeout):
        run(make, task_instance)
    assert run(make, task_instance.again())
    assert paid(gateway) == [FLUX, SDXL_NAME]


def test_the_submit_operator_tries_the_next_model_after_a_refused_request(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(no_channel=True), times=1)
    with DAG("test"):
        task = QuickRouterSubmitPredictionOperator(task_id="run", input=GOOD, model=[FLUX, SDXL])
    task_instance = first_try()
    prediction_id = task.execute(context_of(task, task_instance))
    assert [prediction["id"] for prediction in gateway.predictions] == [prediction_id]
    assert task_instance.xcoms["prediction"]["model"] == SDXL_NAME


def test_a_mapped_task_tries_the_models_for_each_input(gateway: Sandbox) -> None:
    with DAG("test"):
        mapped = QuickRouterRunPredictionOperator.partial(
            task_id="run", model=[FLUX, SDXL], poll_interval=0.5
        ).expand(input=[{"prompt": "on {{ ds }}"}, REFUSED])
    assert running.run_task(mapped, running.TaskInstance(map_index=0))
    failed = running.failure_of(mapped, running.TaskInstance(map_index=1))
    assert isinstance(failed, errors.PredictionModerated)
    assert gateway.predictions[0]["input"] == {"prompt": "on 2026-01-02"}
    assert paid(gateway) == [FLUX, FLUX, SDXL_NAME]


def test_templates_in_the_inputs_and_names_of_models_are_rendered(gateway: Sandbox) -> None:
    models: list[Any] = ["{{ 'someone' }}/model", (SDXL, {"prompt": "at {{ ds }}"})]
    models.append((SDXL, SDXLInput(prompt="{{ ds }}")))
    gateway.set_faults(Faults(no_channel=True), times=2)
    assert running.run_task(running_task(operator(models, input={"prompt": "x"})))
    assert [prediction["input"] for prediction in gateway.predictions] == [{"prompt": "2026-01-02"}]


@pytest.mark.parametrize(("deferrable", "calls"), [(False, 1), (True, 2)], ids=["worker", "deferred"])
def test_a_decorated_function_is_called_again_only_after_a_deferral(
    gateway: Sandbox, deferrable: bool, calls: int
) -> None:
    called = list[str]()

    def cat() -> dict[str, Any]:
        called.append("cat")
        return {"prompt": "x" * 2000, "sandbox": {"processing": 0.4}}

    def make() -> Any:
        decorated: Any = quickrouter_task(
            model=[(FLUX, REFUSED), SDXL], deferrable=deferrable, poll_interval=0.5, task_id="run"
        )
        return decorated(cat)().operator

    assert run(make, TaskInstance())
    assert len(called) == calls
    assert gateway.predictions[1]["input"]["prompt"] == "x" * 2000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"model": [FLUX, (STABLE_DIFFUSION, {"width": 700})]},
            r"entry 1 of the list .*: input\.width: 700: ",
        ),
        ({"model": [FLUX, "sdxl"]}, "entry 1 of the list of models: model: 'sdxl' is not owner/name"),
        ({"model": [FLUX, None]}, "entry 1 of the list of models: Give exactly one of"),
        ({"model": [FLUX, (SDXL,)]}, "entry 1 of the list of models: version: must be a string"),
        ({"version": [SDXL, FLUX]}, "entry 1 .*: version: .* is called by its name; use model="),
        ({"model": [FLUX], "version": [SDXL]}, "Give exactly one of"),
        ({"model": []}, "Give exactly one of"),
        ({"model": [FLUX, SDXL], "input": None}, "entry 0 of the list of models: input: must be a dict"),
        ({"model": FLUX, "input": None}, "^input: must be a dict"),
    ],
)
def test_each_model_is_checked_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says):
        operator(**{"models": [], **arguments})()


def test_the_input_can_be_left_out_if_each_model_has_its_own() -> None:
    operator([(FLUX, {"prompt": "x"}), (SDXL, SDXLInput(prompt="x"))], input=None)()


def test_a_list_of_models_can_be_stored_and_is_the_same_at_each_parse() -> None:
    def stored() -> str:
        with DAG("test") as dag:
            operator([FLUX, (SDXL, SDXLInput(prompt="x"))])()
        return json.dumps(DagSerialization.to_dict(dag))

    assert stored() == stored()
