"""What the comparison of triggers makes of times, events and counts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from benchmarks.waiting import bodies
from benchmarks.waiting.contenders import BY_NAME, CONTENDERS
from benchmarks.waiting.meter import Reading, idle_since
from benchmarks.waiting.numbers import Noticed, Window, delays, numbers
from benchmarks.waiting.plan import WARM_UP, Plan, ends, medians, percentile, prediction_id
from benchmarks.waiting.server import Gateway

PLAN = Plan("http", 4, 5.0, 8.0, 30.0, 60.0, "http://127.0.0.1:1")
BEGIN = 1000.0
COUNTS = {"polls": 20, "requests": 110, "refused": 0, "connections": 7}


def good(payload: Any) -> bool:
    return bool(payload == "good")


def test_the_waits_end_evenly_over_the_window_in_an_order_that_both_processes_know() -> None:
    assert sorted(ends(4, 8.0)) == [1, 3, 5, 7]
    assert ends(4, 8.0) == ends(4, 8.0)
    assert ends(1000, 8.0) != sorted(ends(1000, 8.0))


def test_percentiles_need_no_more_than_one_value() -> None:
    assert math.isnan(percentile([], 99))
    assert percentile([3.0], 99) == 3.0
    assert percentile(list(range(101)), 99) == 99


def test_a_number_that_is_unknown_in_one_run_is_unknown() -> None:
    runs: list[dict[str, Any]] = [{"a": 1.0, "b": 1.0}, {"a": 5.0, "b": None}, {"a": 2.0, "b": 2.0}]

    assert medians(runs) == {"a": 2.0, "b": None}


def test_a_plan_crosses_a_command_line() -> None:
    assert Plan.loads(PLAN.dumps()) == PLAN


def test_delays_are_those_of_waits_that_succeeded_and_not_before_their_end() -> None:
    after = ends(4, 8.0)
    noticed = {
        0: Noticed(BEGIN + after[0] + 2, "good"),
        1: Noticed(BEGIN + after[1] - 1, "good"),
        2: Noticed(BEGIN + after[2] + 2, "bad"),
    }

    assert delays(PLAN, BEGIN, noticed, good) == [2.0]


def test_the_numbers_are_per_poll_and_per_wait_without_the_instruments() -> None:
    window = Window(
        alone=Reading(980, 1.0, 2**20),
        before=Reading(990, 2.0, 2**20),
        started=995.0,
        first=Reading(BEGIN, 5.0, 2 * 2**20),
        last=Reading(BEGIN + 8, 7.8, 2**20),
    )

    found = numbers(PLAN, window, [0.001, 0.001], {}, good, COUNTS)

    assert found["cpu_ms"] == pytest.approx(100)
    assert (found["start_s"], found["memory_kb"], found["lost"]) == (5.0, 256, 4)
    assert found["requests"] == 100
    assert found["median_s"] is None


def readings(shares: list[float]) -> list[Reading]:
    cpu = [sum(shares[:number]) * 0.1 for number in range(len(shares) + 1)]
    return [Reading(BEGIN + number * 0.1, value, 0) for number, value in enumerate(cpu)]


def awake(until: float) -> list[tuple[float, float]]:
    return [(BEGIN, 0.0), (until, 0.0)]


def test_a_process_is_idle_from_the_first_half_second_in_which_it_has_time_to_spare() -> None:
    begun = idle_since(readings([1.0] * 10 + [0.1] * 10), awake(BEGIN + 5), BEGIN)

    assert begun is not None
    assert BEGIN + 0.5 < begun < BEGIN + 1.01


def test_a_process_without_time_to_spare_or_whose_loop_does_not_wake_is_not_idle() -> None:
    assert idle_since(readings([1.0] * 20), awake(BEGIN + 5), BEGIN) is None
    assert idle_since(readings([0.1] * 20), awake(BEGIN), BEGIN) is None


def test_a_loop_that_woke_late_was_not_idle() -> None:
    lags = [(BEGIN, 0.0), (BEGIN + 0.2, 1.0), (BEGIN + 5, 0.0)]

    begun = idle_since(readings([0.1] * 40), lags, BEGIN)

    assert begun is not None
    assert begun >= BEGIN + 1.2


def asked(gateway: Gateway, target: str, body: bytes = b"") -> tuple[int, Any]:
    head, _, content = gateway.answer(target.encode(), body).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


def test_the_server_speaks_the_status_routes_of_all_services() -> None:
    gateway, over = Gateway(0.0), WARM_UP[0]

    assert asked(gateway, "/http/3")[0] == 404
    assert asked(gateway, f"/http/{over}")[0] == 200
    assert asked(gateway, "/api/v2/accounts/1/runs/3/")[1]["data"]["status"] == 3
    assert asked(gateway, f"/v1/batches/batch_{over}")[1]["status"] == "completed"
    run = asked(gateway, "/api/2.2/jobs/runs/get", b'{"run_id": 3}')[1]
    assert (run["run_id"], run["state"]["life_cycle_state"]) == (3, "RUNNING")
    assert len(gateway.polls) == 5


def test_a_prediction_has_its_own_id_and_model_and_no_list_has_it() -> None:
    gateway = Gateway(0.0)

    body = asked(gateway, f"/replicate/v1/predictions/{prediction_id(3)}")[1]

    assert (body["id"], body["model"]) == (prediction_id(3), "benchmark/model-3")
    assert body["status"] == "processing"
    assert asked(gateway, "/replicate/v1/predictions")[0] == 404
    assert (len(gateway.polls), gateway.others) == (1, 1)


def test_the_server_lets_a_wait_end_when_the_plan_says_so() -> None:
    gateway = Gateway(0.0)
    gateway.control(b"/control/begin?waits=4&seconds=8&at=1000")

    after = ends(4, 8.0)[2]

    assert not gateway.is_over(2, BEGIN + after - 0.1)
    assert gateway.is_over(2, BEGIN + after)


def test_the_server_refuses_the_share_of_polls_that_it_was_told() -> None:
    gateway = Gateway(0.5)

    statuses = [asked(gateway, "/http/3")[0] for _ in range(200)]

    assert statuses.count(503) == gateway.refused
    assert 60 < gateway.refused < 140


def test_our_answer_is_about_as_long_as_one_of_replicate() -> None:
    assert 1500 < len(bodies.prediction(3, prediction_id(3), over=True)) < 4000


def test_each_contender_has_a_name_and_a_connection_as_airflow_reads_it() -> None:
    assert len(BY_NAME) == len(CONTENDERS)
    for contender in CONTENDERS:
        fields = json.loads(contender.environment(PLAN)["AIRFLOW_CONN_BENCH"])
        assert fields.get("conn_type") or not contender.package
        assert json.dumps(contender.arguments(3, PLAN))


def test_ours_is_neither_slowed_by_its_age_nor_by_a_limit() -> None:
    ours = BY_NAME["quickrouter"]

    assert ours.connection(PLAN)["extra"]["requests_per_minute"] == 0
    assert ours.arguments(3, PLAN)["started_at"] < 1e10
