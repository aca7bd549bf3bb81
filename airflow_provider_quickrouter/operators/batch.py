"""The operator that creates thousands of predictions in one task."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowException, AirflowTaskTimeout, BaseOperator, conf

from airflow_provider_quickrouter.api.attachments import is_template
from airflow_provider_quickrouter.api.errors import InvalidInputError, UpstreamError, from_payload
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.prediction import amount_of
from airflow_provider_quickrouter.api.prices import price_of
from airflow_provider_quickrouter.api.protocol import Request, check_cancel_after, create
from airflow_provider_quickrouter.batch.journal import FILE_REMEDY, Record
from airflow_provider_quickrouter.batch.ledger import PRINT, FailOn, Ledger, State, add_files, check_fail_on
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.links import FILES_KEY, RETURN_KEY
from airflow_provider_quickrouter.polling.poll import LONGEST, SERVER_MARGIN, Limits, airflows_limit
from airflow_provider_quickrouter.storage.names import owner_of
from airflow_provider_quickrouter.storage.target import Target, check_path
from airflow_provider_quickrouter.submission import cancel
from airflow_provider_quickrouter.submission.record import fingerprint
from airflow_provider_quickrouter.tasks.arguments import (
    check_choice,
    check_creates,
    checked_list,
    create_unread,
    positive,
    reference_of,
    seconds,
)
from airflow_provider_quickrouter.tasks.base import PredictionTask
from airflow_provider_quickrouter.tasks.reporting import add_to_asset_events

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

DEFAULT_TIMEOUT = 86_400.0  # seconds: a day is enough for 800,000 creates at Replicate's limit
CREATES_PER_MINUTE = 600.0  # Replicate's limit of an account
CANCEL_AFTER = 3000.0  # seconds: what a prediction takes at most that waits in a queue and runs
MAX_IN_FLIGHT = 2000  # at Replicate's limit more run only if each takes over 200 s


class QuickRouterBatchPredictionOperator(PredictionTask, BaseOperator):
    """Create a prediction of each input, and store all results as one file of JSON lines.

    It submits on the worker, at the pace that the limits allow, and then waits in one deferral.
    The results have one line for each input, in order, however it ended: see ``batch.ledger``.
    XCom: ``return_value`` is a summary: ``{"total", "succeeded", "outcomes": {word: number},
    "output_path", "seconds", "cost"}``; with ``store_path``, ``files`` are the first thousand stored files,
    each with its ``prediction_id``. The results are stored before the task fails.

    A record of what was submitted is stored next to the results, in ``<output_path>.record``, one
    for each run of the task. A retry continues from it, on every version of Airflow: it submits
    what is missing, was aborted or failed for a transient reason, and pays for nothing twice. A
    create request whose response was lost, with its worker for instance, is looked for in the
    API's list of predictions. A person's clear also creates again what failed permanently; of a
    task that had succeeded it creates everything again. So does each attempt with an input that
    has changed.

    :param inputs: list of dicts or models of ``api.models``; may hold templates, or be an XCom.
        Each is checked before any is paid for. A file may be an ``ObjectStoragePath`` or its string,
        see ``api.attachments``: it is read just before its prediction is created. One that is
        missing is ``refused``. Another path is another input; other bytes at the same path are not.
    :param output_path: of the results, on any storage of ``ObjectStoragePath``. Each run, and each map
        index of a mapped task, needs its own, as with ``{{ run_id }}`` and ``{{ ti.map_index }}``:
        the path of another run is refused before anything is paid for.
    :param store_path: folder, as ``ObjectStoragePath`` takes it, in which to store the files of each
        success as soon as it ends, like ``QuickRouterToObjectStorageOperator``; they are in its
        line. What cannot be stored counts as failed. A retry polls its prediction again, and
        fetches nothing that is stored. None stores nothing: the API deletes the files after an hour.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name; or else
    :param deployment: ``owner/name``, for deployments at Replicate itself.
    :param max_in_flight: how many may run at once; the worker waits for room.
    :param creates_per_minute: at most; a 429 lowers it for a while.
    :param max_cost: the most that the predictions of all attempts may cost together, in the unit of
        the connection's ``prices``; the model's price must be ``per_output``, or have ``max_seconds``.
        If the next prediction may exceed it, the worker waits for those that run, as they may cost
        less. Then the task fails without a retry; a clear with a higher limit submits the rest.
    :param fail_on: when the task fails: ``any`` or ``all`` have not succeeded, or more than this
        share (0.05: a twentieth). It is retried if a retry may end otherwise.
    :param timeout: seconds or timedelta for the batch, from the first attempt on; the task's
        ``execution_timeout`` counts if it is shorter. What still runs then is canceled.
    :param cancel_after: seconds (at least 5) or timedelta after which the server itself cancels a
        prediction, counted from its create request: the longest queue that was seen took 17
        minutes, and a run may take 30. At most five minutes after ``timeout``, also for None.
    :param on_uncertain: what follows if the list does not show whether a create request was
        accepted: the item ends as ``uncertain`` (``fail``), or it is submitted again.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param cancel_on_kill: cancel what runs when a person marks the task (while it is deferred:
        Airflow 3.3 and later); not when another attempt resumes it.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = (
        "inputs",
        "output_path",
        "store_path",
        "version",
        "model",
        "deployment",
        "max_cost",
        "quickrouter_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}
    ui_color = "#ede9fe"

    def __init__(  # noqa: PLR0913  # each is given by its name, and nearly always only a few
        self,
        *,
        inputs: Any,
        output_path: str,
        store_path: str | None = None,
        version: str | None = None,
        model: str | None = None,
        deployment: str | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        creates_per_minute: float = CREATES_PER_MINUTE,
        max_cost: float | str | None = None,
        fail_on: FailOn = "any",
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        cancel_after: float | timedelta | None = CANCEL_AFTER,
        on_uncertain: Literal["fail", "resubmit"] = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = True,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.version, self.model, self.deployment = version, model, deployment
        with airflow_errors():
            self.fail_on = check_fail_on(fail_on)
            self.timeout = seconds("timeout", timeout)
            check_cancel_after(cancel_after)
            self.cancel_after = seconds("cancel_after", LONGEST if cancel_after is None else cancel_after)
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
            self.max_in_flight = int(positive("max_in_flight", max_in_flight))
            self.creates_per_minute = positive("creates_per_minute", creates_per_minute)
            if not (max_cost is None or is_template(max_cost)):
                positive("max_cost", amount_of(max_cost), 0)
            check_creates(inputs, **reference_of(self))
            check_path("output_path", output_path, FILE_REMEDY)
            if store_path is not None:
                check_path("store_path", store_path)
        self.inputs = inputs  # the very object, see QuickRouterSubmitPredictionOperator
        self.output_path, self.store_path = output_path, store_path
        # A template may be rendered to None: that is an error, and not the default.
        self._stores = store_path is not None
        self.max_cost, self._limited = max_cost, max_cost is not None
        self._target: Target | None = None
        self.on_uncertain = on_uncertain
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id
        self._check_templates(*self.template_fields)
        self._ledger: Ledger | None = None
        self._ti: Any = None

    def execute(self, context: Context) -> Any:
        """Submit what is missing, and wait: here, or in the triggerer."""
        with airflow_errors(self.log, resubmits=True):
            self.inputs = checked_list(self.inputs, **reference_of(self))
            self._check_max_cost()
            record, ledger = self._read_record(context)
            if not ledger.started_at:
                record.claim(context["ti"])
            self._begin(context, record, ledger)
            if ledger.count(State.ENDED) < ledger.total:
                deadline = self._deadline(ledger)
                asyncio.run(self._work(record, ledger, deadline))
                if self.kill_handler.killed:
                    self.on_kill()  # for what was accepted since
                    raise AirflowException("This task was killed; the next attempt resumes its batch.")
                if ledger.count(State.RUNNING):
                    self._defer(context, ledger, deadline)
            return self._finish(context, record, ledger)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Continue after the trigger's event; how each prediction ended is in the record."""
        with airflow_errors(self.log, resubmits=True):
            record, ledger = self._read_record(context)
            if error := (event or {}).get("error"):
                raise from_payload(error)
            if not ledger.count(State.RUNNING):
                return self._finish(context, record, ledger)
            if time.time() < self._deadline(ledger):
                raise UpstreamError("the triggerer's event was lost")
            return self._cancel_rest(context, record, ledger)

    def resume_after_deadline(self, context: Context) -> Any:
        """Cancel the rest on this worker, and store the results."""
        with airflow_errors(self.log, resubmits=True):
            return self._cancel_rest(context, *self._read_record(context))

    def on_kill(self) -> None:
        """Cancel what runs, within 4 s, if ``cancel_on_kill``; never raises."""
        self.kill_handler.killed = True
        ids = self._ledger.running_ids() if self._ledger else []
        if self.cancel_on_kill and ids:
            # Airflow handles an ``execution_timeout`` while the task still counts as running.
            owner = cancel.Owner(self._ti, over=isinstance(sys.exception(), AirflowTaskTimeout))
            cancel.stop(self.hook.sibling, ids, owner, self.log)

    def _check_max_cost(self) -> None:
        if not self._limited:
            return
        positive("max_cost", amount_of(self.max_cost), 0)
        if self.inputs and self._cost_limit(0) is None:
            raise InvalidInputError(
                'max_cost: needs the connection\'s extra.prices: {"owner/name": {"per_output": 0.04}}, or '
                '{"per_second": 0.0011, "max_seconds": 60}. If version is a hash, write owner/name:hash.'
            )

    def _cost_limit(self, index: int) -> Decimal | None:
        """Return the most that the prediction of an item costs; None if that is unknown."""
        price = price_of(self.hook.settings.prices, *reference_of(self).values())
        return price.limit_of(as_dict(self.inputs[index])) if price else None

    def _cancel_rest(self, context: Context, record: Record, ledger: Ledger) -> dict[str, Any]:
        """Poll what still runs after the deadline once more; cancel what is not over by then."""
        self.deferrable, self._ledger, self._ti = False, ledger, context["ti"]
        asyncio.run(self._work(record, ledger, self._deadline(ledger)))
        return self._finish(context, record, ledger)

    def _read_record(self, context: Context) -> tuple[Record, Ledger]:
        # On this thread, as it reads a connection.
        self._target = Target(self.store_path, "store_path") if self._stores else None
        record = Record(self.output_path, owner_of(context["ti"]))
        return record, record.read(len(self.inputs))

    def _begin(self, context: Context, record: Record, ledger: Ledger) -> None:
        """Store that an attempt starts, and which items change their state."""
        ti = context["ti"]
        cleared = ledger.cleared(ti.max_tries)
        again = ledger.done and cleared  # of a success a person wants everything again
        changes = () if again else ledger.resume(self._print_of, cleared=cleared)
        start = {"try": ti.try_number, "max_tries": ti.max_tries, "at": time.time()}
        entries = [start | {"cleared": cleared, "anew": again}, *changes]
        for entry, place in zip(entries, record.write(entries), strict=True):
            ledger.take(entry, place)
        self._ledger, self._ti = ledger, ti
        counts = ledger.total, ledger.count(State.ENDED), ledger.count(State.RUNNING)
        self.log.info("%d items: %d ended before, %d are running", *counts)

    def _print_of(self, index: int) -> str:
        return fingerprint(self._request(0.0, index))[:PRINT]

    def _request(self, deadline: float, index: int) -> Request:
        """Return the create request of an item, without the content of its files."""
        limit = self._server_limit(deadline)
        return create_unread(self.inputs[index], **reference_of(self), cancel_after=limit)

    def _read_request(self, deadline: float, index: int) -> Request:
        """Return the create request of an item as it is sent. Blocks: it reads its files."""
        from airflow_provider_quickrouter.hooks.input_files import InputFiles

        limit, reference = self._server_limit(deadline), reference_of(self)
        given = InputFiles(limit, masked=False).read(self.inputs[index], **reference)
        return create(given, **reference, cancel_after=limit)

    def _server_limit(self, deadline: float) -> float:
        """Return the seconds until the server itself should end a prediction that is created now."""
        return min(self.cancel_after, max(5.0, deadline - time.time()) + SERVER_MARGIN)

    async def _work(self, record: Record, ledger: Ledger, deadline: float) -> None:
        # Imported here, since no parsing of DAGs should pay for what only a run needs.
        from airflow_provider_quickrouter.batch.journal import Journal
        from airflow_provider_quickrouter.batch.submitting import Submitting
        from airflow_provider_quickrouter.batch.waits import Waits
        from airflow_provider_quickrouter.polling.poller import shared_poller

        journal = Journal(record, ledger)
        try:
            async with shared_poller(self.quickrouter_conn_id) as poller:
                hook = (await poller.connected()).sibling()
                self.hook.settings = hook.settings  # a kill has no time to look them up
                waits = Waits(journal, poller, deadline, self.log, self._target)
                submitting = Submitting(
                    waits=waits,
                    hook=hook,
                    log=self.log,
                    request=partial(self._request, deadline),
                    read_request=partial(self._read_request, deadline),
                    creates_per_minute=self.creates_per_minute,
                    max_in_flight=self.max_in_flight,
                    wanted=self.kill_handler.is_alive,
                    resubmit=self.on_uncertain == "resubmit",
                    cost_limit=lambda index: self._cost_limit(index) or Decimal(0),
                    max_cost=Decimal(str(amount_of(self.max_cost) or 0) if self._limited else "inf"),
                )
                async with waits.progress_logged():
                    await submitting.run(then_wait=not self.deferrable)
        finally:
            await journal.close()

    def _defer(self, context: Context, ledger: Ledger, deadline: float) -> None:
        """Let the triggerer wait for the rest."""
        from airflow_provider_quickrouter.triggers.batch import QuickRouterBatchTrigger

        self.log.info(
            "All items are submitted; %d are running. Deferring, which needs a running triggerer",
            ledger.count(State.RUNNING),
        )
        trigger = QuickRouterBatchTrigger(
            output_path=self.output_path,
            owner=owner_of(context["ti"]),
            total=ledger.total,
            deadline=deadline,
            quickrouter_conn_id=self.quickrouter_conn_id,
            cancel_on_kill=self.cancel_on_kill,
            store_path=self.store_path,
        )
        limit = airflows_limit(deadline, time.time())
        self.defer(trigger=trigger, method_name=self.execute_complete.__name__, timeout=limit)

    def _finish(self, context: Context, record: Record, ledger: Ledger) -> dict[str, Any]:
        """Store results and summary; then fail if too many did not succeed."""
        stopped = from_payload(ledger.stopped) if ledger.stopped else None
        files: list[dict[str, Any]] = []
        record.store_results(ledger.results(stopped), lambda result: add_files(files, result))
        tally = ledger.tally(stopped)
        summary = tally.summary(self.output_path, time.time() - ledger.started_at)
        summary["cost"] = float(ledger.cost)
        self.log.info("Results are stored: %s", summary)
        if self.do_xcom_push:
            # Airflow pushes no return value of a task that fails.
            context["ti"].xcom_push(key=RETURN_KEY, value=summary)
            if self._stores:
                context["ti"].xcom_push(key=FILES_KEY, value=files)
        if error := tally.failure(self.fail_on, self.output_path, stopped):
            raise error
        if self._stores:
            add_to_asset_events(context, {"output_path": self.output_path, "files": files})
        record.write([{"done": True}])
        record.close()
        return summary

    def _deadline(self, ledger: Ledger) -> float:
        limits = Limits(self.timeout, self.execution_timeout)
        return limits.deadline(ledger.started_at, time.time())
