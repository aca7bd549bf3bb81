"""Batches: where their results can lie, what they hold, and what is not paid twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.operators.prediction import QuickRouterBatchPredictionOperator
from tests.faults.batches import results_in, run_batch
from tests.faults.clock import Clock
from tests.faults.dags import in_dag, worker_and_deferred
from tests.faults.files import data_uri, instant, picture
from tests.faults.gateway import Gateway, ReceivedRequest
from tests.faults.responses import MODEL, Cut, Reply, Response, json_response
from tests.faults.running import TaskInstance, run_task


@worker_and_deferred
def test_a_batch_starts_on_s3_where_nothing_exists_yet(deferrable: bool, s3: str, gateway: Gateway) -> None:
    path = f"{s3}/lighthouses/{'deferred' if deferrable else 'here'}.jsonl"
    summary = run_batch(path, [{"prompt": "a"}, {"prompt": "b"}], deferrable=deferrable)
    assert summary["succeeded"] == 2
    assert [line["outcome"] for line in results_in(path)] == ["succeeded"] * 2


OUTPUTS = {
    "a picture": [data_uri(picture())],
    "a transcript": ["The sea was calm. " * 2500],
    "two thousand numbers": [{"embedding": [n / 7 for n in range(6000)]}],
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_the_results_hold_the_whole_output(output: Any, gateway: Gateway, tmp_path: Path) -> None:
    gateway.result["output"] = output
    run_batch(f"file://{tmp_path}/r.jsonl")
    (line,) = results_in(tmp_path / "r.jsonl")
    assert (line["outcome"], line["output"]) == ("succeeded", output)


@pytest.mark.parametrize("name", ["a[1]", "what?", "a*b"])
@pytest.mark.parametrize("kind", ["disk", "memory", "s3"])
def test_the_results_can_have_a_path_with(
    name: str, kind: str, gateway: Gateway, tmp_path: Path, s3: str, memory: str
) -> None:
    root = {"disk": f"file://{tmp_path}", "memory": memory, "s3": s3}[kind]
    path = f"{root}/{name}/r.jsonl"
    assert run_batch(path)["succeeded"] == 1
    (line,) = results_in(path)
    assert line["outcome"] == "succeeded"


def test_a_mapped_batch_does_not_pay_for_results_that_another_one_overwrites(
    gateway: Gateway, tmp_path: Path
) -> None:
    lists = [[{"prompt": "a"}, {"prompt": "b"}], [{"prompt": "c"}, {"prompt": "d"}]]
    path = f"file://{tmp_path}/r.jsonl"
    mapped = in_dag(
        lambda: QuickRouterBatchPredictionOperator.partial(
            task_id="run", version=MODEL, output_path=path, creates_per_minute=60_000, deferrable=False
        ).expand(inputs=lists)
    )
    run_task(mapped, TaskInstance(map_index=0))
    with pytest.raises(QuickRouterError, match="output_path"):
        run_task(mapped, TaskInstance(map_index=1))
    assert len(gateway.creates) == 2


def skewed(gateway: Gateway, skew: float, lost: int) -> None:
    """Let the gateway's clock be ``skew`` seconds ahead; cut off the response to one create request.

    Its list of predictions is complete.
    """

    def create(request: ReceivedRequest) -> Reply:
        number = len(gateway.predictions)
        made = gateway.accept(request.json["input"], created_at=instant(skew))
        return Cut() if number == lost else json_response(gateway.describe(made), 201)

    def poll(request: ReceivedRequest) -> Response:
        ended = gateway.result | {"completed_at": instant(skew)}
        return json_response(gateway.describe(request.prediction_id, **ended))

    def page(request: ReceivedRequest) -> Response:
        newest_first = reversed(list(gateway.predictions))
        listed = [gateway.describe(made, **gateway.result) for made in newest_first]
        return json_response({"previous": None, "next": None, "results": listed})

    gateway.on_create, gateway.on_poll, gateway.on_list = create, poll, page


@pytest.mark.parametrize("skew", [-120.0, -7200.0, 7200.0])
def test_a_create_whose_response_is_lost_is_not_paid_twice_if_the_gateways_clock_is_off(
    skew: float, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    skewed(gateway, skew, lost=1)
    run_batch(f"file://{tmp_path}/r.jsonl", [{"prompt": f"p{n}"} for n in range(3)], fail_on="all")
    paid = Counter(request.json["input"]["prompt"] for request in gateway.creates)
    assert paid == {"p0": 1, "p1": 1, "p2": 1}
    outcomes = [line["outcome"] for line in results_in(tmp_path / "r.jsonl")]
    assert Counter(outcomes)["succeeded"] >= 2
    assert set(outcomes) <= {"succeeded", "uncertain"}
