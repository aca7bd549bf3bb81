from __future__ import annotations

import pytest

from airflow_provider_quickrouter.sandbox.journal import Journal

from .client import Client


@pytest.mark.parametrize(
    ("instants", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0, 59.9], 2),
        ([0, 60], 1),
        ([0, 30, 60, 90], 2),
        ([0, 1, 2, 100, 101], 3),
        ([0, 50, 51, 52, 109], 4),
    ],
)
def test_the_peak_is_the_fullest_minute_wherever_it_begins(instants: list[float], most: int) -> None:
    journal = Journal()
    for instant in instants:
        journal.count("get", instant)
    assert journal.peak_per_minute == most


def test_the_peak_counts_all_but_creates() -> None:
    journal = Journal()
    for kind in ("create", "get", "list", "cancel", "other", "create"):
        journal.count(kind, 100.0)
    assert journal.peak_per_minute == 4
    assert journal.counts.total() == 6


def test_the_peak_of_an_earlier_start_stays_until_there_is_a_higher_one() -> None:
    journal = Journal()
    journal.resume({"get": 7}, peak=2)
    peaks = []
    for _ in range(3):
        journal.count("get", 100.0)
        peaks.append(journal.peak_per_minute)
    assert peaks == [2, 2, 3]
    assert journal.counts == {"get": 10}


def test_the_peak_is_told_over_http_and_in_process(client: Client) -> None:
    client.get(client.create_id())
    client.send("GET", "/v1/predictions", faults={"status": 503})
    client.send("GET", "/sandbox/requests")
    assert client.send("GET", "/sandbox/counts").json()["peak_per_minute"] == 2
    assert client.sandbox.peak_per_minute == 2
    client.sandbox.clear()
    assert client.sandbox.peak_per_minute == 0
