"""What a run does with an API server that is away, and what it prints; the run is elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import requests

from dev.airflow_rest import AirflowApiError
from tests.chaos.books import Books
from tests.chaos.ledger import balance
from tests.chaos.run import SETTINGS, Chaos, Result, if_reachable
from tests.chaos.strikes import POSTGRES
from tests.chaos.suite import QUICKROUTER


def refuse(status: int) -> None:
    raise AirflowApiError("GET", "/dags", status, "text")


def disconnect() -> None:
    raise requests.ConnectionError


def test_what_a_working_api_server_returns_is_returned() -> None:
    assert if_reachable(lambda: [1]) == [1]


def test_an_api_server_that_is_away_or_has_no_database_returns_nothing() -> None:
    assert if_reachable(disconnect) is None
    assert if_reachable(lambda: refuse(500)) is None


def test_a_request_that_is_wrong_stays_an_error() -> None:
    with pytest.raises(AirflowApiError):
        if_reachable(lambda: refuse(404))


def test_a_small_run_has_no_outages_and_finds_dead_tasks_soon() -> None:
    assert Chaos(QUICKROUTER, 1, 16, Path(), print).settings() == SETTINGS


def test_the_lines_report_clock_strikes_restarts_and_statuses() -> None:
    result = Result(
        Books([], []),
        balance([], []),
        seconds=10.0,
        requests=5,
        struck=Counter({POSTGRES: 1}),
        restarts={"scheduler": 1},
        skew=-300.0,
        statuses={"200": 3, "401": 2},
    )

    lines = result.lines()
    assert "GETs by status since the gateway's last start: 200: 3, 401: 2" in lines
    assert "the gateway's clock differs by: -300 s" in lines
    assert "strikes: 1 PostgreSQL" in lines
    assert "ended and started again after an outage of PostgreSQL: 1 scheduler" in lines
