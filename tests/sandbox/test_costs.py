"""The sandbox bills by prices: the seconds of every prediction that ran, or the outputs of a success."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.bodies import cost_of, parse_prices
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.predictions import Record
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import KEY
from .process import MODULE

PRICES = {"a/b": {"per_output": 0.04}, "c/d": {"per_second": 0.5, "max_seconds": 9}}
LATER = 100.0


def cost(model: str, now: float = LATER, given: Any = None, **fields: Any) -> float:
    record = Record("p1", model, "hidden", given or {}, 7, 0.0, starting=1.0, processing=4.0, **fields)
    return float(cost_of(record, now, parse_prices(PRICES)))


def test_each_output_of_a_success_costs() -> None:
    assert cost("a/b") == 0.04
    assert cost("a/b", given={"num_outputs": 3}) == 0.12
    assert cost("a/b", faults=Faults(output=["x", "y"])) == 0.08
    assert cost("a/b", faults=Faults(output="x")) == 0.04
    assert cost("a/b", faults=Faults(fail="NSFW")) == 0.0
    assert cost("a/b", now=4.0) == 0.0


def test_the_seconds_of_all_that_ran_cost() -> None:
    assert cost("c/d") == 2.0
    assert cost("c/d", faults=Faults(fail="out of memory")) == 2.0
    assert cost("c/d", canceled_at=3.0) == 1.0
    assert cost("c/d", canceled_at=0.5) == 0.0
    assert cost("c/d", deadline=0.5) == 0.0
    assert cost("c/d", now=4.0) == 0.0


def test_a_deployment_has_its_own_price_and_others_cost_nothing() -> None:
    assert cost("sandbox/model", deployment="a/b") == 0.04
    assert cost("e/f") == 0.0


def test_the_ledger_shows_the_sum_also_after_a_restart(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"prices": PRICES, "state": tmp_path / "state", "processing": 0.0}
    body = {"input": {"prompt": "a cat", "num_outputs": 2}}
    for expected in (0.08, 0.16):
        with Sandbox(**settings) as sandbox:
            url = f"{sandbox.url}/replicate/v1/models/a/b/predictions"
            requests.post(url, json=body, headers=KEY, timeout=5).raise_for_status()
            assert requests.get(f"{sandbox.url}/sandbox/counts", timeout=5).json()["cost"] == expected
            entries = requests.get(f"{sandbox.url}/sandbox/predictions", timeout=5).json()
            assert {entry["cost"] for entry in entries} == {0.08}
            assert f"All have cost {expected}" in requests.get(sandbox.url, timeout=5).text


@pytest.mark.parametrize("prices", ["{", "[1]", '{"a/b": 0.04}', '{"a/b": {"per_output": "dear"}}'])
def test_prices_of_another_form_are_refused(prices: str) -> None:
    command = [*MODULE, "--port", "0", "--prices", prices]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode in (1, 2)
    assert "prices" in done.stderr
    assert "Traceback" not in done.stderr
