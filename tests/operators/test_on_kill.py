"""A task is killed on its worker: what then happens to its prediction."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.submission import cancel as stopping
from airflow_provider_quickrouter.submission.cancel import WORKER, Limits
from tests.conftest import connect
from tests.hooks.test_hook import unused_port
from tests.operators.conftest import cancels, first_try
from tests.tasks import Clock, Store, TaskInstance, context_of, join_stops, statuses_of_cancels, tell_state

NEVER: dict[str, Any] = {"prompt": "a cat", "sandbox": {"never": True}}


def runner(**arguments: Any) -> Any:
    defaults: dict[str, Any] = {"task_id": "run", "input": NEVER, "version": STABLE_DIFFUSION}
    with DAG("test"):
        return QuickRouterRunPredictionOperator(**defaults | {"deferrable": False, "timeout": 8} | arguments)


def sensor(**arguments: Any) -> Any:
    prediction_id = QuickRouterHook().create_prediction(NEVER, version=STABLE_DIFFUSION).id
    defaults: dict[str, Any] = {"task_id": "wait", "prediction_id": prediction_id, "timeout": 8}
    with DAG("test"):
        return QuickRouterPredictionSensor(**defaults | {"deferrable": False} | arguments)


@contextmanager
def sigterm(task: Any, after: float = 0.5) -> Iterator[None]:
    """Kill a task as Airflow's task runner does: by a signal whose handler calls ``on_kill``."""

    def on_term(number: int, frame: object) -> None:
        task.on_kill()

    before = signal.signal(signal.SIGTERM, on_term)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(after, signal.pthread_kill, (main, signal.SIGTERM))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)


def killed(task: Any, task_instance: TaskInstance | None = None, after: float = 0.5) -> Exception:
    """Run a task that is killed meanwhile; its process is not, so it meets its own end."""
    with sigterm(task, after), pytest.raises(AirflowException) as failed:
        task.execute(context_of(task, task_instance or first_try()))
    return failed.value


@pytest.mark.parametrize("state", ["failed", "success"])
@pytest.mark.parametrize("make", [runner, lambda: sensor(cancel_on_kill=True)], ids=["run", "wait"])
def test_a_task_that_a_person_marks_cancels_once(
    gateway: Sandbox, make: Callable[[], Any], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, state)
    error = killed(make())
    assert type(error).__name__ == "PredictionCanceled"
    assert len(cancels(gateway)) == 1


@pytest.mark.parametrize("state", ["restarting", None, "scheduled", "queued", "running"])
@pytest.mark.parametrize("make", [runner, lambda **a: sensor(cancel_on_kill=True, **a)])
def test_a_task_that_goes_on_leaves_its_prediction(
    gateway: Sandbox, make: Callable[..., Any], state: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, state)
    task = make()
    task.kill_handler.track("p1", TaskInstance())
    task.on_kill()
    assert cancels(gateway) == []


@pytest.mark.parametrize(
    ("state", "expected"),
    [("running", 0), ("deferred", 0), ("queued", 0), (None, 1), ("up_for_retry", 1), ("failed", 1)],
)
def test_what_no_later_attempt_resumes_is_canceled_once_another_one_begins(
    gateway: Sandbox, state: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, state)
    task = sensor(cancel_on_kill=True)
    task.kill_handler.track(task.prediction_id, TaskInstance(), resumable=False)
    task.on_kill()
    assert len(cancels(gateway)) == expected


def test_an_airflow_that_cannot_say_leaves_the_prediction_running(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, ConnectionError("no server"))
    for resumable in (True, False):
        task = sensor(cancel_on_kill=True)
        task.kill_handler.track(task.prediction_id, TaskInstance(), resumable=resumable)
        task.on_kill()
    assert cancels(gateway) == []


def test_a_task_that_goes_on_but_remembers_nothing_cancels(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, "restarting")
    assert type(killed(runner(durable=False))).__name__ == "PredictionCanceled"
    assert type(killed(runner(), TaskInstance(None))).__name__ == "PredictionCanceled"
    assert len(cancels(gateway)) == 2


@pytest.mark.parametrize("make", [lambda: runner(cancel_on_kill=False), sensor], ids=["run", "wait"])
def test_nothing_is_canceled_where_nobody_wants_it(
    gateway: Sandbox, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, "failed")
    task = make()
    task.kill_handler.track(gateway.predictions[0]["id"] if gateway.predictions else "p1", TaskInstance())
    task.on_kill()
    assert cancels(gateway) == []


@pytest.mark.parametrize("kind", [QuickRouterSubmitPredictionOperator, QuickRouterRunPredictionOperator])
def test_a_task_that_is_killed_within_the_create_cancels_right_after_it(
    gateway: Sandbox, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, "failed")
    gateway.set_faults(Faults(hang=1), times=1, method="POST")
    with DAG("test"):
        task = kind(task_id="run", input=NEVER, version=STABLE_DIFFUSION)
    if kind is QuickRouterRunPredictionOperator:
        assert type(killed(task)).__name__ == "PredictionCanceled"
    else:
        with sigterm(task):
            task.execute(context_of(task, first_try()))
    assert cancels(gateway) == [gateway.predictions[0]["id"]]


def test_a_kill_before_and_after_the_prediction_cancels_nothing(gateway: Sandbox) -> None:
    task = runner(input={"prompt": "a cat"})
    task.on_kill()
    assert cancels(gateway) == []
    other = runner(input={"prompt": "a cat"})
    other.execute(context_of(other, first_try()))
    other.on_kill()
    assert cancels(gateway) == []


@pytest.mark.parametrize(
    "fault", [Faults(latency=3), Faults(hang=3), Faults(status=500)], ids=["late", "hangs", "500"]
)
def test_a_cancel_that_does_not_work_ends_in_time_and_raises_nothing(
    gateway: Sandbox, fault: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "WORKER", Limits(state=1.5, total=0.3))
    tell_state(monkeypatch, "failed")
    task = sensor(cancel_on_kill=True)
    task.kill_handler.track(task.prediction_id, TaskInstance())
    gateway.set_faults(fault, method="POST")
    task.on_kill()
    assert set(statuses_of_cancels(gateway)) <= {None, 500}
    gateway.set_faults(None)
    join_stops()
    assert cancels(gateway)


def test_a_gateway_that_is_down_raises_nothing(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_state(monkeypatch, "failed")
    Clock(monkeypatch)
    task = runner()
    task.kill_handler.track("p1", TaskInstance())
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    task.on_kill()
    connect(monkeypatch, host="http://127.0.0.1:1", extra={"timeout": "soon"})
    other = runner()
    other.kill_handler.track("p1", TaskInstance())
    other.on_kill()


def test_the_longest_that_it_may_take_lies_below_what_airflow_gives() -> None:
    assert WORKER.state < WORKER.total < 5


def test_an_execution_timeout_cancels_though_the_task_still_counts_as_running(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_state(monkeypatch, "running")
    task = sensor(cancel_on_kill=True)
    task.kill_handler.track(task.prediction_id, TaskInstance())
    try:
        raise AirflowTaskTimeout("late")
    except AirflowTaskTimeout:
        task.on_kill()
    assert cancels(gateway) == [task.prediction_id]


def test_two_kills_of_one_task_do_no_harm(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    tell_state(monkeypatch, "failed")
    task = sensor(cancel_on_kill=True)
    task.kill_handler.track(task.prediction_id, TaskInstance(Store()))
    task.on_kill()
    task.on_kill()
    assert gateway.predictions[0]["status"] == "canceled"
