"""``max_cost`` of a batch limits what all attempts pay together; the summary has what was paid."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SDXL, STABLE_DIFFUSION
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.operators.batches import batch, inputs_of, operator, results, retried
from tests.operators.test_batch_crash import LostError, lost_at
from tests.tasks import TaskInstance, context_of

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.LAG", 0.3)


def fails(inputs: Any, path: Path, ti: TaskInstance, **arguments: Any) -> dict[str, Any]:
    """Run an attempt that reaches its limit; return the summary in XCom."""
    with pytest.raises(errors.BatchFailed, match="max_cost=") as failed:
        batch(inputs, path, ti, **arguments)
    assert not retried(failed.value)
    return dict(ti.xcoms["return_value"])


@MODES
def test_a_limit_of_1_makes_25_creates_at_4_cents(
    priced_gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    summary = fails(inputs_of(40), tmp_path / "r", TaskInstance(), max_cost=1.00, deferrable=deferrable)
    assert priced_gateway.creates == 25
    assert summary["outcomes"] == {"succeeded": 25, "not_submitted": 15}
    assert summary["cost"] == priced_gateway.counts["cost"] == 1.0
    lines = results(tmp_path / "r")
    assert [line["cost"] for line in lines] == [0.04] * 25 + [0.0] * 15
    assert all(
        "max_cost=1.0: 1.0 was paid, and another may exceed it" in line["error"] for line in lines[25:]
    )


@pytest.mark.parametrize(("first", "second"), [(3, 9), (12, 20), (40, 7)])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_two_lost_workers_do_not_raise_the_limit(
    priced_gateway: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    second: int,
    before: bool,
) -> None:
    ti = TaskInstance(max_tries=3)
    for write in (first, second):
        with monkeypatch.context() as patch:
            lost_at(patch, write, before=before)
            with pytest.raises(LostError):
                batch(inputs_of(40), tmp_path / "r", ti, max_cost=1.00)
        ti = ti.again()
    summary = fails(inputs_of(40), tmp_path / "r", ti, max_cost=1.00)
    assert priced_gateway.creates == 25
    assert summary["cost"] == priced_gateway.counts["cost"] == 1.0


def test_a_clear_with_a_higher_limit_submits_the_rest(priced_gateway: Sandbox, tmp_path: Path) -> None:
    ti = TaskInstance(max_tries=1)
    fails(inputs_of(7), tmp_path / "r", ti, max_cost=0.20)
    fails(inputs_of(7), tmp_path / "r", ti := ti.again(cleared=True), max_cost="0.2")
    assert priced_gateway.creates == 5
    summary = batch(inputs_of(7), tmp_path / "r", ti.again(cleared=True), max_cost=0.28)
    assert (summary["succeeded"], summary["cost"], priced_gateway.creates) == (7, 0.28, 7)


def test_everything_again_after_a_success_counts_too(priced_gateway: Sandbox, tmp_path: Path) -> None:
    ti = TaskInstance(max_tries=1)
    assert batch(inputs_of(4), tmp_path / "r", ti, max_cost=0.20)["cost"] == 0.16
    summary = fails(inputs_of(4), tmp_path / "r", ti.again(cleared=True), max_cost=0.20)
    assert (summary["cost"], priced_gateway.creates) == (0.2, 5)


def test_what_failed_costs_nothing_and_leaves_room(priced_gateway: Sandbox, tmp_path: Path) -> None:
    inputs = [*inputs_of(3, fail="out of memory"), *inputs_of(9)]
    summary = fails(inputs, tmp_path / "r", TaskInstance(), max_cost=0.20)
    assert summary["outcomes"] == {"failed": 3, "succeeded": 5, "not_submitted": 4}
    assert summary["cost"] == priced_gateway.counts["cost"] == 0.2


def test_the_outputs_that_an_input_asks_for_count(priced_gateway: Sandbox, tmp_path: Path) -> None:
    inputs = [{**given, "num_outputs": 2} for given in inputs_of(5)]
    assert fails(inputs, tmp_path / "r", TaskInstance(), max_cost=0.19)["cost"] == 0.16
    assert priced_gateway.creates == 2


def test_a_price_of_seconds_counts_the_most_until_the_real_ones_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = {"stability-ai/sdxl": {"per_second": 0.1, "max_seconds": 2}}
    with Sandbox(api_key=KEY, processing=0.1, prices=prices) as gateway:
        connect(monkeypatch, host=gateway.url, extra={"prices": prices})
        inputs = [*inputs_of(3), *inputs_of(2, fail="out of memory")]
        summary = batch(inputs, tmp_path / "r", version=SDXL, max_cost=0.40, fail_on=0.9)
        spans = [(entry["created_at"], entry["completed_at"]) for entry in gateway.predictions]
        assert summary["outcomes"] == {"succeeded": 3, "failed": 2}
        assert summary["cost"] == gateway.counts["cost"]
        assert sum(Decimal(str(line["cost"])) for line in results(tmp_path / "r")) == Decimal(
            str(summary["cost"])
        )
    # Only two fit at the same time.
    assert max(sum(begun <= at < ended for begun, ended in spans) for at, _ in spans) <= 2


def test_a_create_request_that_may_have_been_accepted_counts(priced_gateway: Sandbox, tmp_path: Path) -> None:
    priced_gateway.set_faults(Faults(drop="after"), times=1, method="POST")
    priced_gateway.set_faults(Faults(no_list=404), method="GET")
    ti = TaskInstance(max_tries=1)
    summary = fails(inputs_of(6), tmp_path / "r", ti, max_cost=0.12, on_uncertain="resubmit")
    assert (summary["succeeded"], summary["cost"], priced_gateway.creates) == (2, 0.12, 3)


def test_inputs_that_are_refused_cost_nothing(priced_gateway: Sandbox, tmp_path: Path) -> None:
    inputs = inputs_of(4)
    inputs[0]["sandbox"] = {"no such fault": 1}
    summary = batch(inputs, tmp_path / "r", max_cost=0.12, fail_on=0.5)
    assert summary["outcomes"] == {"refused": 1, "succeeded": 3}
    assert summary["cost"] == priced_gateway.counts["cost"] == 0.12


def test_costs_are_summed_without_a_limit_and_without_prices_there_are_none(
    priced_gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batch(inputs_of(3), tmp_path / "r")["cost"] == 0.12
    connect(monkeypatch, host=priced_gateway.url)
    assert batch(inputs_of(3), tmp_path / "s")["cost"] == 0.0
    assert [line["cost"] for line in results(tmp_path / "s")] == [None] * 3


@pytest.mark.parametrize(
    "reference",
    [
        {"version": SDXL},
        {"version": None, "model": "someone/something"},
        {"version": STABLE_DIFFUSION.partition(":")[2]},
    ],
)
def test_a_limit_needs_the_most_that_a_prediction_costs(
    priced_gateway: Sandbox, tmp_path: Path, reference: dict[str, Any]
) -> None:
    task = operator(inputs_of(1), tmp_path / "r", max_cost=1.0, **reference)
    with pytest.raises(
        errors.InvalidInputError, match=re.escape('extra.prices: {"owner/name": {"per_output"')
    ):
        task.execute(context_of(task, TaskInstance()))
    assert priced_gateway.creates == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [-1, "much", float("nan"), float("inf"), True, "None"])
def test_a_limit_is_a_number(gateway: Sandbox, tmp_path: Path, limit: Any) -> None:
    with pytest.raises(errors.InvalidInputError, match="max_cost: must be a number from 0 on"):
        operator(inputs_of(1), tmp_path / "r", max_cost=limit)
    task = operator(inputs_of(1), tmp_path / "r", max_cost="{{ var.value.limit }}")
    task.max_cost = None if limit == "None" else limit
    with pytest.raises(errors.InvalidInputError, match="max_cost: must be a number from 0 on"):
        task.execute(context_of(task, TaskInstance()))
