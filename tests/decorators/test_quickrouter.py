"""``@task.quickrouter``: what the function returns is what is sent, waited for and shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.serialization.helpers import serialize_template_field
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SDXL, STABLE_DIFFUSION, StableDiffusionInput
from airflow_provider_quickrouter.decorators.quickrouter import quickrouter_task
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.conftest import cancels, first_try
from tests.operators.test_input_files import PNG, URI
from tests.tasks import TaskInstance, context_of, event_of, rebuilt

Function = Callable[..., Any]
UNKNOWN = "someone/something"


def cat(breed: str = "Siamese") -> dict[str, Any]:
    return {"prompt": f"a {breed} cat"}


def made(function: Function, *args: Any, **arguments: Any) -> Any:
    """The operator that the decorated function becomes when a DAG calls it."""
    with DAG("test"):
        decorated: Any = quickrouter_task(**{"version": STABLE_DIFFUSION, **arguments})
        return decorated(function)(*args).operator


def deferral(function: Function, task_instance: TaskInstance, **arguments: Any) -> TaskDeferred:
    operator = made(function, deferrable=True, **arguments)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator, task_instance))
    return deferred.value


def resumed(function: Function, task_instance: TaskInstance, deferred: TaskDeferred) -> Any:
    """The operator in a new process, and what it returns after the trigger's event."""
    operator = made(function, deferrable=True)
    kept = json.loads(json.dumps(deferred.kwargs))
    event = event_of(rebuilt(deferred.trigger))
    resume = getattr(operator, deferred.method_name)
    return operator, resume(context_of(operator, task_instance), event=event, **kept)


def inputs(gateway: Sandbox) -> list[Any]:
    return [prediction["input"] for prediction in gateway.predictions]


def test_the_task_runs_what_the_function_returns_and_returns_the_output(gateway: Sandbox) -> None:
    operator, task_instance = made(cat, "Persian", poll_interval=0.1), TaskInstance()
    output = operator.execute(context_of(operator, task_instance))
    assert inputs(gateway) == [{"prompt": "a Persian cat"}]
    assert output == task_instance.xcoms["prediction"]["output"]
    assert operator.task_id == "cat"


def test_without_wait_it_returns_the_id(gateway: Sandbox) -> None:
    operator, task_instance = made(cat, wait=False), TaskInstance()
    prediction_id = operator.execute(context_of(operator, task_instance))
    assert prediction_id == task_instance.xcoms["prediction"]["id"]
    assert gateway.creates == 1


def test_a_models_input_and_the_context_may_be_used(gateway: Sandbox) -> None:
    def ship(name: str, ti: Any = None) -> StableDiffusionInput:
        return StableDiffusionInput(prompt=f"{name}, {ti.run_id}", width=512)

    operator = made(ship, "a ship", wait=False)
    operator.execute(context_of(operator, TaskInstance()))
    assert inputs(gateway) == [{"prompt": "a ship, a run", "width": 512}]


def test_what_the_function_returns_is_no_template(gateway: Sandbox) -> None:
    operator = made(lambda: {"prompt": "{{ ti.run_id }}"}, task_id="run", wait=False)
    operator.execute(context_of(operator, TaskInstance()))
    assert inputs(gateway) == [{"prompt": "{{ ti.run_id }}"}]


def test_the_arguments_of_the_function_are_templates(gateway: Sandbox) -> None:
    operator = made(cat, "{{ ti.run_id }}", wait=False)
    operator.render_template_fields(context_of(operator, TaskInstance()))
    operator.execute(context_of(operator, TaskInstance()))
    assert inputs(gateway) == [{"prompt": "a a run cat"}]


def test_after_a_deferral_the_function_is_not_called_again_and_the_input_is_still_shown(
    gateway: Sandbox,
) -> None:
    task_instance, calls = TaskInstance(), list[str]()

    def dog() -> dict[str, Any]:
        calls.append("dog")
        return {"prompt": "a dog", "image": "data:image/png;base64," + "A" * 5000}

    deferred = deferral(dog, task_instance)
    operator, output = resumed(dog, task_instance, deferred)
    assert output == task_instance.xcoms["prediction"]["output"]
    assert calls == ["dog"]
    assert operator.input["prompt"] == "a dog"
    assert len(operator.input["image"]) < 1100
    assert "AAA" not in json.dumps(rebuilt(deferred.trigger).serialize())


def test_a_path_is_sent_as_its_content_and_kept_as_a_path(gateway: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    path = ObjectStoragePath(f"file://{file}")
    deferred = deferral(
        lambda: {"image": path, "style": path}, TaskInstance(), task_id="run", version=UNKNOWN
    )
    assert inputs(gateway) == [{"image": URI, "style": URI}]
    assert deferred.kwargs == {"given": {"image": str(path), "style": str(path)}}


def test_what_airflow_masks_is_not_kept_over_the_deferral(gateway: Sandbox) -> None:
    def private() -> dict[str, Any]:
        return {"prompt": "a dog", "api_key": "a-key-of-someone", "more": [1]}

    deferred = deferral(private, TaskInstance())
    assert deferred.kwargs == {"given": {"prompt": "a dog", "api_key": "***", "more": [1]}}
    assert inputs(gateway)[0]["api_key"] == "a-key-of-someone"


def test_a_retry_takes_up_the_prediction_if_the_function_returns_the_same(gateway: Sandbox) -> None:
    answers = [{"prompt": "a cat"}, {"prompt": "a cat"}, {"prompt": "a dog"}]

    def next_one() -> dict[str, Any]:
        return {**answers.pop(0), "sandbox": {"never": True}}

    lost = first_try()
    first = deferral(next_one, lost).trigger.prediction_id
    assert deferral(next_one, lost.again()).trigger.prediction_id == first
    assert (gateway.creates, cancels(gateway)) == (1, [])

    assert deferral(next_one, lost.again()).trigger.prediction_id != first
    assert (gateway.creates, cancels(gateway)) == (2, [first])


def test_the_operators_arguments_and_those_of_every_task_pass_through() -> None:
    asset = Asset("pictures")
    operator = made(
        cat, timeout=60, on_moderation="skip", retries=3, pool="paid", outlets=[asset], deferrable=True
    )
    assert (operator.timeout, operator.on_moderation, operator.deferrable) == (60, "skip", True)
    assert (operator.retries, operator.pool, operator.outlets) == (3, "paid", [asset])


def test_override_changes_arguments_and_a_second_call_gets_an_id_of_its_own() -> None:
    with DAG("test"):
        decorated: Any = quickrouter_task(version=STABLE_DIFFUSION)(cat)
        first, second = decorated(), decorated.override(version=SDXL, retries=5)("Persian")
    assert (first.operator.task_id, second.operator.task_id) == ("cat", "cat__1")
    assert (second.operator.version, second.operator.retries) == (SDXL, 5)


def test_the_version_may_come_from_the_dags_default_arguments() -> None:
    with DAG("test", default_args={"version": SDXL, "retry_delay": timedelta(seconds=1)}):
        decorated: Any = quickrouter_task(cat)
        assert decorated().operator.version == SDXL


def test_a_number_of_seconds_as_wait_is_that_of_the_operator(gateway: Sandbox) -> None:
    operator = made(cat, wait=10, deferrable=True)
    assert operator.execute(context_of(operator, TaskInstance())) == gateway.predictions[0]["output"]
    assert gateway.requests[0].headers["prefer"] == "wait=10"
    with pytest.raises(errors.InvalidInputError, match="from 1 to 60, .* got 61"):
        made(cat, wait=61)


def test_the_function_can_be_expanded(gateway: Sandbox) -> None:
    with DAG("test"):
        decorated: Any = quickrouter_task(version=STABLE_DIFFUSION, wait=False)(cat)
        mapped = decorated.expand(breed=["Siamese", "Persian"]).operator
    for breed in ("Siamese", "Persian"):
        operator = mapped.unmap({"op_kwargs": {"breed": breed}})
        operator.execute(context_of(operator, TaskInstance()))
    assert [given["prompt"] for given in inputs(gateway)] == ["a Siamese cat", "a Persian cat"]


def test_the_dag_can_be_stored_and_is_the_same_at_each_parse() -> None:
    stored = [json.dumps(DagSerialization.to_dict(made(cat).dag)) for _ in range(2)]
    assert stored[0] == stored[1]
    assert serialize_template_field(made(cat).input, "input") == "DYNAMIC (set during execution)"


def test_a_function_may_skip_its_task(gateway: Sandbox) -> None:
    def nothing_today() -> None:
        raise AirflowSkipException

    operator = made(nothing_today)
    with pytest.raises(AirflowSkipException):
        operator.execute(context_of(operator, TaskInstance()))
    assert gateway.requests == []


async def asynchronous() -> dict[str, Any]:
    return cat()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: [{"prompt": "a"}], r"the function returned several; .*mapped=True"),
        (lambda: (given for given in [{"prompt": "a"}]), r"mapped=True"),
        (lambda: "a prompt", "input: must be a dict .*not str"),
        (lambda: None, "not NoneType"),
        (lambda: {"width": 700}, r"input\.width: 700"),
        (asynchronous, "the function is async; write it with def alone"),
    ],
)
def test_what_the_function_must_not_return_is_refused_before_anything_is_paid(
    gateway: Sandbox, function: Function, says: str
) -> None:
    operator = made(function, task_id="run")
    with pytest.raises(AirflowFailException, match=says):
        operator.execute(context_of(operator, TaskInstance()))
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"version": None}, "exactly one of version="),
        ({"model": "someone/something"}, "exactly one of version="),
        ({"version": "sdxl"}, "version: 'sdxl' is not owner/name"),
        ({"input": {}}, "input: the function returns it"),
        ({"timeout": 0}, "timeout: must be a number of seconds above 0"),
        ({"multiple_outputs": True}, "multiple_outputs: the function returns the input"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says):
        made(cat, **arguments)
