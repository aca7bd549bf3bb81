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
    """Wait in the same way for a task that the scheduler has deferred.

    Airflow writes these arguments before the task starts, so limits are durations. The start of the
    wait is computed: Airflow stores in the database when its own limit ends the deferral, and that is
    ``airflows_timeout`` seconds after the start. A restarted triggerer computes the same start.

    :param prediction_id: the id. Deferrals of version 0.5 may hold a template, which Airflow
        renders in the triggerer.
    :param from_task: the upstream task that left the id in XCom; used without ``prediction_id``.
    :param from_key: the key of that XCom.
    :param timeout: seconds from the start to the deadline; None means no deadline.
    :param airflows_timeout: seconds from the start to Airflow's own limit.
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
            await self._resolve()
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
            await self._resolve()
        except QuickRouterError as error:
            self.log.warning("There is nothing to cancel: %s", error)
        else:
            await super().on_kill()

    async def _resolve(self) -> None:
        """Find id, start and deadline, which were not known when the arguments were written.

        :raises InvalidInputError: the value in XCom, or the rendered template, is not an id.
        :raises UpstreamError: XCom could not be read; a retry may help.
        """
        ends: datetime | None = getattr(self, "timeout_after", None)  # Airflow sets it
        if ends and self.airflows_timeout is not None:
            ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
            self.started_at = ends.timestamp() - self.airflows_timeout
        if self.timeout is not None:
            self.deadline = self.started_at + self.timeout
        if self.from_task and not self.prediction_id:
            self.prediction_id = await sync_to_async(self._pull, thread_sensitive=False)()
        check_id(self.prediction_id)

    def _pull(self) -> Any:
        """Read XCom; blocks."""
        from airflow.providers.common.compat.sdk import XCom

        ti: Any = self.task_instance
        try:
            return XCom.get_one(key=self.from_key, dag_id=ti.dag_id, run_id=ti.run_id, task_id=self.from_task)
        except Exception as error:
            why = f"the id could not be read from XCom of {self.from_task!r}: {error}"
            raise UpstreamError(why) from error
