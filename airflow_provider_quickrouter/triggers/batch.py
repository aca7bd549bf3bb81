"""The trigger that waits for the predictions of a batch.

It reads their ids from the batch's record, and stores there how each ends. It never creates a
prediction. It cancels at the batch's deadline, or when a person stops the task, never in ``cleanup``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.outcome import PAYLOAD_VERSION
from airflow_provider_quickrouter.batch.journal import Journal, Record
from airflow_provider_quickrouter.batch.ledger import Ledger
from airflow_provider_quickrouter.batch.waits import Waits
from airflow_provider_quickrouter.polling.poller import Poller, new_hook, shared_poller
from airflow_provider_quickrouter.storage.target import Target
from airflow_provider_quickrouter.submission.cancel import Owner, stop_in_triggerer


class QuickRouterBatchTrigger(BaseTrigger):
    """Poll the predictions of a batch until all are over, then fire one event with numbers.

    The event is ``{"payload_version": 1, "outcomes": {word: number}, "error": null or JSON of
    a QuickRouterError}``. A trigger that is started again reads the record and continues.

    :param output_path: of the results; the record is next to it.
    :param owner: the name of the record.
    :param total: number of items.
    :param deadline: when what still runs is canceled, epoch seconds.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    :param cancel_on_kill: cancel all when a person marks the task (Airflow 3.3 and later); after
        a clear the next attempt resumes them.
    :param store_path: folder in which to store the files of each success; None stores none.
    """

    def __init__(
        self,
        output_path: str,
        owner: str,
        total: int,
        deadline: float,
        quickrouter_conn_id: str = "quickrouter_default",
        cancel_on_kill: bool = True,
        store_path: str | None = None,
        **_ignored: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.output_path = output_path
        self.owner = owner
        self.total = total
        self.deadline = deadline
        self.quickrouter_conn_id = quickrouter_conn_id
        self.cancel_on_kill = cancel_on_kill
        self.store_path = store_path
        self._ledger: Ledger | None = None
        self._poller: Poller | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return all that survives a change of process."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "output_path": self.output_path,
                "owner": self.owner,
                "total": self.total,
                "deadline": self.deadline,
                "quickrouter_conn_id": self.quickrouter_conn_id,
                "cancel_on_kill": self.cancel_on_kill,
                "store_path": self.store_path,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; yield one event."""
        outcomes, error = dict[str, int](), None
        try:
            outcomes = await self._wait_for_all()
        except QuickRouterError as failure:
            error = failure.to_payload()
        yield TriggerEvent({"payload_version": PAYLOAD_VERSION, "outcomes": outcomes, "error": error})

    async def on_kill(self) -> None:
        """Cancel what still runs, within 27 s, if Airflow reports that the task is over."""
        ids = self._ledger.running_ids() if self._ledger else []
        if self.cancel_on_kill and ids:
            hook = await new_hook(self._poller, self.quickrouter_conn_id)
            await stop_in_triggerer(hook.sibling, ids, Owner(self.task_instance), self.log)

    async def _wait_for_all(self) -> dict[str, int]:
        def open_storage() -> tuple[Record, Ledger, Target | None]:
            record = Record(self.output_path, self.owner)
            target = Target(self.store_path, "store_path") if self.store_path else None
            return record, record.read(self.total), target

        # In asgiref's thread: the storage's own connection is looked up there.
        record, self._ledger, target = await sync_to_async(open_storage)()
        journal, until = Journal(record, self._ledger), self.deadline
        try:
            async with shared_poller(self.quickrouter_conn_id) as self._poller:
                waits = Waits(journal, self._poller, until, self.log, target, leaves_rest=True)
                async with waits.progress_logged():
                    await waits.wait_for_all()
        finally:
            await asyncio.shield(journal.close())
        return dict(waits.tally.outcomes)
