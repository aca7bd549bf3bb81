"""A poller whose surroundings change under it, against a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import pytest

from airflow_provider_quickrouter.api import protocol
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.protocol import Request, Response, get
from airflow_provider_quickrouter.hooks import quickrouter as hook_module
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.polling import poller as poller_module
from airflow_provider_quickrouter.polling.poll import PATIENCE, Poll
from airflow_provider_quickrouter.polling.poller import Poller, shared_poller
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.conftest import KEY, connect
from tests.tasks import Clock
from tests.triggers.test_poller import CONNECTION, event, submit

Send = Callable[[QuickRouterHook, Request], Awaitable[Response]]


async def wait_for(poller: Poller, prediction_id: str, seconds: float = 8, confirmed: bool = True) -> Outcome:
    watch = Poll(prediction_id, time.time(), time.time() + seconds, confirmed=confirmed)
    return await poller.wait_for(watch)


def test_a_question_that_waits_for_a_connection_survives_a_change_of_the_session(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "FRESH", 0.0)
    (prediction_id,) = submit()
    gateway.set_faults(Faults(hang=6), times=12, method="GET")

    async def run() -> Outcome:
        async with shared_poller(CONNECTION) as poller:
            hook, request = await poller.connected(), get(prediction_id)
            others = [asyncio.create_task(hook.asend(request)) for _ in range(12)]
            waiting = asyncio.create_task(wait_for(poller, prediction_id))
            await asyncio.sleep(2)
            connect(monkeypatch, host=gateway.url, extra={"timeout": 20})
            async with shared_poller(CONNECTION):
                await asyncio.gather(*others, return_exceptions=True)
                return await waiting

    assert asyncio.run(run()).reason is Reason.SUCCEEDED


def test_a_page_that_hangs_lets_no_wait_miss_its_deadline(gateway: Sandbox) -> None:
    ids = submit(30, processing=2)
    gateway.set_faults(Faults(hang=20), times=1, method="GET")

    async def run() -> list[Outcome]:
        async with shared_poller(CONNECTION) as poller:
            return await asyncio.gather(*(wait_for(poller, each) for each in ids))

    outcomes = asyncio.run(run())
    assert gateway.counts["requests"]["list"] == 1
    assert {each.reason for each in outcomes} == {Reason.SUCCEEDED}


def test_a_refusal_of_the_key_before_last_is_not_one_of_the_key(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the old key is read when a newcomer has just made the new one known."""
    (prediction_id,) = submit()
    connect(monkeypatch, host=gateway.url, password="qr-the-key-of-last-year")
    real: Send = QuickRouterHook.asend

    async def run() -> Outcome:
        async with shared_poller(CONNECTION) as poller:

            async def late(hook: QuickRouterHook, request: Request) -> Response:
                response = await real(hook, request)
                connect(monkeypatch, host=gateway.url, password=KEY)
                await poller.connected(0.0)
                return response

            monkeypatch.setattr(QuickRouterHook, "asend", late)
            return await wait_for(poller, prediction_id)

    assert asyncio.run(run()).reason is Reason.SUCCEEDED


def test_a_key_that_was_replaced_just_after_it_was_read_is_read_again(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prediction_id,) = submit()
    connect(monkeypatch, host=gateway.url, password="qr-the-key-of-last-year")

    async def run() -> Outcome:
        async with shared_poller(CONNECTION) as poller:
            connect(monkeypatch, host=gateway.url, password=KEY)
            return await wait_for(poller, prediction_id)

    assert asyncio.run(run()).reason is Reason.SUCCEEDED


def noted_hooks(patch: pytest.MonkeyPatch) -> list[str]:
    """Return the connections for which pollers make a hook from now on, one entry for each."""
    made: list[str] = []
    real = poller_module.make_hook

    def noted(name: str) -> QuickRouterHook:
        made.append(name)
        return real(name)

    patch.setattr(poller_module, "make_hook", noted)
    return made


@pytest.mark.parametrize(("confirmed", "reason"), [(False, "api_error"), (True, "timeout")])
def test_a_refused_key_is_not_read_again_for_each_wait(
    gateway: Sandbox, confirmed: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.polling.poller.SHORTEST_REFRESH", 60.0)
    ids = submit(30)
    connect(monkeypatch, host=gateway.url, password="qr-the-key-of-last-year")
    made = noted_hooks(monkeypatch)

    async def run() -> list[Outcome]:
        async with shared_poller(CONNECTION) as poller:
            return await asyncio.gather(*(wait_for(poller, each, 4, confirmed) for each in ids))

    assert {each.reason.value for each in asyncio.run(run())} == {reason}
    assert len(made) == 2


def test_a_connection_that_cannot_be_used_is_not_read_again_for_each_wait(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})
    made = noted_hooks(monkeypatch)

    async def run() -> list[Outcome]:
        async with shared_poller(CONNECTION) as poller:
            return await asyncio.gather(*(wait_for(poller, f"p{n}", 3) for n in range(30)))

    assert {each.reason for each in asyncio.run(run())} == {Reason.TIMEOUT}
    assert len(made) == 1


def test_a_wait_goes_on_as_soon_as_its_connection_is_corrected(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "SHORTEST_REFRESH", 0.0)
    (prediction_id,) = submit()
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})

    async def run() -> dict[str, Any]:
        waiting = asyncio.create_task(event(QuickRouterPredictionTrigger(prediction_id)))
        await asyncio.sleep(1.5)
        connect(monkeypatch, host=gateway.url)
        return await waiting

    payload = asyncio.run(run())
    assert payload["reason"] == "succeeded"
    assert payload["manifest"]["url"].startswith(gateway.url)


def test_questions_are_asked_in_nobodys_context(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they log themselves would stand in the log of the task that came first."""
    task_of, seen = ContextVar("task_of", default="nobody"), set[str]()
    (prediction_id,) = submit()
    real: Send = QuickRouterHook.asend

    async def noted(hook: QuickRouterHook, request: Request) -> Response:
        seen.add(task_of.get())
        return await real(hook, request)

    monkeypatch.setattr(QuickRouterHook, "asend", noted)

    async def run() -> None:
        task_of.set("first")
        async with shared_poller(CONNECTION) as poller:
            await wait_for(poller, prediction_id)

    asyncio.run(run())
    assert seen == {"nobody"}


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize(("error", "kind"), [(OSError, "UpstreamError")])
def test_a_connection_that_cannot_be_read_for_ten_minutes_is_told_in_the_event(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, error: type[Exception], kind: str, confirmed: bool
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise error(KEY)

    clock = Clock(monkeypatch)
    monkeypatch.setattr(hook_module, "get_async_connection", broken)
    payload = asyncio.run(event(QuickRouterPredictionTrigger("p1", confirmed=confirmed)))
    assert payload["error"]["type"] == kind
    assert KEY not in json.dumps(payload)
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + 90


def test_a_connection_that_does_not_exist_is_told_in_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    trigger = QuickRouterPredictionTrigger("p1", quickrouter_conn_id="nowhere")
    payload = asyncio.run(event(trigger))
    assert payload["error"]["type"] == "UpstreamError"
    assert "nowhere" in payload["error"]["message"]
    assert PATIENCE <= sum(clock.pauses) < PATIENCE + 90


def test_a_poller_goes_on_with_what_it_knows_while_airflow_cannot_tell(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prediction_id,) = submit()
    monkeypatch.setattr(poller_module, "FRESH", 0.0)

    async def broken(*_: Any, **__: Any) -> Any:
        raise OSError("the database is away")

    async def run() -> dict[str, Any]:
        async with shared_poller(CONNECTION):
            monkeypatch.setattr(hook_module, "get_async_connection", broken)
            return await event(QuickRouterPredictionTrigger(prediction_id))

    assert asyncio.run(run())["reason"] == "succeeded"


def test_a_second_cancellation_leaves_no_session_open(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prediction_id,) = submit(never=True)
    sessions: list[aiohttp.ClientSession] = []

    async def run() -> None:
        trigger = QuickRouterPredictionTrigger(prediction_id)
        task = asyncio.create_task(event(trigger))
        await asyncio.sleep(0.8)
        assert trigger._poller
        assert trigger._poller.hook
        assert trigger._poller.hook._async_sender
        sessions.append(trigger._poller.hook._async_sender._session)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert [each.closed for each in sessions] == [True]


def test_a_newcomer_while_the_poller_closes_gets_a_new_one(gateway: Sandbox) -> None:
    (prediction_id,) = submit(never=True)
    (other,) = submit()

    async def run() -> dict[str, Any]:
        first = asyncio.create_task(event(QuickRouterPredictionTrigger(prediction_id)))
        await asyncio.sleep(1.2)
        first.cancel()
        await asyncio.sleep(0)
        return await event(QuickRouterPredictionTrigger(other))

    assert asyncio.run(run())["reason"] == "succeeded"


@pytest.mark.parametrize(("size", "aside"), [(1, False), (2**19, True)])
def test_a_large_page_is_read_in_a_thread(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, size: int, aside: bool
) -> None:
    threads: list[threading.Thread] = []
    real = protocol.read_page

    def noted(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(protocol, "read_page", noted)
    body = {"results": [{"id": "p1", "status": "processing", "logs": "x" * size}]}
    response = Response(200, {}, json.dumps(body).encode())
    found, cursor = asyncio.run(QuickRouterHook().aread(protocol.read_page, response))
    assert [each.id for each in found] == ["p1"]
    assert cursor is None
    assert [each is not threading.main_thread() for each in threads] == [aside]
