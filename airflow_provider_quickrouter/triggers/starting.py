"""The trigger of a wait that no worker started: it finds id and deadline itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.errors import QuickRouterError, UpstreamError
from airflow_provider_quickrouter.api.outcome import UNKNOWN_ID, Outcome
from airflow_provider_quickrouter.api.protocol import check_id
from airflow_provider_quickrouter.submission.cancel import MARK
from airflow_provider_quickrouter.triggers.prediction import (
    QuickRouterPredictionTrigger,
    delete_earlier_xcoms,
)


class QuickRouterStartTrigger(QuickRouterPredictionTrigger):
    """The same wait for a task that the scheduler has deferred.

    No process knew the time when these arguments were written, so limits are durations. The
    instant from which they count is that of Airflow's own limit on the deferral, which is in
    the database, less ``airflows_timeout``: a restarted triggerer finds the same one.

    :param prediction_id: the id. Deferrals that version 0.5 has written may hold a template, which
        Airflow renders in the triggerer.
    :param from_task: the upstream task that left the id in XCom, in place of ``prediction_id``.
    :param from_key: under which key it did.
    :param timeout: seconds from the beginning to the deadline; None means no deadline.
    :param airflows_timeout: seconds from the beginning to Airflow's own limit.
    :param arguments: those of ``QuickRouterPredictionTrigger``.
    """

    def __init__(
        self,
        prediction_id: str = "",
        from_task: str | None = None,
        from_key: str = "return_value",
        timeout: float | None = None,
        airflows_timeout: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(prediction_id, **arguments)
        self.from_task = from_task
        self.from_key = from_key
        self.timeout = timeout
        self.airflows_timeout = airflows_timeout

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return all that survives a change of process."""
        path, arguments = super().serialize()
        return path, arguments | {
            "from_task": self.from_task,
            "from_key": self.from_key,
            "timeout": self.timeout,
            "airflows_timeout": self.airflows_timeout,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Find id and deadline, then wait; yield one event."""
        if getattr(self.task_instance, "try_number", 1) > 1:
            await delete_earlier_xcoms(self)
        try:
            await self._begin()
        except QuickRouterError as error:
            yield TriggerEvent(Outcome.of_error(UNKNOWN_ID, error).to_payload(""))
            return
        async for event in super().run():
            yield event

    async def on_kill(self) -> None:
        """Cancel as the other trigger does, also if the id is not known yet."""
        if MARK not in self.cancel_on:
            return
        try:
            await self._begin()
        except QuickRouterError as error:
            self.log.warning("There is nothing to cancel: %s", error)
        else:
            await super().on_kill()

    async def _begin(self) -> None:
        """Find what was not known when the arguments were written.

        :raises InvalidInputError: what XCom holds, or was rendered, is not an id.
        :raises UpstreamError: XCom could not be read; a retry may help.
        """
        self._begin_to_count()
        if self.from_task and not self.prediction_id:
            self.prediction_id = await sync_to_async(self._pull, thread_sensitive=False)()
        check_id(self.prediction_id)

    def _begin_to_count(self) -> None:
        ends: datetime | None = getattr(self, "timeout_after", None)  # Airflow sets it
        if ends and self.airflows_timeout is not None:
            ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
            self.started_at = ends.timestamp() - self.airflows_timeout
        if self.timeout is not None:
            self.deadline = self.started_at + self.timeout

    def _pull(self) -> Any:
        """Read XCom; blocks."""
        from airflow.providers.common.compat.sdk import XCom

        ti: Any = self.task_instance
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": self.from_task}
        try:
            return XCom.get_one(key=self.from_key, **place)
        except Exception as error:
            why = f"the id could not be read from XCom of {self.from_task!r}: {error}"
            raise UpstreamError(why) from error
