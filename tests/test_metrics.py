"""What Airflow's metrics get to know of a prediction, whichever process sees its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from tests.tasks import TaskInstance, run

MODEL = {"model": "stability-ai/stable-diffusion"}


class Told:
    """Where metrics go: names and tags, and the timers' seconds."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []
        self.seconds: dict[str, float] = {}

    def incr(self, stat: str, *, tags: Any = None, **_: Any) -> None:
        self.counted.append((stat, tags))

    def timing(self, stat: str, dt: Any, *, tags: Any = None) -> None:
        assert tags == MODEL
        self.seconds[stat] = dt.total_seconds()


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    stats.initialize(factory=lambda: told, export_legacy_names=False)  # type: ignore[arg-type, return-value]
    yield told
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)


def submit(**faults: Any) -> str:
    given = {"prompt": "a cat", "sandbox": faults}
    return QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION).id


def test_a_submit_is_counted_once_it_is_accepted(gateway: Sandbox, told: Told) -> None:
    run(
        lambda: QuickRouterSubmitPredictionOperator(
            task_id="submit", version=STABLE_DIFFUSION, input={"prompt": "a cat"}
        ),
        TaskInstance(),
    )
    assert told.counted == [("quickrouter.submitted", MODEL)]


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_is_counted_and_timed(gateway: Sandbox, told: Told, deferrable: bool) -> None:
    run(
        lambda: QuickRouterRunPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input={"prompt": "a cat"}, deferrable=deferrable
        ),
        TaskInstance(),
    )
    ended = ("quickrouter.succeeded", {**MODEL, "reason": "succeeded"})
    assert told.counted == [("quickrouter.submitted", MODEL), ended]
    assert set(told.seconds) == {"quickrouter.queue", "quickrouter.run", "quickrouter.detection"}
    assert told.seconds["quickrouter.run"] == pytest.approx(0.2, abs=0.05)


def test_a_failure_is_counted_by_its_reason(gateway: Sandbox, told: Told) -> None:
    prediction_id = submit(fail="NSFW content detected")
    with pytest.raises(errors.PredictionModerated):
        run(lambda: QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id), TaskInstance())
    assert told.counted == [("quickrouter.failed.moderated", {**MODEL, "reason": "moderated"})]


def test_metrics_that_are_broken_fail_nothing_that_is_paid_for(
    gateway: Sandbox, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: Any, **more: Any) -> None:
        raise RuntimeError("no such host")

    monkeypatch.setattr(Told, "incr", breaks)
    output = run(
        lambda: QuickRouterRunPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input={"prompt": "a cat"}
        ),
        TaskInstance(),
    )
    assert output
    assert gateway.creates == 1
