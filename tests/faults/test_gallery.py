"""The gallery's cards of predictions whose responses are odd, as a task has left them in XCom."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.plugins.cards import Found, Row, card_of, entries_of
from tests.faults.dags import run_operator, sensor
from tests.faults.gateway import Gateway
from tests.faults.running import TaskInstance, error_of

PRIVATE = [
    "http://192.168.0.1/cgi-bin/reboot?x.png",
    "http://10.0.0.7/a.png",
    "http://169.254.169.254/latest/meta-data/a.png",
    "http://[fd00::1]/a.png",
    "http://metadata.internal.:8080/a.png",
]


pytestmark = pytest.mark.usefixtures("fast")


def card(gateway: Gateway, task: Any = None, **result: Any) -> dict[str, Any]:
    """Run a task whose prediction ends like this; return its card.

    :param task: by default it creates the prediction.
    """
    gateway.result = {"status": "succeeded"} | result
    ti = TaskInstance()
    error_of(task or run_operator(deferrable=False), ti)
    manifest = ti.xcoms["prediction"]
    (entry,) = entries_of([Row((ti.task_id, ti.map_index), manifest["id"], manifest["status"])])
    return card_of(entry, entry.state(run_is_active=False), Found(manifest), datetime.now(UTC))


def two_hours_ago() -> str:
    return datetime.fromtimestamp(time.time() - 7200, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_prediction_whose_hour_is_over_is_shown_as_expired(gateway: Gateway) -> None:
    expired = card(gateway, output=None, data_removed=True, completed_at=two_hours_ago())
    assert expired["expired"]
    assert expired["stored"] == expired["live"] == []


def test_a_prediction_whose_hour_is_over_by_its_times_alone_is_shown_as_expired(gateway: Gateway) -> None:
    wait = sensor(gateway.accept(), deferrable=False)
    assert card(gateway, wait, output=None, completed_at=two_hours_ago())["expired"]


def test_a_prediction_without_any_output_is_not_shown_as_expired(gateway: Gateway) -> None:
    assert card(gateway, output=[None])["expired"] is None


def test_a_browser_is_not_sent_to_addresses_of_a_private_network(gateway: Gateway) -> None:
    assert card(gateway, output=PRIVATE)["live"] == []


def test_the_gateways_own_files_are_shown_wherever_it_is(gateway: Gateway) -> None:
    (link,) = card(gateway, output=[f"{gateway.url}/small.png"])["live"]
    assert link["url"] == f"{gateway.url}/small.png"


def test_a_number_of_400_digits_in_the_metrics_does_not_break_the_page(gateway: Gateway) -> None:
    odd = card(gateway, output=["https://files.example/0.png"], metrics={"predict_time": 10**400})
    assert odd["state"] == "succeeded"
