"""Values that other tasks return: they are sent as they are, never rendered as templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterBatchPredictionOperator,
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from tests.faults.clock import Clock
from tests.faults.dags import in_dag
from tests.faults.gateway import Gateway
from tests.faults.running import TaskInstance, run_task

UNLISTED_MODEL = "someone/some-model"
PROMPTS = ["a {{ ds }} cat", "100 {% of it %}", "{{ conn.quickrouter_default.password }}", "a {# b #} c"]
"""Prompts of people, as a database or a form returns them. The third would send the API key."""


@task
def listed() -> list[Any]:
    """Stand for an upstream task, whose return value is in ``TaskInstance.upstream``."""
    return []


def sent_inputs(gateway: Gateway) -> list[Any]:
    return [request.json["input"] for request in gateway.creates]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "operator", [QuickRouterSubmitPredictionOperator, QuickRouterRunPredictionOperator], ids=["submit", "run"]
)
def test_a_mapped_input_is_sent_as_it_is(operator: Any, prompt: str, gateway: Gateway, fast: Clock) -> None:
    mapped = in_dag(lambda: operator.partial(task_id="run", version=SDXL).expand(input=listed()))
    run_task(mapped, TaskInstance(map_index=1, listed=[{"prompt": "x"}, {"prompt": prompt}]))
    assert sent_inputs(gateway) == [{"prompt": prompt}]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_list_of_a_function_with_mapped_true_is_sent_as_it_is(prompt: str, gateway: Gateway) -> None:
    with DAG("test", schedule=None) as dag:

        @task.quickrouter(version=SDXL, mapped=True, task_id="run", wait=False)
        def many() -> list[Any]:
            return []

        many()
    run_task(dag.get_task("run"), TaskInstance(map_index=0, run_inputs=[{"prompt": prompt}]))
    assert sent_inputs(gateway) == [{"prompt": prompt}]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_mapped_inputs_of_a_batch_are_sent_as_they_are(
    prompt: str, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    batch = in_dag(
        lambda: QuickRouterBatchPredictionOperator.partial(
            task_id="run", version=SDXL, output_path=f"file://{tmp_path}/r.jsonl"
        ).expand(inputs=listed())
    )
    run_task(batch, TaskInstance(map_index=0, listed=[[{"prompt": prompt}]]))
    assert sent_inputs(gateway) == [{"prompt": prompt}]


def test_templates_in_literal_values_are_rendered(gateway: Gateway, fast: Clock, tmp_path: Path) -> None:
    create: dict[str, Any] = {"task_id": "run", "version": UNLISTED_MODEL}
    given = {"prompt": "on {{ ds }}", "nested": [{"a": "{{ run_id }}"}]}
    run_task(in_dag(lambda: QuickRouterSubmitPredictionOperator(**create, input=given)))
    mapped = in_dag(
        lambda: QuickRouterSubmitPredictionOperator.partial(**create).expand(
            input=[{"prompt": "at {{ ds }}"}]
        )
    )
    run_task(mapped, TaskInstance(map_index=0))
    batch = in_dag(
        lambda: QuickRouterBatchPredictionOperator(
            **create, inputs=[{"prompt": "in {{ ds }}"}], output_path=f"file://{tmp_path}/{{{{ ds }}}}.jsonl"
        )
    )
    run_task(batch)
    dates = [sent["prompt"] for sent in sent_inputs(gateway)]
    assert dates == ["on 2026-01-02", "at 2026-01-02", "in 2026-01-02"]
    assert sent_inputs(gateway)[0]["nested"] == [{"a": "a run"}]
    assert (tmp_path / "2026-01-02.jsonl").exists()
