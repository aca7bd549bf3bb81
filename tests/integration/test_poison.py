"""Responses that hold what PostgreSQL and msgpack refuse, and the triggerer that receives them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from dev.airflow_services import TRIGGERER
from dev.local_airflow import FINISHED_RUN
from dev.waiting import wait_until
from tests.integration.on_postgres import OnPostgres, airflow_on_postgres, needs_postgres
from tests.integration.scripted import JSON, OUTPUT, Response, ScriptedGateway, json_response, prediction

pytestmark = [needs_postgres, pytest.mark.slow("starts an Airflow of its own on PostgreSQL")]

DAG_ID = "poison"
HEALTHY = "healthy"
WAYS = ("run", "sensor")
NUL, HALF_PAIR, HUGE = "a\0b", "a\ud83db", 10**30

LIFE = 15.0
"""Seconds that the triggerer must live after the last kind of poison was first sent."""

PENDING = 20.0
"""Seconds until a run's prediction is poisoned: the scheduler must have seen the deferral."""

TIMEOUT = 60.0
"""Seconds until a wait ends that never receives a response about its prediction."""


DEATHS = ("Trigger runner process has died", "Trigger runner failed", "appears deadlocked")
"""What a triggerer logs when its runner has ended. After an error of its event loop the runner may
still be there, as it waits for threads without end: then both processes live, and do nothing."""


@dataclass(frozen=True)
class Poison:
    """A response to every poll, and the state in which a task must end that waits for it."""

    end: str
    response: Callable[[str], Response]
    always: dict[str, Any]
    """Fields that the prediction also has while it is created and processed."""


def success(**fields: Any) -> Poison:
    always = {name: fields[name] for name in fields.keys() & {"model", "version"}}
    return Poison("success", lambda id_: json_response(prediction(id_, "succeeded", **fields)), always)


def failure(**fields: Any) -> Poison:
    return Poison("failed", lambda id_: json_response(prediction(id_, "failed", **fields)), {})


def no_end(**fields: Any) -> Poison:
    """Return a prediction that never counts as finished, so that the task ends by its timeout."""
    return Poison("failed", lambda id_: json_response(prediction(id_, "processing") | fields), {})


def error(status: int, body: bytes, *headers: tuple[str, bytes]) -> Poison:
    return Poison("failed", lambda id_: Response(status, body, headers or (JSON,)), {})


def request_id(value: bytes) -> tuple[tuple[str, bytes], ...]:
    return JSON, ("X-Oneapi-Request-Id", value)


def with_odd_header(prediction_id: str) -> Response:
    body = json.dumps(prediction(prediction_id, "succeeded")).encode()
    return Response(200, body, request_id(b"caf\xe9\xff"))


HTML = ("Content-Type", b"text/html; charset=utf-8")
POISON = {
    "nul_in_output": success(output=[NUL]),
    "half_pair_in_output": success(output=[HALF_PAIR]),
    "huge_integer_in_output": success(output=[HUGE]),
    "nul_in_key_of_output": success(output={NUL: 1}),
    "half_pair_in_key_of_output": success(output={HALF_PAIR: 1}),
    "nan_and_infinity_in_output": success(output=[math.nan, math.inf, -math.inf, "x"]),
    "nul_in_metrics": success(metrics={"predict_time": 1.0, NUL: NUL}),
    "half_pair_in_metrics": success(metrics={"predict_time": 1.0, HALF_PAIR: HALF_PAIR}),
    "huge_integer_in_metrics": success(metrics={"predict_time": 10**400, "tokens": -HUGE}),
    "nan_and_infinity_in_metrics": success(metrics={"predict_time": math.nan, "cost": math.inf}),
    "nul_in_model": success(model=NUL),
    "half_pair_in_model": success(model=HALF_PAIR),
    "nul_in_version": success(model=None, version=NUL),
    "half_pair_in_version": success(model=None, version=HALF_PAIR),
    "undecodable_header": Poison("success", with_odd_header, {}),
    "nul_in_error": failure(error=NUL),
    "half_pair_in_error": failure(error=HALF_PAIR),
    "nul_in_logs_of_a_failure": failure(error="out of memory", logs=NUL),
    "nul_in_status": no_end(status=NUL),
    "half_pair_in_id": no_end(id=HALF_PAIR, status="succeeded", output=OUTPUT),
    "nul_in_422": error(422, json.dumps({"detail": NUL}).encode()),
    "half_pair_in_422": error(422, json.dumps({"detail": HALF_PAIR}).encode()),
    "half_pair_in_422_that_is_a_string": error(422, b'"no \\ud83d"'),
    "nul_in_422_of_plain_text": error(422, b"no\0", ("Content-Type", b"text/plain")),
    "nul_in_title_of_403": error(403, b"<html><title>a\0b</title></html>", HTML),
    "half_pair_in_title_of_403": error(403, b"<html><title>a\xed\xa0\xbdb</title></html>", HTML),
    "nul_in_header_of_422": error(422, b'{"detail": "no"}', *request_id(b"a\0b")),
    "undecodable_header_of_422": error(422, b'{"detail": "no"}', *request_id(b"caf\xe9\xff")),
}
IDS = [f"{way}-{name}" for way in WAYS for name in POISON]


class PoisonGateway(ScriptedGateway):
    """Send the poison that an id names; a run's prediction is processing before.

    :ivar poisoned: ids for which poison was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.poisoned: set[str] = set()
        self._created_at: dict[str, float] = {}

    def create(self, body: dict[str, Any]) -> Response:
        name = body["input"]["prompt"]
        self.created.append(f"run-{name}")
        self._created_at[f"run-{name}"] = time.monotonic()
        fields = POISON[name].always if name in POISON else {}
        return json_response(prediction(f"run-{name}", "starting", **fields), 201)

    def show(self, prediction_id: str) -> Response:
        poison = POISON.get(prediction_id.partition("-")[2])
        if poison is None:
            return super().show(prediction_id)
        created_at = self._created_at.get(prediction_id)
        if created_at and time.monotonic() < created_at + PENDING:
            return json_response(prediction(prediction_id, "processing", **poison.always))
        self.poisoned.add(prediction_id)
        return poison.response(prediction_id)


@dataclass(frozen=True)
class Aftermath:
    """What a run leaves.

    :ivar lived: the triggerer's processes are those of the start, and its event loop runs.
    :ivar log: the end of the triggerer's log.
    :ivar unsent: ids of which no poison was sent.
    :ivar values: ``{id: return value}`` of the tasks that have one.
    :ivar raised: ``{id: class of the error}``, "" of a task without one.
    """

    lived: bool
    log: str
    unsent: set[str]
    states: dict[str, str | None]
    values: dict[str, Any]
    raised: dict[str, str]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    """One run of all kinds of poison at once, which ends early if the triggerer ends."""
    env = {"POISON_NAMES": json.dumps([HEALTHY, *POISON]), "POISON_TIMEOUT": str(TIMEOUT)}
    home = tmp_path_factory.mktemp("poison")
    with PoisonGateway() as gateway, airflow_on_postgres(home, "poison.py", gateway.url, env) as on_postgres:
        return run_with(on_postgres, gateway)


def run_with(on_postgres: OnPostgres, gateway: PoisonGateway) -> Aftermath:
    airflow, began_with = on_postgres.airflow, on_postgres.processes()
    triggerer = airflow.services.components[TRIGGERER]
    run_id = airflow.trigger(DAG_ID)

    def lives() -> bool:
        unharmed = not any(death in triggerer.output() for death in DEATHS)
        return unharmed and on_postgres.processes() == began_with

    def lives_until(reached: Callable[[], bool], seconds: float) -> bool:
        with suppress(TimeoutError):
            wait_until(lambda: not lives() or reached(), seconds, str, 0.5)
        return lives()

    def over() -> bool:
        return airflow.rest.run(DAG_ID, run_id)["state"] in FINISHED_RUN

    if lives_until(lambda: gateway.poisoned >= set(IDS), 400):
        sent_at = time.monotonic()
        lives_until(lambda: time.monotonic() >= sent_at + LIFE, LIFE + 30)
        gateway.finish()
        lives_until(over, 300)
    values = {
        task_id: left["return_value"]
        for (task_id, _), left in airflow.xcoms(DAG_ID, run_id).items()
        if "return_value" in left
    }
    return Aftermath(
        lived=lives(),
        log=triggerer.tail(200),
        unsent=set(IDS) - gateway.poisoned,
        states=on_postgres.states(DAG_ID, run_id),
        values=values,
        raised={task_id: on_postgres.raised(DAG_ID, run_id, task_id) for task_id in IDS},
    )


def test_the_triggerer_and_its_runner_live_through_every_poisoned_response(aftermath: Aftermath) -> None:
    assert aftermath.lived, aftermath.log
    assert aftermath.unsent == set()


@pytest.mark.parametrize("way", WAYS)
def test_a_healthy_wait_beside_poisoned_ones_succeeds(aftermath: Aftermath, way: str) -> None:
    assert aftermath.states[f"{way}-{HEALTHY}"] == "success"
    assert aftermath.values[f"{way}-{HEALTHY}"] == OUTPUT


@pytest.mark.parametrize("task_id", IDS)
def test_a_poisoned_task_ends_as_its_response_means(aftermath: Aftermath, task_id: str) -> None:
    name = task_id.partition("-")[2]
    assert aftermath.states[task_id] == POISON[name].end
    if POISON[name].end == "success":
        value = aftermath.values[task_id]
        assert isinstance(value, list)
        assert "output" in name or value == OUTPUT
    else:
        # An error of Airflow's own would mean that no event holds the reason.
        raised = getattr(errors, aftermath.raised[task_id], object)
        assert issubclass(raised, errors.QuickRouterError)
