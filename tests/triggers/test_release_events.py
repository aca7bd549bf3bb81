"""Tasks that go on, or are tried again, after an upgrade: they read what any version wrote."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_quickrouter import __version__
from airflow_provider_quickrouter.api.errors import (
    AuthenticationError,
    PredictionFailed,
    PredictionTimeout,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from dev.release_form import classes
from dev.release_life import INPUT, INPUTS, RESULTS
from tests.operators.batches import batch, results
from tests.tasks import Store, TaskInstance, context_of, event_of
from tests.triggers.stored import STORED, inflated, submit, those_with

BAD_ENDS: dict[str, tuple[type[QuickRouterError], dict[str, Any]]] = {
    "failed": (PredictionFailed, {"fail": "CUDA is tired"}),
    "timeout": (PredictionTimeout, {"never": True}),
    "api_error": (AuthenticationError, {"never": True}),
}
"""By reason of an event: the exception that it means, and the prediction that ends so."""


def tasks(prediction_id: str) -> list[Any]:
    """The methods that take an event, of a sensor and an operator that wait for a prediction."""
    with DAG("test"):
        sensor = QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id)
        run = QuickRouterRunPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input=INPUT, durable=False
        )
    return [sensor.execute_complete, sensor.start_complete, run.execute_complete]


def event_about(version: str, reason: str, prediction_id: str) -> Any:
    """A release's event, as if it told of this prediction."""
    event = STORED[version]["events"][reason]
    return json.loads(json.dumps(event).replace(event["prediction_id"], prediction_id))


@pytest.mark.parametrize("version", STORED)
def test_the_methods_that_go_on_after_an_event_are_still_there(version: str) -> None:
    today = [*classes("operators", BaseOperator), *classes("sensors", BaseOperator)]
    named = {kind.__name__: kind for kind in today}
    methods = [(kind, name) for kind, names in STORED[version]["methods"].items() for name in names]
    methods += [("QuickRouterPredictionSensor", one["method"]) for one in STORED[version]["starts"]]
    assert methods
    assert all(callable(getattr(named[kind], name)) for kind, name in methods)


@pytest.mark.parametrize("version", STORED)
def test_a_success_that_any_release_told_of_is_returned(version: str, gateway: Sandbox) -> None:
    event = event_about(version, "succeeded", submit())
    for method in tasks(event["prediction_id"]):
        ti = TaskInstance()
        output = method(context_of(method.__self__, ti), event)
        assert output == event["manifest"]["output"] == ti.xcoms["prediction"]["output"]
        assert len(output) == 1


@pytest.mark.parametrize("reason", BAD_ENDS)
@pytest.mark.parametrize("version", STORED)
def test_a_bad_end_that_any_release_told_of_is_the_same_exception(
    version: str, reason: str, gateway: Sandbox
) -> None:
    kind, faults = BAD_ENDS[reason]
    event = event_about(version, reason, submit(**faults))
    for method in tasks(event["prediction_id"]):
        with pytest.raises(kind, match=event["prediction_id"]):
            method(context_of(method.__self__, TaskInstance()), event)


def test_what_only_a_later_version_tells_in_an_event_is_ignored(gateway: Sandbox) -> None:
    event = event_about(__version__, "succeeded", submit())
    later = {"payload_version": 2, "price": 0.01, "manifest": event["manifest"] | {"price": 0.01}}
    for method in tasks(event["prediction_id"]):
        assert method(context_of(method.__self__, TaskInstance()), event | later)


def test_an_end_that_only_a_later_version_knows_is_no_success(gateway: Sandbox) -> None:
    event = event_about(__version__, "succeeded", submit()) | {"reason": "sold_out"}
    for method in tasks(event["prediction_id"]):
        with pytest.raises(QuickRouterError, match="cannot be understood"):
            method(context_of(method.__self__, TaskInstance()), event)


@those_with(lambda release: release["memories"]["task"])
def test_a_retry_pays_for_nothing_that_an_older_release_has_made(version: str, gateway: Sandbox) -> None:
    store, made = Store(), submit()
    for key, value in STORED[version]["memories"]["task"].items():
        store.set(key, value | {"prediction_id": made})
    assert submit(store) == made
    assert gateway.creates == 1


def put_record(version: str, folder: Path, ids: list[str]) -> None:
    """Lay down a release's record of a batch, as if it were of these predictions, and of now."""
    for name, entries in STORED[version]["memories"]["batch"].items():
        mine = [one | ({"id": ids[one["i"]]} if "id" in one else {}) for one in entries]
        mine = [one | ({"at": time.time()} if "at" in one else {}) for one in mine]
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in mine))


@those_with(lambda release: release["memories"]["batch"])
def test_a_batch_of_an_older_release_goes_on_and_pays_for_nothing_twice(
    version: str, gateway: Sandbox, tmp_path: Path
) -> None:
    ids = [submit(), submit()]
    put_record(version, tmp_path, ids)
    summary = batch(INPUTS, tmp_path / RESULTS, TaskInstance(max_tries=1), timeout=20)
    assert summary["succeeded"] == gateway.creates == 2
    assert [line["id"] for line in results(tmp_path / RESULTS)] == ids


@those_with(lambda release: release["memories"]["batch"])
def test_the_trigger_of_a_batch_reads_the_record_of_its_release(
    version: str, gateway: Sandbox, tmp_path: Path
) -> None:
    put_record(version, tmp_path, [submit(), submit()])
    (owner,) = [path.name for path in tmp_path.glob("*/*")]
    mine = {"output_path": str(tmp_path / RESULTS), "owner": owner, "total": 2}
    more = {"quickrouter_conn_id": "quickrouter_default", "deadline": time.time() + 60}
    entry = next(one for one in STORED[version]["triggers"] if "total" in one["kwargs"])
    event = event_of(inflated(entry, **mine, **more))
    assert event == {"payload_version": 1, "outcomes": {"succeeded": 2}, "error": None}
