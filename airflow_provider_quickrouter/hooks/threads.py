"""Blocking work in threads that a process which exits does not wait for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def start(work: Callable[[], Result]) -> Future[Result]:
    """Start work in its own thread, with the context variables of the caller.

    It is a daemon thread: a process that exits would wait for the threads of an executor, and so for
    a request that hangs.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()  # a caller that stops waiting cannot cancel it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  # the future raises it where it is read
            future.set_exception(error)

    context = copy_context()  # Airflow finds a trigger's log by it
    Thread(target=context.run, args=(run,), name="quickrouter", daemon=True).start()
    return future
