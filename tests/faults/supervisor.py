"""What tasks and triggers learn from Airflow's server, as a test decides it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import comms

from tests.faults.running import TaskInstance

SUPERVISOR = "airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS"


def airflow_reports(
    monkeypatch: pytest.MonkeyPatch, state: str | None, after: float = 0.0, mapped: Sequence[Any] = ()
) -> None:
    """Let Airflow's server report that the task is in this state.

    :param after: seconds until the server responds.
    :param mapped: the return values of the tasks of a mapped upstream.
    """

    def send(message: Any) -> Any:
        if isinstance(message, comms.GetTaskStates):
            time.sleep(after)
            states = {TaskInstance.task_id: state}
            return comms.TaskStatesResult(task_states={TaskInstance.run_id: states})
        return _mapped_result(message, mapped)

    async def asend(message: Any) -> Any:
        return await asyncio.to_thread(send, message)

    _replace_supervisor(monkeypatch, send, asend)


def airflow_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each request to Airflow's server fail."""

    def send(message: Any) -> Any:
        raise RuntimeError("Airflow's server is unreachable")

    async def asend(message: Any) -> Any:
        send(message)

    _replace_supervisor(monkeypatch, send, asend)


def _replace_supervisor(
    monkeypatch: pytest.MonkeyPatch, send: Callable[[Any], Any], asend: Callable[[Any], Any]
) -> None:
    monkeypatch.setattr(SUPERVISOR, SimpleNamespace(send=send, asend=asend), raising=False)


def _mapped_result(message: Any, mapped: Sequence[Any]) -> Any:
    if isinstance(message, comms.GetXComCount):
        return comms.XComCountResponse(len=len(mapped))
    if isinstance(message, comms.GetXComSequenceItem):
        if message.offset >= len(mapped):
            return comms.ErrorResponse()
        return comms.XComSequenceIndexResult(root=mapped[message.offset])
    if isinstance(message, comms.GetXComSequenceSlice):
        part = slice(message.start, message.stop, message.step)
        return comms.XComSequenceSliceResult(root=list(mapped)[part])
    return None
