"""A deadline that passes while no triggerer runs: a timeout, which is not retried."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from tests.faults.clock import Clock
from tests.faults.dags import run_operator
from tests.faults.gateway import Gateway
from tests.faults.running import TaskInstance, failure_of, is_retried


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "durable=False"])
@pytest.mark.parametrize("status", ["canceled", "processing"])
def test_a_deadline_that_passes_without_a_triggerer_is_a_timeout_and_pays_nothing(
    status: str, durable: bool, gateway: Gateway, fast: Clock
) -> None:
    gateway.result = {"status": status}
    task = run_operator(deferrable=True, timeout=20, durable=durable)

    def stopped_triggerer(trigger: Any) -> None:
        fast.jump(100)

    ti = TaskInstance(retries=2)
    error = failure_of(task, ti, triggerer=stopped_triggerer)
    while is_retried(error) and ti.try_number <= ti.max_tries:
        ti = ti.next_try()
        error = failure_of(task, ti, triggerer=stopped_triggerer)
    assert len(gateway.creates) == 1
    assert isinstance(error, errors.PredictionTimeout), repr(error)
    assert not is_retried(error)
