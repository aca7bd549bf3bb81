"""The trigger that waits for a prediction in the triggerer.

It polls, and cancels at a deadline or when a person stops the task. It never creates a prediction,
and ``cleanup`` never cancels one, since Airflow also calls it when a triggerer restarts.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.errors import ConnectionLostError, QuickRouterError
from airflow_provider_quickrouter.api.outcome import Outcome, Reason, log_success
from airflow_provider_quickrouter.links import RESULT_KEYS, RETURN_KEY, QuickRouterPredictionLink
from airflow_provider_quickrouter.polling.history import Timeline
from airflow_provider_quickrouter.polling.poll import DEFAULT_POLL_INTERVAL, Poll
from airflow_provider_quickrouter.polling.poller import HISTORIES, Poller, new_hook, shared_poller
from airflow_provider_quickrouter.submission.cancel import (
    CLEAR,
    DEADLINE_CANCEL,
    MARK,
    TIMEOUT,
    Owner,
    cancel_in_thread,
    not_canceled,
    stop_in_triggerer,
)
from airflow_provider_quickrouter.tasks.reporting import count_end, file_xcoms, manifest_xcoms

# Airflow 2 stores the XComs that a TaskSuccessEvent holds. Airflow 3 stores them as JSON strings, so
# the trigger pushes them itself.
EVENT_HOLDS_XCOMS = airflow_version.startswith("2.")


async def event_of(trigger: QuickRouterPredictionTrigger, outcome: Outcome, url: str) -> TriggerEvent:
    """Return a trigger's only event. A success may end the task, everything else needs a worker.

    :param url: where a person looks at the prediction.
    """
    payload = outcome.to_payload(url)
    if not (trigger.end_from_trigger and outcome.reason is Reason.SUCCEEDED):
        return TriggerEvent(payload)
    xcoms = {}
    if trigger.push_xcom:
        files = file_xcoms(outcome.output, None)
        xcoms = {RETURN_KEY: outcome.output, **manifest_xcoms(payload["manifest"]), **files}
    if xcoms and not EVENT_HOLDS_XCOMS and not await _push(trigger, xcoms):
        return TriggerEvent(payload)
    await asyncio.to_thread(count_end, outcome, time.time())
    log_success(trigger.log, outcome)
    return TaskSuccessEvent(xcoms=xcoms if EVENT_HOLDS_XCOMS else None)


async def _push(trigger: QuickRouterPredictionTrigger, xcoms: dict[str, Any]) -> bool:
    """Push XComs as a worker does; return False if a worker has to do it."""
    # A triggerer that does not know the request would never respond to it.
    triggerer = sys.modules.get("airflow.jobs.triggerer_job_runner")
    if trigger.task_instance is None or (triggerer and not hasattr(triggerer, "SetXCom")):
        return False
    try:
        await sync_to_async(_change_xcoms, thread_sensitive=False)(trigger, "set", xcoms)
    except Exception:
        trigger.log.warning("XCom could not be set here: a worker ends the task", exc_info=True)
        return False
    return True


async def delete_earlier_xcoms(trigger: QuickRouterPredictionTrigger) -> None:
    """Delete the XComs of an earlier attempt; Airflow does that only when a worker starts."""
    try:
        change = sync_to_async(_change_xcoms, thread_sensitive=False)
        await change(trigger, "delete", dict.fromkeys(RESULT_KEYS))
    except Exception:
        trigger.log.warning("XComs of an earlier attempt could not be deleted", exc_info=True)


def _change_xcoms(trigger: QuickRouterPredictionTrigger, change: str, xcoms: dict[str, Any]) -> None:
    """Set or delete XComs of this task, through the XCom backend. Blocks."""
    from airflow.providers.common.compat.sdk import XCom
    from airflow.sdk.bases.xcom import BaseXCom

    ti: Any = trigger.task_instance
    task = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    for key, value in xcoms.items():
        # The UI reads the link's address from the database, where a custom backend stores references.
        backend = BaseXCom if key == QuickRouterPredictionLink.xcom_key else XCom
        if change == "set":
            backend.set(key=key, value=value, **task)
        else:
            backend.delete(key=key, **task)


class QuickRouterPredictionTrigger(BaseTrigger):
    """Poll a prediction until it is over, then fire one event: ``Outcome.to_payload``.

    Its arguments are stored in Airflow's database, so they are ids and numbers only. An argument that
    an older version lacks has a default; one that a newer version adds is ignored.

    :param prediction_id: the prediction to wait for.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    :param poll_interval: seconds, the longest pause between two polls.
    :param started_at: start of the wait, epoch seconds; default now.
    :param deadline: when it ends without a result, epoch seconds; None means never.
    :param start_deadline: when it ends if the prediction has not started, epoch seconds.
    :param cancel_on: when to cancel the prediction: at a deadline (``TIMEOUT``), when a person
        marks the task (``MARK``), when a person clears it (``CLEAR``: no later attempt resumes
        the same prediction). The latter two need Airflow 3.3.
    :param model: the prediction's model as the API named it, for its history; "" if unknown.
    :param end_from_trigger: let a success end the task without a worker. Airflow 2.10 and later.
    :param push_xcom: whether a task that ends so leaves XComs.
    :param confirmed: the create request was accepted, or a GET has succeeded; then the wait continues
        after a refused key, too. Default True, as in the older versions without this argument.
    """

    def __init__(  # noqa: PLR0913  # what crosses the database, given by name
        self,
        prediction_id: str,
        quickrouter_conn_id: str = "quickrouter_default",
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        started_at: float | None = None,
        deadline: float | None = None,
        start_deadline: float | None = None,
        cancel_on: Sequence[str] = (),
        model: str = "",
        end_from_trigger: bool = False,
        push_xcom: bool = True,
        confirmed: bool = True,
        **_ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.prediction_id = prediction_id
        self.quickrouter_conn_id = quickrouter_conn_id
        self.poll_interval = poll_interval
        self.started_at = time.time() if started_at is None else started_at
        self.deadline = deadline
        self.start_deadline = start_deadline
        self.cancel_on = list(cancel_on)
        self.model = model
        self.end_from_trigger = end_from_trigger
        self.push_xcom = push_xcom
        self.confirmed = confirmed
        self._poller: Poller | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return all that survives a change of process."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "prediction_id": self.prediction_id,
                "quickrouter_conn_id": self.quickrouter_conn_id,
                "poll_interval": self.poll_interval,
                "started_at": self.started_at,
                "deadline": self.deadline,
                "start_deadline": self.start_deadline,
                "cancel_on": self.cancel_on,
                "model": self.model,
                "end_from_trigger": self.end_from_trigger,
                "push_xcom": self.push_xcom,
                "confirmed": self.confirmed,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; yield one event."""
        poll = Poll(
            self.prediction_id,
            self.started_at,
            self.deadline,
            self.poll_interval,
            self.start_deadline,
            confirmed=self.confirmed,
            unfinished_at=self.started_at if self.confirmed else None,
            timeline=Timeline(HISTORIES, self.started_at, self.model),
        )
        try:
            async with shared_poller(self.quickrouter_conn_id) as poller:
                self._poller = poller
                outcome = await poller.wait_for(poll, self.log)
                if outcome.timed_out and TIMEOUT in self.cancel_on:
                    outcome = replace(outcome, stopped=await self._cancel(poller))
                url = poller.hook.prediction_url(self.prediction_id) if poller.hook else ""
        except QuickRouterError as error:
            outcome, url = Outcome.of_error(self.prediction_id, error), ""
        yield await event_of(self, outcome, url)

    async def on_kill(self) -> None:
        """Cancel, within 27 s, if ``cancel_on`` allows it and Airflow reports that the task is over.

        Airflow calls it when a person marks or clears the task, but also in a triggerer that had
        stalled, for triggers that another one has taken over: their tasks still wait.
        """
        if MARK in self.cancel_on:
            owner = Owner(self.task_instance, resumable=CLEAR not in self.cancel_on)
            hook = await new_hook(self._poller, self.quickrouter_conn_id)
            await stop_in_triggerer(hook.sibling, [self.prediction_id], owner, self.log)

    async def _cancel(self, poller: Poller) -> str:
        """Cancel the prediction at the deadline; return the result as a sentence."""
        with suppress(TimeoutError, QuickRouterError):
            async with asyncio.timeout(DEADLINE_CANCEL):
                return await cancel_in_thread(await poller.connected(), self.prediction_id)
        return not_canceled(ConnectionLostError("no response in time"))
