"""``@task.quickrouter_batch``: a prediction of each input that the function returns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION, StableDiffusionInput
from airflow_provider_quickrouter.decorators.batch import quickrouter_batch_task
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.batches import rebuilt, results
from tests.tasks import TaskInstance, context_of, event_of

DEFERRAL_TIMED_OUT = "__fail__", {"error": "Trigger timeout"}


def ships(count: int = 3) -> list[Any]:
    numbered = [{"prompt": f"ship {number}"} for number in range(count - 1)]
    return [*numbered, StableDiffusionInput(prompt="the last ship")]


def made(function: Callable[..., Any], path: Path, *args: Any, **arguments: Any) -> Any:
    """The operator that the decorated function becomes when a DAG calls it."""
    given: dict[str, Any] = {
        "version": STABLE_DIFFUSION,
        "output_path": str(path),
    }
    with DAG("test"):
        decorated: Any = quickrouter_batch_task(creates_per_minute=60_000, **given | arguments)
        return decorated(function)(*args).operator


def prompts(gateway: Sandbox) -> list[str]:
    return sorted(prediction["input"]["prompt"] for prediction in gateway.predictions)


def test_each_input_that_the_function_returns_is_an_item(gateway: Sandbox, tmp_path: Path) -> None:
    operator, ti = made(ships, tmp_path / "r", 4, deferrable=False), TaskInstance()
    summary = operator.execute(context_of(operator, ti))
    assert (summary["succeeded"], operator.task_id) == (4, "ships")
    assert prompts(gateway) == ["ship 0", "ship 1", "ship 2", "the last ship"]
    assert ti.xcoms["return_value"] == summary


def test_a_generator_of_inputs_and_the_context_may_be_used(gateway: Sandbox, tmp_path: Path) -> None:
    def drawn(ti: Any = None) -> Iterator[dict[str, str]]:
        yield from ({"prompt": f"{ti.run_id} {{{{ {n} }}}}"} for n in range(2))

    operator = made(drawn, tmp_path / "r", deferrable=False)
    operator.execute(context_of(operator, TaskInstance()))
    assert prompts(gateway) == ["a run {{ 0 }}", "a run {{ 1 }}"]


@pytest.fixture
def deferred(gateway: Sandbox, tmp_path: Path) -> TaskDeferred:
    operator = made(ships, tmp_path / "r", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(operator, TaskInstance()))
    return deferred.value


def never() -> Any:
    raise AssertionError("the function was called again")


def test_after_a_deferral_the_function_is_not_called_again(
    gateway: Sandbox, tmp_path: Path, deferred: TaskDeferred
) -> None:
    stored = json.loads(json.dumps(deferred.kwargs))
    operator = made(never, tmp_path / "r", deferrable=True, task_id="ships")
    event = event_of(rebuilt(deferred.trigger))
    summary = operator.resume_execution(
        deferred.method_name, {**stored, "event": event}, context_of(operator, TaskInstance())
    )
    assert summary["succeeded"] == len(results(tmp_path / "r")) == 3
    assert gateway.creates == 3


def test_after_a_deferral_that_timed_out_it_is(
    gateway: Sandbox, tmp_path: Path, deferred: TaskDeferred
) -> None:
    operator = made(ships, tmp_path / "r", deferrable=True)
    summary = operator.resume_execution(*DEFERRAL_TIMED_OUT, context_of(operator, TaskInstance()))
    assert summary["succeeded"] == gateway.creates == 3


def test_a_retry_calls_the_function_again_and_creates_what_has_changed(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance(max_tries=1)
    for attempt, function in ((ti, ships), (ti.again(), lambda: [*ships()[:2], {"prompt": "another"}])):
        operator = made(function, tmp_path / "r", deferrable=False, task_id="run")
        operator.execute(context_of(operator, attempt))
    assert gateway.creates == 4


async def later() -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: {"prompt": "one"}, "inputs: must be a list of dicts or models, not dict"),
        (lambda: [{"prompt": "a"}, {"width": 700}], r"inputs\[1\]"),
        (lambda: None, "inputs: must be a list of dicts or models, not NoneType"),
        (later, "inputs: the function is async"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_paid(
    gateway: Sandbox, tmp_path: Path, function: Any, message: str
) -> None:
    operator = made(function, tmp_path / "r", task_id="run")
    with pytest.raises(errors.InvalidInputError, match=message):
        operator.execute(context_of(operator, TaskInstance()))
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": []}, "inputs: the function returns it"),
        ({"multiple_outputs": True}, "multiple_outputs: the function returns the input"),
        ({"outputpath": "/r"}, "did you mean 'output_path'"),
        ({"version": "x"}, "version: 'x' is not"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: Any, message: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=message):
        quickrouter_batch_task(**arguments)


def test_airflow_knows_the_decorator_by_the_provider_info() -> None:
    assert task.quickrouter_batch is quickrouter_batch_task
