"""What a prediction has cost is reported by the task that saw its end, whichever way it waited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_quickrouter.api import errors, protocol
from airflow_provider_quickrouter.api.models import SDXL, STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.tasks.lineage import RUN_FACET
from tests import tasks
from tests.conftest import KEY, PRICES, connect
from tests.tasks import TaskInstance, context_of, run

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
PICTURES = Asset("pictures")


def runs(version: str = STABLE_DIFFUSION, faults: dict[str, Any] | None = None, **arguments: Any) -> Any:
    given = {"prompt": "a cat", "num_outputs": 2, "sandbox": faults or {}}
    return lambda: QuickRouterRunPredictionOperator(task_id="run", version=version, input=given, **arguments)


@MODES
def test_the_manifest_and_asset_events_have_the_cost(
    priced_gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    events, ti = OutletEventAccessors(), TaskInstance()
    monkeypatch.setattr(tasks, "OutletEventAccessors", lambda: events)
    run(runs(outlets=[PICTURES], deferrable=deferrable), ti)
    assert ti.xcoms["prediction"]["cost"] == 0.08
    assert events[PICTURES].extra["cost"] == 0.08
    assert [entry["cost"] for entry in priced_gateway.predictions] == [0.08]


def test_openlineage_has_the_cost(priced_gateway: Sandbox) -> None:
    task = runs()()
    task.execute(context_of(task, TaskInstance()))
    facet = task.get_openlineage_facets_on_complete(None).run_facets[RUN_FACET]
    assert facet.cost == 0.08


@MODES
@pytest.mark.parametrize(("version", "billed"), [(STABLE_DIFFUSION, False), (SDXL, True)])
def test_a_failure_costs_its_seconds_but_no_outputs(
    priced_gateway: Sandbox, deferrable: bool, version: str, billed: bool
) -> None:
    ti = TaskInstance()
    with pytest.raises(errors.PredictionFailed):
        run(runs(version, {"fail": "out of memory"}, deferrable=deferrable), ti)
    (entry,) = priced_gateway.predictions
    assert ti.xcoms["prediction"]["cost"] == entry["cost"]
    assert (entry["cost"] > 0) is billed


def test_a_prediction_that_runs_has_no_cost_yet(priced_gateway: Sandbox) -> None:
    ti = TaskInstance()
    given = {"prompt": "a cat", "sandbox": {"never": True}}
    run(
        lambda: QuickRouterSubmitPredictionOperator(task_id="run", version=STABLE_DIFFUSION, input=given),
        ti,
    )
    assert ti.xcoms["prediction"]["cost"] is None
    assert priced_gateway.counts["cost"] == 0.0


def test_a_sensor_that_ends_in_the_triggerer_reports_the_cost(priced_gateway: Sandbox) -> None:
    made = QuickRouterHook().create_prediction({"prompt": "a cat"}, version=STABLE_DIFFUSION)
    ti = TaskInstance()
    run(lambda: QuickRouterPredictionSensor(task_id="wait", prediction_id=made.id, deferrable=True), ti)
    assert ti.xcoms["prediction"]["cost"] == 0.04


@MODES
def test_the_requested_model_has_the_price_if_the_api_names_none(
    priced_gateway: Sandbox, deferrable: bool
) -> None:
    priced_gateway.set_faults(Faults(body="sparse"))
    ti = TaskInstance()
    run(runs(deferrable=deferrable), ti)
    assert ti.xcoms["prediction"]["cost"] == 0.08


def test_without_a_price_the_cost_is_unknown_whatever_the_gateway_says(gateway: Sandbox) -> None:
    body = {"id": "p1", "status": "succeeded", "model": "a/b", "cost": 99, "output": "https://x/0.png"}
    response = protocol.Response(200, {}, json.dumps(body).encode())
    assert QuickRouterHook().reader(protocol.get("p1"))(response, 0.0).cost is None


def test_a_picture_that_is_reused_costs_nothing(
    priced_gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra = {"prices": PRICES, "allow_private_addresses": True}
    connect(monkeypatch, host=priced_gateway.url, password=KEY, extra=extra)
    costs = []
    for _ in "12":
        ti = TaskInstance()
        run(runs(output_path=f"file://{tmp_path}", reuse="any_seed"), ti)
        costs.append(ti.xcoms["prediction"]["cost"])
    assert costs == [0.08, 0.0]
    assert priced_gateway.counts["cost"] == 0.08
