"""What the distributed run is made of; `make distributed` is the run itself."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil

from dev.airflow_processes import Component
from dev.airflow_services import SCHEDULER, TRIGGERER, WORKER, arguments_of, component_names
from dev.waiting import wait_until
from tests.chaos.books import Books
from tests.chaos.ledger import balance
from tests.chaos.run import Result
from tests.chaos.strikes import plan
from tests.chaos.suite import QUICKROUTER
from tests.distributed.run import REDIS, Distributed, numbers
from tests.distributed.settings import PRODUCTION, SHORTENED, SLOTS, WORKERS, celery_env
from tests.distributed.weights import MEGABYTE, Weight, Weights, weight_of


def test_each_part_is_struck_in_a_small_run_and_again_in_a_large_one() -> None:
    kinds = {WORKER, TRIGGERER, SCHEDULER, REDIS}

    assert {strike.kind for strike in plan(1, numbers(16))} == kinds
    assert numbers(16) == dict.fromkeys(kinds, 1)
    assert min(numbers(300).values()) >= 2


def test_one_scheduler_alone_can_keep_all_workers_busy() -> None:
    assert PRODUCTION["AIRFLOW__CELERY__WORKER_CONCURRENCY"] == str(SLOTS)
    assert PRODUCTION["AIRFLOW__CORE__PARALLELISM"] == str(WORKERS * SLOTS)


def test_a_part_that_was_never_killed_is_a_gap(tmp_path: Path) -> None:
    run = Distributed(QUICKROUTER, 1, 2, tmp_path, print)
    struck = Counter({WORKER: 1, TRIGGERER: 2, SCHEDULER: 1})
    result = Result(Books([], []), balance([], []), 1.0, 0, struck)

    assert run.gaps(result) == ["Redis was never killed"]
    assert run.gaps(replace(result, struck=struck + Counter([REDIS]))) == []


def test_the_settings_hold_the_broker_and_keep_results_in_the_database() -> None:
    env = celery_env("redis://127.0.0.1:1/0", "postgresql+psycopg2://x")

    assert env["AIRFLOW__CELERY__BROKER_URL"] == "redis://127.0.0.1:1/0"
    assert env["AIRFLOW__CELERY__RESULT_BACKEND"] == "db+postgresql+psycopg2://x"
    assert env.keys() >= PRODUCTION.keys() | SHORTENED.keys()


def test_every_setting_is_one_that_airflow_or_its_celery_provider_knows() -> None:
    from airflow.configuration import conf
    from airflow.providers.celery.get_provider_info import get_provider_info

    sections = {**conf.configuration_description, **get_provider_info()["config"]}
    for name in celery_env("", ""):
        _, section, option = name.lower().split("__")
        assert option in sections[section]["options"], name


def test_components_have_numbers_from_the_second_of_their_kind_on() -> None:
    assert component_names() == ["api-server", "scheduler", "dag-processor", "triggerer"]
    assert component_names(schedulers=2, triggerers=2, workers=2)[5:] == [
        "triggerer-2",
        "celery-worker",
        "celery-worker-2",
    ]


def test_workers_on_one_machine_have_names_of_their_own() -> None:
    assert arguments_of("celery-worker")[-1] == "celery-worker@%h"
    assert arguments_of("celery-worker-2")[-1] == "celery-worker-2@%h"
    assert arguments_of("dag-processor") == ["dag-processor"]


def test_a_component_tells_what_it_said_since_its_last_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    component = Component([sys.executable, "-c", "print('ready')"], dict(os.environ), log)
    assert component.said() == ""

    for _ in range(2):
        component.start()
        wait_until(lambda: component.returncode() is not None, 30, component.tail)

    assert component.said() == "ready\n"
    assert log.read_text() == "ready\nready\n"


def test_the_weight_of_a_kind_is_the_most_memory_of_one_and_the_seconds_of_all() -> None:
    weights = Weights()
    weights.add("triggerer", 1, Weight(100 * MEGABYTE, 5))
    weights.add("triggerer", 1, Weight(90 * MEGABYTE, 7))
    weights.add("triggerer-2", 1, Weight(110 * MEGABYTE, 3))
    weights.add("triggerer", 50, Weight(80 * MEGABYTE, 2))

    assert weights.lines() == ["triggerer: 110 MB at the most, 12 s of a core in all"]


def test_a_living_process_has_memory_and_took_time_and_one_that_is_gone_has_none() -> None:
    weight = weight_of({psutil.Process(os.getpid())})

    assert weight.memory > MEGABYTE
    assert weight.seconds > 0
    assert weight_of([]) == Weight()
