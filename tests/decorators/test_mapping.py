"""``@task.quickrouter(mapped=True)``: one call in a DAG, a list of inputs, a prediction of each."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

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


@pytest.mark.parametrize(
    "expand",
    [
        lambda decorated: decorated.expand(names=["a"]),
        lambda decorated: decorated.expand_kwargs([{"names": "a"}]),
        lambda decorated: decorated.partial(names="a").expand(names=["a"]),
    ],
    ids=["expand", "expand_kwargs", "partial"],
)
def test_it_cannot_be_mapped_twice(expand: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match="leave mapped=True out and expand over"), DAG("test"):
        expand(quickrouter_task(version=STABLE_DIFFUSION, mapped=True)(lambda **names: [names]))


@pytest.mark.parametrize("wait", [True, False])
def test_a_condition_is_evaluated_before_the_function_is_called(wait: bool) -> None:
    with DAG("test") as dag:
        decorated: Any = quickrouter_task(version=STABLE_DIFFUSION, mapped=True, wait=wait)(animals)
        task.run_if(lambda context: bool(context["on"]), skip_message="not today")(decorated)("a cat")
    lists: Any = dag.get_task("animals_inputs")
    lists._pre_execute_hook({"on": True})
    with pytest.raises(AirflowSkipException, match="not today"):
        lists._pre_execute_hook({"on": False})
    mapped: Any = dag.get_task("animals")
    assert "pre_execute" not in mapped.partial_kwargs


def test_run_if_can_stand_on_a_function_with_mapped_true() -> None:
    with DAG("test", schedule=None) as dag:

        @task.run_if(lambda context: True)
        @task.quickrouter(version=STABLE_DIFFUSION, mapped=True)
        def many() -> list[Any]:
            return [{"prompt": "a"}]

        many()
    assert set(dag.task_ids) == {"many", "many_inputs"}


def test_both_tasks_show_the_documentation_of_the_function_and_can_be_stored() -> None:
    dag = dag_of(animals, "a cat")
    documentation = {task.task_id: task.doc_md for task in dag.tasks}
    assert documentation == dict.fromkeys(("animals", "animals_inputs"), animals.__doc__)
    assert DagSerialization.to_dict(dag)
