"""``@task.quickrouter(mapped=True)``: one call in a DAG, a list of inputs, a prediction of each."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION, StableDiffusionInput
from airflow_provider_quickrouter.decorators.quickrouter import quickrouter_task
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.tasks import TaskInstance, context_of


def animals(*names: str) -> list[Any]:
    """Animals, one a line."""
    return [StableDiffusionInput(prompt=name) for name in names]


def dag_of(function: Any, *args: Any, **arguments: Any) -> DAG:
    with DAG("test") as dag:
        quickrouter_task(version=STABLE_DIFFUSION, mapped=True, **arguments)(function)(*args)
    return dag


def test_the_function_lists_the_inputs_and_each_becomes_a_prediction(gateway: Sandbox) -> None:
    dag = dag_of(animals, "a cat", "a dog", wait=False)
    lists: Any = dag.get_task("animals_inputs")
    mapped: Any = dag.get_task("animals")
    assert mapped.upstream_task_ids == {"animals_inputs"}
    listed = lists.execute(context_of(lists, TaskInstance()))
    assert listed == [{"prompt": "a cat"}, {"prompt": "a dog"}]
    for given in listed:
        operator = mapped.unmap({"input": given})
        operator.execute(context_of(operator, TaskInstance()))
    assert [p["input"] for p in gateway.predictions] == listed


@pytest.mark.parametrize(
    ("wait", "kind"), [(True, QuickRouterRunPredictionOperator), (False, QuickRouterSubmitPredictionOperator)]
)
def test_the_arguments_are_those_of_the_mapped_task(wait: bool, kind: type) -> None:
    dag = dag_of(animals, "a cat", wait=wait, pool="paid", retries=4, task_id="zoo")
    assert {task.task_id for task in dag.tasks} == {"zoo", "zoo_inputs"}
    mapped: Any = dag.get_task("zoo")
    assert mapped.operator_class is kind
    assert (mapped.pool, mapped.retries) == ("paid", 4)
    assert dag.get_task("zoo_inputs").pool == "default_pool"


def test_it_can_be_called_twice_and_overridden() -> None:
    with DAG("test") as dag:
        decorated: Any = quickrouter_task(version=STABLE_DIFFUSION, mapped=True)(animals)
        decorated("a cat")
        returned = decorated.override(retries=7)("a dog")
    assert set(dag.task_ids) == {"animals", "animals_inputs", "animals__1", "animals__1_inputs"}
    assert returned.operator.task_id == "animals__1"
    assert returned.operator.retries == 7


@pytest.mark.parametrize("returned", [{"prompt": "a"}, "a prompt", None, 7])
def test_a_function_that_returns_no_list_is_told_so(returned: Any) -> None:
    lists: Any = dag_of(lambda: returned, task_id="zoo").get_task("zoo_inputs")
    with pytest.raises(AirflowFailException, match="with mapped=True the function returns a list"):
        lists.execute(context_of(lists, TaskInstance()))


@pytest.mark.parametrize("way", ["partial", "expand", "expand_kwargs"])
def test_it_cannot_be_mapped_twice(way: str) -> None:
    decorated: Any = quickrouter_task(version=STABLE_DIFFUSION, mapped=True)(animals)
    with pytest.raises(errors.InvalidInputError, match="leave mapped=True out and expand over"):
        getattr(decorated, way)(names=["a"])
