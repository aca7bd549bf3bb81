"""What Airflow's metrics get to know of a prediction, whichever process sees its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.metrics import Metrics, received_metrics
from tests.tasks import TaskInstance, run

MODEL = {"model": "stability-ai/stable-diffusion"}


@pytest.fixture
def told() -> Iterator[Metrics]:
    with received_metrics() as metrics:
        yield metrics


def submit(**faults: Any) -> str:
    given = {"prompt": "a cat", "sandbox": faults}
    return QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION).id


def test_a_submit_is_counted_once_it_is_accepted(gateway: Sandbox, told: Metrics) -> None:
    run(
        lambda: QuickRouterSubmitPredictionOperator(
            task_id="submit", version=STABLE_DIFFUSION, input={"prompt": "a cat"}
        ),
        TaskInstance(),
    )
    assert told.counted == [("quickrouter.submitted", MODEL)]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_is_counted_and_timed(gateway: Sandbox, told: Metrics, deferrable: bool) -> None:
    run(
        lambda: QuickRouterRunPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input={"prompt": "a cat"}, deferrable=deferrable
        ),
        TaskInstance(),
    )
    ended = ("quickrouter.succeeded", {**MODEL, "reason": "succeeded"})
    assert told.counted == [("quickrouter.submitted", MODEL), ended]
    assert told.timed == [MODEL] * 3
    assert set(told.seconds) == {"quickrouter.queue", "quickrouter.run", "quickrouter.detection"}
    assert told.seconds["quickrouter.run"] == pytest.approx(0.2, abs=0.05)


def test_a_failure_is_counted_by_its_reason(gateway: Sandbox, told: Metrics) -> None:
    prediction_id = submit(fail="NSFW content detected")
    with pytest.raises(errors.PredictionModerated):
        run(lambda: QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id), TaskInstance())
    assert told.counted == [("quickrouter.failed.moderated", {**MODEL, "reason": "moderated"})]


def test_costs_are_summed_by_model(priced_gateway: Sandbox, told: Metrics) -> None:
    inputs = [{"num_outputs": 2}, {"num_outputs": 1}, {"sandbox": {"fail": "NSFW"}}]
    for given in inputs:
        with suppress(errors.PredictionModerated):
            run(
                lambda given=given: QuickRouterRunPredictionOperator(
                    task_id="run", version=STABLE_DIFFUSION, input={"prompt": "a cat", **given}
                ),
                TaskInstance(),
            )
    assert told.sums["quickrouter.cost", MODEL["model"]] == pytest.approx(0.12)
    assert told.counted.count(("quickrouter.cost", MODEL)) == 2


def test_metrics_that_are_broken_fail_nothing_that_is_paid_for(
    gateway: Sandbox, told: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: Any, **more: Any) -> None:
        raise RuntimeError("no such host")

    monkeypatch.setattr(Metrics, "incr", breaks)
    output = run(
        lambda: QuickRouterRunPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input={"prompt": "a cat"}
        ),
        TaskInstance(),
    )
    assert output
    assert gateway.creates == 1
