"""How often a task pays, over all of its tries: the creates that the gateway has counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.polling.poll import LONGEST_PAUSE, PATIENCE
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.hooks.test_hook import unused_port
from tests.operators.conftest import PROMPT, Execute, cancels, durable, execute_with, first_try, record
from tests.tasks import Clock, TaskInstance, context_of

pytestmark = pytest.mark.usefixtures("each_store")


def test_a_retry_takes_up_what_a_lost_try_has_paid_for(gateway: Sandbox, execute: Execute) -> None:
    lost = first_try()
    prediction_id, retry = execute(lost), lost.again()
    assert execute(retry) == prediction_id
    assert gateway.creates == 1
    assert retry.xcoms["prediction"]["id"] == prediction_id
    assert cancels(gateway) == []


def test_a_persons_clear_of_a_running_task_takes_it_up_too(gateway: Sandbox, execute: Execute) -> None:
    lost = first_try()
    assert execute(lost.again(cleared=True)) == execute(lost.again(cleared=True))
    assert gateway.creates == 1


def test_what_has_succeeded_meanwhile_is_taken_up(gateway: Sandbox, execute: Execute) -> None:
    lost = first_try()
    prediction_id = execute(lost, {"processing": 0.1})
    assert execute(lost.again(), {"processing": 0.1}) == prediction_id
    assert gateway.creates == 1


def test_a_changed_input_pays_again_and_cancels_the_old_one(gateway: Sandbox, execute: Execute) -> None:
    lost = first_try()
    old, new = execute(lost), execute(lost.again(), prompt="another")
    assert new != old
    assert (gateway.creates, cancels(gateway)) == (2, [old])
    assert record(lost)["prediction_id"] == new


def test_a_changed_input_leaves_the_old_one_where_nothing_is_canceled(
    gateway: Sandbox, execute: Execute
) -> None:
    lost = first_try()
    execute(lost)
    execute(lost.again(), prompt="another", cancel_on_kill=False)
    assert (gateway.creates, cancels(gateway)) == (2, [])


@pytest.mark.parametrize(
    "faults",
    [{"fail": "no"}, {"status_word": "aborted"}, {"expire_after": 0}],
    ids=["failed", "aborted", "expired"],
)
def test_what_ended_badly_is_paid_for_again(
    gateway: Sandbox, execute: Execute, faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost = Clock(monkeypatch), first_try()
    prediction_id = execute(lost, {**faults, "processing": 5})
    clock.now += 60
    assert execute(lost.again(), {**faults, "processing": 5}) != prediction_id
    assert (gateway.creates, cancels(gateway)) == (2, [])


@pytest.mark.parametrize("cleared", [False, True])
def test_a_success_without_output_is_paid_for_again_only_after_a_clear(
    gateway: Sandbox, execute: Execute, cleared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost, faults = Clock(monkeypatch), first_try(), {"output": None, "processing": 5}
    prediction_id = execute(lost, faults)
    clock.now += 60
    assert (execute(lost.again(cleared=cleared), faults) != prediction_id) is cleared
    assert (gateway.creates, cancels(gateway)) == (1 + cleared, [])


def test_a_retry_after_a_cleared_attempt_that_resumed_is_no_cleared_attempt(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost, run = Clock(monkeypatch), first_try(), execute_with("run")
    faults = {"output": None, "processing": 5}
    prediction_id, cleared = run(lost, faults), lost.again(cleared=True)
    run(cleared, faults)
    clock.now += 60
    assert run(cleared.again(), faults) == prediction_id
    assert gateway.creates == 1


def test_what_the_api_does_not_know_yet_is_waited_for(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost, faults = first_try(), {"never": True, "not_found_for": 8}
    assert execute(lost.again(), faults) == execute(lost.again(), faults)
    assert gateway.creates == 1


def test_a_person_who_clears_a_task_that_had_succeeded_wants_a_new_one(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    done = first_try()
    for task_instance in (done, done.again(), done.again(cleared=True)):
        with DAG("test"):
            task = QuickRouterRunPredictionOperator(
                task_id="run",
                input={"prompt": PROMPT},
                version=STABLE_DIFFUSION,
                deferrable=False,
                **durable(done),
            )
        assert task.execute(context_of(task, task_instance))
    assert gateway.creates == 2


def test_a_submit_that_had_succeeded_is_taken_up_by_a_retry_and_not_after_a_clear(gateway: Sandbox) -> None:
    done = first_try()
    found = list[str]()
    for task_instance in (done, done.again(), done.again(cleared=True)):
        with DAG("test"):
            task = QuickRouterSubmitPredictionOperator(
                task_id="run", input={"prompt": PROMPT}, version=STABLE_DIFFUSION, **durable(done)
            )
        found.append(task.execute(context_of(task, task_instance)))
    assert found[0] == found[1] != found[2]
    assert (gateway.creates, cancels(gateway)) == (2, [])


def test_durable_off_and_an_airflow_without_a_store_pay_with_each_try(
    gateway: Sandbox, execute: Execute
) -> None:
    forgetful = first_try()
    execute(forgetful, durable=False)
    execute(forgetful.again(), durable=False)
    assert forgetful.store is not None
    assert forgetful.store.values == {}
    old_airflow = TaskInstance(None, 1, 2)
    execute(old_airflow)
    execute(old_airflow.again())
    assert gateway.creates == 4


def test_the_indexes_of_a_mapped_task_do_not_share_what_they_remember(
    gateway: Sandbox, execute: Execute
) -> None:
    assert execute(first_try()) != execute(first_try())
    assert gateway.creates == 2


def test_what_is_remembered_holds_neither_prompt_nor_key(gateway: Sandbox, execute: Execute) -> None:
    task_instance = first_try()
    execute(task_instance)
    assert task_instance.store is not None
    stored = json.dumps(task_instance.store.values)
    assert PROMPT not in stored
    assert KEY not in stored
    assert len(stored) < 500


@pytest.mark.parametrize(
    "fault",
    [
        Faults(status=401),
        Faults(quota=True),
        Faults(no_channel=True),
        Faults(status=422),
        Faults(rate_limit="header", retry_after=300),
        Faults(rate_limit="bare"),
    ],
)
def test_what_was_certainly_not_accepted_leaves_nothing_behind(
    gateway: Sandbox, execute: Execute, fault: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    refused = first_try()
    gateway.set_faults(fault)
    with pytest.raises(AirflowException):
        execute(refused)
    assert record(refused) is None
    gateway.set_faults(None)
    execute(refused.again())
    assert gateway.creates == 1


def test_a_connection_that_is_refused_leaves_nothing_behind(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    refused = first_try()
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(errors.NotConnectedError):
        execute(refused)
    assert record(refused) is None


def test_a_wrong_argument_leaves_nothing_behind(gateway: Sandbox, execute: Execute) -> None:
    wrong = first_try()
    with pytest.raises(AirflowFailException, match="version: '{{ version }}' is not"):
        execute(wrong, version="{{ version }}")
    assert record(wrong) is None
    assert gateway.requests == []


def test_trouble_while_asking_for_the_old_one_is_waited_out_and_never_pays(
    gateway: Sandbox, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost = Clock(monkeypatch), first_try()
    prediction_id = execute(lost)
    gateway.set_faults(Faults(status=503), times=4, method="GET")
    gateway.set_faults(Faults(drop="before"), times=1, method="GET")
    assert execute(lost.again()) == prediction_id
    assert gateway.creates == 1
    assert 5 < sum(clock.pauses) < 60


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(status=503), errors.UpstreamError),
        (Faults(odd_response="unauthorized"), errors.UpstreamError),
        (Faults(odd_response="forbidden"), errors.UpstreamError),
        (Faults(odd_response="challenge_page"), errors.UpstreamError),
        (Faults(odd_response="not_found_page"), errors.UpstreamError),
        (Faults(odd_response="moved"), errors.UpstreamError),
        (Faults(rate_limit="header", retry_after=3_000), errors.RateLimitError),
    ],
    ids=lambda value: value.odd_response or "" if isinstance(value, Faults) else None,
)
def test_trouble_that_lasts_while_asking_for_the_old_one_never_pays_either(
    gateway: Sandbox, execute: Execute, fault: Faults, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, lost = Clock(monkeypatch), first_try()
    prediction_id = execute(lost)
    gateway.set_faults(fault, method="GET")
    with pytest.raises(AirflowException) as failed:
        execute(lost.again())
    assert isinstance(failed.value, kind)
    assert not isinstance(failed.value, AirflowFailException)
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + LONGEST_PAUSE
    gateway.set_faults(None)
    assert execute(lost.again()) == prediction_id
    assert (gateway.creates, cancels(gateway)) == (1, [])


def test_after_an_outage_a_clear_resumes_the_prediction_too(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lost, run = first_try(retries=0), execute_with("run")
    prediction_id = run(lost)
    gateway.set_faults(Faults(status=503), method="GET")
    with pytest.raises(errors.UpstreamError):
        run(lost.again())
    gateway.set_faults(None)
    assert run(lost.again().again(cleared=True)) == prediction_id
    assert (gateway.creates, cancels(gateway)) == (1, [])
