"""Create requests whose responses are lost, before a gateway without a list: never repeated."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.conftest import Execute, failing_writes, first_try, new_store, record
from tests.tasks import TaskInstance

pytestmark = pytest.mark.usefixtures("each_store")


@pytest.fixture(autouse=True)
def no_list(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(no_list=404), method="GET")


class LostWorker(BaseException):
    """The worker is gone: nothing is caught, nothing cleaned up."""


def lost_within_the_create() -> TaskInstance:
    """A try whose worker was lost before the create was answered: it left its intent only."""
    store = new_store()
    store.set("quickrouter_prediction", {"fingerprint": "f" * 64, "begun_at": 1.0, "max_tries": 2})
    return first_try(store)


def uncertain(execute: Execute, task_instance: TaskInstance, **arguments: Any) -> Exception:
    with pytest.raises(errors.UncertainCreateError) as told:
        execute(task_instance, **arguments)
    assert isinstance(told.value, AirflowException)
    return told.value


def test_an_intent_without_an_id_is_told_with_its_window_and_creates_nothing(
    gateway: Sandbox, execute: Execute
) -> None:
    error = uncertain(execute, lost_within_the_create().again())
    assert isinstance(error, AirflowFailException)
    assert f"look for {STABLE_DIFFUSION} created from 1970-01-01T00:00:01+00:00 to 20" in str(error)
    assert gateway.requests == []


def test_a_clear_after_that_was_told_submits_once(gateway: Sandbox, execute: Execute) -> None:
    lost = lost_within_the_create()
    told = lost.again()
    uncertain(execute, told)
    uncertain(execute, told.again())
    cleared = told.again(cleared=True)
    execute(cleared)
    execute(cleared.again())
    assert gateway.creates == 1


def test_a_clear_before_it_was_told_tells_first(gateway: Sandbox, execute: Execute) -> None:
    cleared = lost_within_the_create().again(cleared=True)
    uncertain(execute, cleared)
    uncertain(execute, cleared.again())
    execute(cleared.again(cleared=True))
    assert gateway.creates == 1


@pytest.mark.parametrize("fault", [Faults(drop="after"), Faults(accepted_status=504)])
def test_a_lost_answer_is_told_and_a_clear_submits_anew(
    gateway: Sandbox, execute: Execute, fault: Faults
) -> None:
    lost = first_try()
    gateway.set_faults(fault, times=1)
    error = uncertain(execute, lost)
    assert isinstance(error, AirflowFailException)
    assert "created from 20" in str(error)
    assert (gateway.creates, record(lost)["reported"]) == (1, True)
    uncertain(execute, lost.again())
    assert gateway.creates == 1
    execute(lost.again(cleared=True))
    assert gateway.creates == 2


def test_the_author_may_have_it_submitted_again(gateway: Sandbox, execute: Execute) -> None:
    lost = first_try()
    gateway.set_faults(Faults(drop="after"), times=1)
    error = uncertain(execute, lost, on_uncertain="resubmit")
    assert not isinstance(error, AirflowFailException)
    assert record(lost) is None
    execute(lost.again(), on_uncertain="resubmit")
    assert gateway.creates == 2


def test_the_author_may_have_a_lost_workers_create_submitted_again(
    gateway: Sandbox, execute: Execute
) -> None:
    execute(lost_within_the_create().again(), on_uncertain="resubmit")
    assert gateway.creates == 1


def test_without_a_store_a_lost_answer_is_final_too(gateway: Sandbox, execute: Execute) -> None:
    gateway.set_faults(Faults(drop="after"), times=1)
    assert isinstance(uncertain(execute, TaskInstance(None, 1, 2)), AirflowFailException)


TROUBLES = [RuntimeError("no API server"), AirflowTaskTimeout("late")]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_that_cannot_save_the_intent_leads_to_no_create(
    gateway: Sandbox, execute: Execute, trouble: BaseException
) -> None:
    with failing_writes(0, trouble), pytest.raises(type(trouble)):
        execute(first_try())
    assert gateway.creates == 0


def test_a_store_that_cannot_save_the_id_leads_to_no_second_create(
    gateway: Sandbox, execute: Execute
) -> None:
    task_instance = first_try()
    with failing_writes(1, RuntimeError("no API server")):
        prediction_id = execute(task_instance)
    assert prediction_id == gateway.predictions[0]["id"]
    uncertain(execute, task_instance.again())
    assert gateway.creates == 1


def test_a_store_that_cannot_forget_the_intent_leads_to_a_report(gateway: Sandbox, execute: Execute) -> None:
    task_instance = first_try()
    gateway.set_faults(Faults(quota=True), times=1)
    with failing_writes(1, RuntimeError("no API server")), pytest.raises(errors.QuotaError):
        execute(task_instance)
    uncertain(execute, task_instance.again())
    assert gateway.creates == 0


def test_a_worker_that_is_lost_while_it_saves_the_id_leads_to_a_report(
    gateway: Sandbox, execute: Execute
) -> None:
    task_instance = first_try()
    with failing_writes(1, LostWorker()), pytest.raises(LostWorker):
        execute(task_instance)
    uncertain(execute, task_instance.again())
    assert gateway.creates == 1
