from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import InvalidConnectionError
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.polling import poller as poller_module
from airflow_provider_quickrouter.polling.poll import Poll
from airflow_provider_quickrouter.polling.poller import Poller, shared_poller
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from tests.conftest import KEY, connect

CONNECTION = "quickrouter_default"


def submit(number: int = 1, **faults: Any) -> list[str]:
    body = {"prompt": "a cat", "sandbox": faults}
    hook = QuickRouterHook()
    return [hook.create_prediction(body, version=STABLE_DIFFUSION).id for _ in range(number)]


async def event(trigger: QuickRouterPredictionTrigger) -> dict[str, Any]:
    payloads = [event.payload async for event in trigger.run()]
    found: dict[str, Any] = json.loads(json.dumps(payloads[0]))
    return found


def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note each session that is opened."""
    sessions: list[object] = []
    open_one: Callable[[QuickRouterHook], Awaitable[Any]] = QuickRouterHook.__aenter__

    async def noted(hook: QuickRouterHook) -> Any:
        sessions.append(hook)
        return await open_one(hook)

    monkeypatch.setattr(QuickRouterHook, "__aenter__", noted)
    return sessions


def gets(gateway: Sandbox) -> int:
    return [entry.method for entry in gateway.requests].count("GET")


def test_all_triggers_of_a_connection_share_one_session(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, ids = opened(monkeypatch), submit(60)

    async def run() -> list[dict[str, Any]]:
        return await asyncio.gather(*(event(QuickRouterPredictionTrigger(each)) for each in ids))

    events = asyncio.run(run())
    assert [each["reason"] for each in events] == ["succeeded"] * 60
    assert [each["prediction_id"] for each in events] == ids
    assert len(sessions) == 1


def test_when_the_last_one_leaves_nothing_is_left(gateway: Sandbox) -> None:
    (prediction_id,) = submit(never=True)

    async def run() -> list[str]:
        waiting = [asyncio.create_task(event(QuickRouterPredictionTrigger(prediction_id))) for _ in range(2)]
        await asyncio.sleep(1.5)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        return [*map(str, others), *poller_module._POLLERS[asyncio.get_running_loop()]]

    assert asyncio.run(run()) == []


def test_one_that_leaves_does_not_disturb_the_others(gateway: Sandbox) -> None:
    (prediction_id,) = submit(processing=3)

    async def run() -> dict[str, Any]:
        first = asyncio.create_task(event(QuickRouterPredictionTrigger(prediction_id)))
        second = asyncio.create_task(event(QuickRouterPredictionTrigger(prediction_id)))
        await asyncio.sleep(0.5)
        first.cancel()
        return await second

    assert asyncio.run(run())["reason"] == "succeeded"


def test_the_connections_rate_is_kept(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, host=gateway.url, extra={"requests_per_minute": 60})
    ids = submit(9, never=True)

    async def run() -> None:
        triggers = [QuickRouterPredictionTrigger(each, poll_interval=0.5) for each in ids]
        waiting = asyncio.gather(*map(event, triggers))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 6)

    asyncio.run(run())
    assert 3 <= gets(gateway) <= 6


def test_many_waits_are_answered_by_pages(gateway: Sandbox) -> None:
    ids = submit(60, processing=4)

    async def run() -> list[dict[str, Any]]:
        triggers = [QuickRouterPredictionTrigger(each, poll_interval=1.0) for each in ids]
        return await asyncio.gather(*map(event, triggers))

    events = asyncio.run(run())
    assert {each["reason"] for each in events} == {"succeeded"}
    counts = gateway.counts["requests"]
    assert counts["list"] >= 2
    assert counts["get"] <= 90


def test_a_gateway_without_a_list_is_asked_for_it_once(gateway: Sandbox) -> None:
    ids = submit(30, processing=4)
    gateway.set_faults(Faults(no_list=404))

    async def run() -> list[dict[str, Any]]:
        triggers = [QuickRouterPredictionTrigger(each, poll_interval=1.0) for each in ids]
        return await asyncio.gather(*map(event, triggers))

    events = asyncio.run(run())
    assert {each["reason"] for each in events} == {"succeeded"}
    assert gateway.counts["requests"]["list"] == 1


def test_a_refused_page_slows_the_questions_down(gateway: Sandbox) -> None:
    ids = submit(30, processing=2)
    gateway.set_faults(Faults(status=429), times=1, method="GET")

    async def run() -> list[dict[str, Any]]:
        triggers = [QuickRouterPredictionTrigger(each, poll_interval=1.0) for each in ids]
        return await asyncio.gather(*map(event, triggers))

    assert {each["reason"] for each in asyncio.run(run())} == {"succeeded"}
    first, second = [e.at for e in gateway.requests if e.method == "GET"][:2]
    assert second - first >= 0.9


def test_a_key_that_was_replaced_is_read_again(gateway: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    (prediction_id,) = submit(processing=3)
    monkeypatch.setattr(poller_module, "SHORTEST_REFRESH", 0.0)
    connect(monkeypatch, host=gateway.url, password="qr-the-key-of-last-year")

    async def run() -> dict[str, Any]:
        async with shared_poller(CONNECTION):
            connect(monkeypatch, host=gateway.url, password=KEY)
            return await event(QuickRouterPredictionTrigger(prediction_id))

    assert asyncio.run(run())["reason"] == "succeeded"


def test_a_changed_connection_is_used_by_those_who_come_later(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "FRESH", 0.0)

    async def run() -> tuple[bool, str, str]:
        async with shared_poller(CONNECTION) as poller:
            first = await poller.connected()
            async with shared_poller(CONNECTION):
                same = poller.hook
            connect(monkeypatch, host="http://127.0.0.1:9")
            async with shared_poller(CONNECTION):
                another = (await poller.connected()).settings.base_url
        return first is same, first.settings.base_url, another

    assert asyncio.run(run()) == (True, gateway.url, "http://127.0.0.1:9")


def test_lines_for_the_log_are_said_in_the_context_of_who_waits(gateway: Sandbox) -> None:
    task_of = ContextVar("task_of", default="nobody")
    said: list[tuple[str, str]] = []
    log = SimpleNamespace(info=lambda line: said.append((task_of.get(), line)))

    async def wait(name: str, prediction_id: str) -> Outcome:
        task_of.set(name)
        async with shared_poller(CONNECTION) as poller:
            watch = Poll(prediction_id, time.time())
            return await poller.wait_for(watch, log)

    async def run() -> list[Outcome]:
        ids = await asyncio.to_thread(submit, 2, processing=2)
        return list(await asyncio.gather(wait("first", ids[0]), wait("second", ids[1])))

    first, second = asyncio.run(run())
    assert {name for name, line in said if first.prediction_id in line} == {"first"}
    assert {name for name, line in said if second.prediction_id in line} == {"second"}


def test_an_outage_is_a_warning_when_it_begins_and_when_it_ends(
    gateway: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    (prediction_id,) = submit(processing=6)
    gateway.set_faults(Faults(status=503), method="GET", times=2)

    async def run() -> Outcome:
        async with shared_poller(CONNECTION) as poller:
            watch = Poll(prediction_id, time.time())
            return await poller.wait_for(watch, logging.getLogger("tests.poller"))

    with caplog.at_level(logging.INFO, logger="tests.poller"):
        assert asyncio.run(run()).reason is Reason.SUCCEEDED
    lines = [(line.levelname, line.message) for line in caplog.records if line.name == "tests.poller"]
    first, second, third = lines[:3]
    assert first[0] == third[0] == "WARNING"
    assert first[1].startswith(f"Polling prediction {prediction_id} fails since ")
    assert "giving up at" in first[1]
    assert (second[0], second[1][:16]) == ("INFO", "Polling again in")
    assert third[1].startswith("Polling works again after 2 errors in ")
    assert {level for level, _ in lines[3:]} <= {"INFO"}


def test_a_mistake_in_this_program_ends_the_wait_with_its_traceback(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (prediction_id,) = submit()

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(QuickRouterHook, "aread", broken)
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        asyncio.run(event(QuickRouterPredictionTrigger(prediction_id)))


def test_a_mistake_in_the_plan_ends_all_waits_with_its_traceback(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = submit(2)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a mistake")

    async def run() -> list[Any]:
        async with shared_poller(CONNECTION) as poller:
            monkeypatch.setattr(poller.schedule, "next", broken)
            waits = [poller.wait_for(Poll(each, time.time())) for each in ids]
            return await asyncio.gather(*waits, return_exceptions=True)

    assert [type(end) for end in asyncio.run(run())] == [ZeroDivisionError, ZeroDivisionError]


def test_an_answer_that_never_comes_ends_at_the_deadline(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "LAST_POLL", 0.3)
    (prediction_id,) = submit(never=True)
    gateway.set_faults(Faults(hang=20), method="GET")

    async def run() -> Outcome:
        async with shared_poller(CONNECTION) as poller:
            return await poller.wait_for(Poll(prediction_id, time.time(), time.time() + 1))

    outcome = asyncio.run(run())
    gateway.set_faults(None)
    assert outcome.reason is Reason.TIMEOUT
    assert "no response before the deadline" in str(outcome.exception())


def test_a_poller_has_a_hook_as_soon_as_it_has_read_its_connection(gateway: Sandbox) -> None:
    async def run() -> None:
        poller = Poller(CONNECTION)
        before = poller.hook
        assert before is None
        hook = await poller.connected()
        assert hook is poller.hook is await poller.connected()
        await poller.close()

    asyncio.run(run())


def test_a_connection_that_cannot_be_used_raises_only_where_a_hook_is_needed(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"timeout": "soon"})

    async def run() -> None:
        async with shared_poller(CONNECTION) as poller:
            assert poller.hook is None
            with pytest.raises(InvalidConnectionError, match=r"extra\.timeout"):
                await poller.connected()

    asyncio.run(run())
