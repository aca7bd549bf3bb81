"""Create requests whose responses are lost, before a gateway that lists its predictions."""

from __future__ import annotations

import time

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.submission.store import STORE_KEY
from tests.operators.conftest import PROMPT, Execute, first_try, record
from tests.tasks import TaskInstance

pytestmark = pytest.mark.usefixtures("each_store")

INPUT = {"prompt": PROMPT, "sandbox": {"never": True}}


@pytest.fixture(autouse=True)
def quick_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.LAG", 0.3)


@pytest.mark.parametrize("fault", [Faults(drop="after"), Faults(accepted_status=504)])
@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_prediction_whose_response_was_lost_is_found_and_not_paid_twice(
    gateway: Sandbox, execute: Execute, fault: Faults, store: bool
) -> None:
    task_instance = first_try() if store else TaskInstance(None, 1, 2)
    gateway.set_faults(fault, times=1, method="POST")
    assert execute(task_instance) == gateway.predictions[0]["id"]
    assert gateway.creates == 1
    if store:
        assert execute(task_instance.again()) == gateway.predictions[0]["id"]
        assert gateway.creates == 1


def test_a_found_prediction_that_cannot_be_polled_yet_is_not_paid_twice(
    gateway: Sandbox, execute: Execute
) -> None:
    gateway.set_faults(Faults(drop="after"), times=1, method="POST")
    task_instance, faults = first_try(), {"never": True, "not_found_for": 60}
    prediction_id = execute(task_instance, faults)
    assert prediction_id == gateway.predictions[0]["id"]
    assert record(task_instance)["prediction_id"] == prediction_id
    assert gateway.creates == 1


def test_a_request_that_the_list_shows_was_not_accepted_is_left_to_a_retry(
    gateway: Sandbox, execute: Execute
) -> None:
    QuickRouterHook().create_prediction({"prompt": "another"}, version=STABLE_DIFFUSION)
    task_instance = first_try()
    gateway.set_faults(Faults(drop="before"), times=1, method="POST")
    with pytest.raises(errors.UpstreamError, match="shows that it was not accepted") as failed:
        execute(task_instance)
    assert failed.value.transient
    assert record(task_instance) is None
    execute(task_instance.again())
    assert gateway.creates == 2


def test_two_equal_predictions_leave_it_uncertain_which_one_is_whose(
    gateway: Sandbox, execute: Execute
) -> None:
    QuickRouterHook().create_prediction(INPUT, version=STABLE_DIFFUSION)
    gateway.set_faults(Faults(drop="after"), times=1, method="POST")
    with pytest.raises(errors.UncertainCreateError):
        execute(first_try())
    assert gateway.creates == 2


def test_an_empty_list_leaves_it_uncertain(gateway: Sandbox, execute: Execute) -> None:
    gateway.set_faults(Faults(drop="before"), times=1, method="POST")
    with pytest.raises(errors.UncertainCreateError):
        execute(first_try())


def lost_intent(execute: Execute, gateway: Sandbox) -> TaskInstance:
    """The task instance of an attempt whose worker was lost before it stored the id."""
    task_instance = first_try()
    prediction_id = execute(task_instance)
    assert gateway.predictions[0]["id"] == prediction_id
    assert task_instance.store is not None
    task_instance.store.set(
        "quickrouter_prediction", record(task_instance) | {"prediction_id": None, "done": False}
    )
    return task_instance


def test_the_prediction_of_a_lost_worker_is_found_and_resumed(gateway: Sandbox, execute: Execute) -> None:
    lost = lost_intent(execute, gateway)
    assert execute(lost.again()) == gateway.predictions[0]["id"]
    assert record(lost)["prediction_id"] == gateway.predictions[0]["id"]
    assert gateway.creates == 1


def test_an_intent_of_which_nothing_was_accepted_is_submitted(gateway: Sandbox, execute: Execute) -> None:
    lost = lost_intent(execute, gateway)
    assert lost.store is not None
    later = {"begun_at": time.time() + 120.0}
    lost.store.set(STORE_KEY, record(lost) | later)
    execute(lost.again())
    assert gateway.creates == 2


def test_an_intent_of_another_input_is_reported(gateway: Sandbox, execute: Execute) -> None:
    lost = lost_intent(execute, gateway)
    with pytest.raises(errors.UncertainCreateError):
        execute(lost.again(), prompt="another")
    assert gateway.creates == 1
