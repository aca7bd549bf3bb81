"""Whatever a gateway sends, all that a task or trigger makes of it can be stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from airflow_provider_quickrouter.api.errors import APIError, QuickRouterError, from_payload
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, Response, read_prediction
from dev.postgres import postgres, programs
from tests.faults import strategies
from tests.faults.gateway import FIRST_ID
from tests.faults.storable import check_storable, why_not_storable
from tests.faults.strategies import NOW

URL = "https://console.example/predictions/1"

# A busy machine is slow: an example has no time limit.
bounded = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


def made_of(request: Request, response: Response) -> Iterator[Any]:
    """Yield all values that tasks and triggers make of a response."""
    try:
        prediction = read_prediction(request, response, NOW)
    except APIError as error:
        yield from made_of_error(error)
        yield from made_of_outcome(Outcome.of_error(FIRST_ID, error))
    else:
        assert prediction.id == FIRST_ID
        yield from made_of_prediction(prediction)


def made_of_prediction(prediction: Prediction) -> Iterator[Any]:
    yield [prediction.id, prediction.status_word, prediction.model_name, prediction.seed]
    outcome = Outcome.of(prediction, NOW) or Outcome(
        reason=Reason.TIMEOUT,
        prediction_id=prediction.id,
        prediction=prediction,
        last_state=prediction.status_word,
    )
    yield prediction.manifest(URL)
    yield from made_of_outcome(outcome)
    yield from made_of_outcome(replace(outcome, error=APIError(prediction.error)))


def made_of_outcome(outcome: Outcome) -> Iterator[Any]:
    payload = outcome.to_payload(URL)
    yield payload
    yield outcome.output
    yield from made_of_error(outcome.exception())
    # A worker rebuilds the outcome that a trigger has sent.
    received = Outcome.from_payload(json.loads(json.dumps(payload)))
    assert received.reason is outcome.reason
    yield received.to_payload(URL)
    yield from made_of_error(received.exception())


def made_of_error(error: QuickRouterError | None) -> Iterator[Any]:
    if error is not None:
        payload = error.to_payload()
        yield payload
        yield str(error)
        yield repr(error)
        yield str(from_payload(payload))


@bounded
@given(strategies.requests, strategies.responses)
def test_everything_that_is_made_of_a_response_is_storable(
    request: Request, response: Response
) -> None:
    for value in made_of(request, response):
        check_storable(value)


@pytest.mark.parametrize(
    "value",
    ["a\0", "a\ud83d", {"\0": 1}, [{"\ude00": 1}], 2**63, -(2**63) - 1, float("nan"), [1e999], b""],
    ids=repr,
)
def test_the_check_of_these_tests_finds_what_is_not_storable(value: Any) -> None:
    assert why_not_storable(value)
    with pytest.raises(AssertionError):
        check_storable([value])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A connection to a PostgreSQL with a table of one ``jsonb`` and one ``text`` column."""
    with postgres(tmp_path_factory.mktemp("postgres") / "postgres.log") as address:
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE stored (json jsonb, text text)"))
            yield connection
        engine.dispose()


needs_postgres = pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql")


def store(database: Connection, json_text: str, message: str = "") -> Any:
    """Store a value; return the stored JSON."""
    insert = text(
        "INSERT INTO stored VALUES (CAST(:json AS jsonb), :text) RETURNING CAST(json AS text)"
    )
    stored = database.execute(insert, {"json": json_text, "text": message}).scalar_one()
    return json.loads(stored)


@needs_postgres
@settings(bounded, max_examples=150)
@given(strategies.requests, strategies.responses)
def test_postgresql_stores_everything_that_is_made_of_a_response(
    database: Connection, request: Request, response: Response
) -> None:
    for value in made_of(request, response):
        message = value if isinstance(value, str) else ""
        assert store(database, json.dumps(value), message) == value


@needs_postgres
@pytest.mark.parametrize("json_text", ['"\\u0000"', '"\\ud83d"', '{"\\ude00": 1}', "[NaN]"])
def test_postgresql_refuses_what_the_check_of_these_tests_refuses(
    json_text: str, database: Connection
) -> None:
    assert why_not_storable(json.loads(json_text))
    with pytest.raises(DBAPIError):
        store(database, json_text)
