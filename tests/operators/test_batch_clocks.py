"""A gateway whose clock is off: a lost response leads to no second prediction that is paid for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.batches import batch, inputs_of, results
from tests.operators.test_batch_crash import LostError, lost_at
from tests.tasks import TaskInstance

each_skew = pytest.mark.parametrize("skew", [-120.0, -7200.0, 7200.0])
LOST, REFUSED = Faults(drop="after"), Faults(status=502)


@pytest.fixture(autouse=True)
def _quick_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.LAG", 0.3)


def paid(gateway: Sandbox) -> list[int]:
    """How often each input was paid for."""
    prompts = Counter(entry["input"]["prompt"] for entry in gateway.predictions)
    return sorted(prompts.values())


def skewed(gateway: Sandbox, skew: float, first: Faults) -> None:
    """Let the first create request meet a fault, and all times of the gateway be off."""
    gateway.set_faults(first | Faults(clock_skew=skew), times=1, method="POST")
    gateway.set_faults(Faults(clock_skew=skew))


@each_skew
def test_a_create_whose_response_is_lost_is_found(gateway: Sandbox, tmp_path: Path, skew: float) -> None:
    skewed(gateway, skew, LOST)
    assert batch(inputs_of(3), tmp_path / "r")["succeeded"] == 3
    assert paid(gateway) == [1, 1, 1]


@each_skew
def test_the_only_create_of_a_batch_is_found_by_the_date_of_the_response(
    gateway: Sandbox, tmp_path: Path, skew: float
) -> None:
    skewed(gateway, skew, LOST)
    assert batch(inputs_of(1), tmp_path / "r")["succeeded"] == 1
    assert paid(gateway) == [1]


@each_skew
def test_a_create_that_was_not_accepted_is_sent_again(gateway: Sandbox, tmp_path: Path, skew: float) -> None:
    skewed(gateway, skew, REFUSED)
    assert batch(inputs_of(3), tmp_path / "r")["succeeded"] == 3
    assert paid(gateway) == [1, 1, 1]


@each_skew
@pytest.mark.parametrize("write", [3, 4, 8])
def test_a_worker_that_is_lost_costs_no_second_create(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew: float, write: int
) -> None:
    gateway.set_faults(Faults(clock_skew=skew))
    ti = TaskInstance(max_tries=2)
    with monkeypatch.context() as patch:
        lost_at(patch, write, before=True)
        with pytest.raises(LostError):
            batch(inputs_of(6), tmp_path / "r", ti)
    assert batch(inputs_of(6), tmp_path / "r", ti.again())["succeeded"] == 6
    assert paid(gateway) == [1] * 6


def test_an_equal_input_that_may_be_older_leaves_it_uncertain(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only entry on the list is an hour old, or it is the lost one and the clock is off."""
    batch(inputs_of(1), tmp_path / "earlier")
    gateway.set_faults(REFUSED, times=1, method="POST")
    gateway.set_faults(Faults(clock_skew=-3600.0))
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.seconds_ahead", lambda *_: 0)
    with pytest.raises(errors.BatchFailed, match="1 uncertain"):
        batch(inputs_of(1), tmp_path / "r")
    (line,) = results(tmp_path / "r")
    assert (line["outcome"], line["id"]) == ("uncertain", None)
    assert gateway.creates == 1
