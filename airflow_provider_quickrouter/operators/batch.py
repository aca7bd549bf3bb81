"""The operator that makes thousands of predictions in one task."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowTaskTimeout,
    BaseOperator,
    conf,
)

from airflow_provider_quickrouter.api.errors import UpstreamError, from_payload
from airflow_provider_quickrouter.api.protocol import Request, create
from airflow_provider_quickrouter.batch.journal import Record, owner_of
from airflow_provider_quickrouter.batch.ledger import PRINT, FailOn, Lines, State, check_fail_on
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.polling.limits import SERVER_MARGIN, Limits, airflows_limit
from airflow_provider_quickrouter.submission import cancel
from airflow_provider_quickrouter.submission.record import fingerprint
from airflow_provider_quickrouter.tasks.arguments import (
    check_choice,
    check_creates,
    checked_list,
    positive,
    seconds,
)
from airflow_provider_quickrouter.tasks.base import PredictionTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

DEFAULT_TIMEOUT = 86_400.0
"""Seconds: a day is enough for 800,000 creates at Replicate's limit."""

CREATES_PER_MINUTE = 600.0
"""Replicate's limit of an account."""

MAX_IN_FLIGHT = 2000
"""At Replicate's limit more are under way only if each takes over 200 s."""


class QuickRouterBatchPredictionOperator(PredictionTask, BaseOperator):
    """Make a prediction of each input, and store all results as one file of JSON lines.

    It is submitted on the worker, at the pace that the limits allow, and then waited for in one
    deferral. The results have one line an input, in order, however it ended: see ``batch.ledger``.
    XCom: ``return_value`` is a summary: ``{"total", "succeeded", "outcomes": {word: number},
    "output_path", "seconds"}``. The results are stored before the task fails.

    A record of what was submitted lies next to the results, in ``<output_path>.record``, apart
    for each run of the task. A retry goes on from it, on every version of Airflow: it submits
    what is missing, was aborted or failed for a passing reason, and pays for nothing twice. A
    create whose answer was lost, with its worker for instance, is looked for in the API's list
    of predictions. A person's clear also makes anew what failed for a lasting reason; of a task
    that had succeeded it makes everything anew. What has another input than before is made anew.

    :param inputs: list of dicts or models of ``api.models``; may hold templates, or be an XCom.
        Each is checked before any is paid for; files are https URLs or data: URIs.
    :param output_path: of the results, on any storage of ``ObjectStoragePath``. Give each run its
        own, as with ``{{ ds }}``: later results replace earlier ones.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name.
    :param max_in_flight: how many may be under way at once; the worker waits for room.
    :param creates_per_minute: at most; a 429 lowers it for a while.
    :param fail_on: when the task fails: ``any`` or ``all`` have not succeeded, or more than this
        share (0.05: a twentieth). It is retried if that may end otherwise.
    :param timeout: seconds or timedelta for the batch, from the first try on; the task's
        ``execution_timeout`` counts if it is shorter. What still runs then is canceled; so the
        server does itself (``Cancel-After``) a minute later.
    :param on_uncertain: what is done about a create of which the list does not tell whether it
        was accepted: the line ends as ``uncertain`` (``fail``), or it is submitted again.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param cancel_on_kill: cancel what runs when a person marks the task (while it is deferred:
        Airflow 3.3 and later); not when another try goes on with it.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = ("inputs", "output_path", "version", "model")
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json"}
    ui_color = "#ede9fe"

    def __init__(  # noqa: PLR0913  # each is given by its name, and nearly always only a few
        self,
        *,
        inputs: Any,
        output_path: str,
        version: str | None = None,
        model: str | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        creates_per_minute: float = CREATES_PER_MINUTE,
        fail_on: FailOn = "any",
        timeout: float | timedelta = DEFAULT_TIMEOUT,
        on_uncertain: Literal["fail", "resubmit"] = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = True,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():
            self.fail_on = check_fail_on(fail_on)
            self.timeout = seconds("timeout", timeout)
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
            self.max_in_flight = int(positive("max_in_flight", max_in_flight))
            self.creates_per_minute = positive("creates_per_minute", creates_per_minute)
            check_creates(inputs, version, model)
        self.inputs = inputs  # the very object, see QuickRouterSubmitPredictionOperator
        self.output_path = output_path
        self.version = version
        self.model = model
        self.on_uncertain = on_uncertain
        self.deferrable = deferrable
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id
        self._batch: Lines | None = None
        self._ti: Any = None

    def execute(self, context: Context) -> Any:
        """Submit what is missing, and wait: here, or in the triggerer."""
        with airflow_errors(resubmits=True):
            self.inputs = checked_list(self.inputs, self.version, self.model)
            record, lines = self._opened(context)
            self._begin(context, record, lines)
            if any(map(lines.count, (State.MISSING, State.SENDING, State.RUNNING))):
                began = time.time()
                deadline = self._limits().deadline(lines.began_at, began)
                asyncio.run(self._work(record, lines, deadline))
                self._check_wanted()
                if lines.count(State.RUNNING):
                    self._hand_on(context, lines, deadline)
            return self._store(context, record, lines)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the trigger's event; how each prediction has ended is in the record."""
        with airflow_errors(resubmits=True):
            record, lines = self._opened(context)
            if error := (event or {}).get("error"):
                raise from_payload(error)
            if not lines.count(State.RUNNING):
                return self._store(context, record, lines)
            if time.time() < self._limits().deadline(lines.began_at, time.time()):
                raise UpstreamError("the triggerer's event was lost")
            return self._cancel_rest(context, record, lines)

    def resume_after_deadline(self, context: Context) -> Any:
        """Cancel the rest on this worker, and store the results."""
        with airflow_errors(resubmits=True):
            return self._cancel_rest(context, *self._opened(context))

    def on_kill(self) -> None:
        """Cancel what runs, within 4 s, if ``cancel_on_kill``; never raises."""
        self.kill_handler.killed = True
        if not (self.cancel_on_kill and self._batch):
            return
        ids = [str(self._batch.ids[index]) for index in self._batch.those(State.RUNNING)]
        owner = cancel.Owner(self._ti, over=isinstance(sys.exception(), AirflowTaskTimeout))
        if ids:
            cancel.stop(self.hook.sibling, ids, owner, self.log)

    def _cancel_rest(self, context: Context, record: Record, lines: Lines) -> dict[str, Any]:
        """Poll what still runs after the deadline once more; cancel what is not over by now."""
        self.deferrable, self._batch, self._ti = False, lines, context["ti"]
        asyncio.run(self._work(record, lines, self._limits().deadline(lines.began_at, time.time())))
        return self._store(context, record, lines)

    def _check_wanted(self) -> None:
        if self.kill_handler.killed:
            self.on_kill()  # for what was accepted since
            raise AirflowException("This task was killed; a later try goes on with its batch.")

    def _opened(self, context: Context) -> tuple[Record, Lines]:
        record = Record(self.output_path, owner_of(context["ti"]))
        return record, record.read(len(self.inputs))

    def _begin(self, context: Context, record: Record, lines: Lines) -> None:
        """Store that a try begins, and what of the tries before goes on otherwise."""
        ti = context["ti"]
        cleared = lines.cleared(ti.max_tries)
        begin = {"try": ti.try_number, "max_tries": ti.max_tries, "at": time.time()}
        anew = lines.done and cleared
        changes = () if anew else lines.resume(self._print_of, cleared=cleared)
        entries = [begin | {"cleared": cleared, "anew": anew}, *changes]
        for entry, place in zip(entries, record.write(entries), strict=True):
            lines.take(entry, place)
        self._batch, self._ti = lines, ti
        counts = lines.total, lines.count(State.ENDED), lines.count(State.RUNNING)
        self.log.info("%d inputs: %d have ended before, %d are under way", *counts)

    def _print_of(self, index: int) -> str:
        return fingerprint(self._request(0.0, index))[:PRINT]

    def _request(self, deadline: float, index: int) -> Request:
        """Make the create of a line, with the server's own limit behind the batch's."""
        limit = max(5.0, deadline - time.time()) + SERVER_MARGIN
        return create(
            self.inputs[index], version=self.version, model=self.model, cancel_after=limit
        )

    async def _work(self, record: Record, lines: Lines, deadline: float) -> None:
        # Here, as all that runs a batch takes a time that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.batch.journal import Journal
        from airflow_provider_quickrouter.batch.runner import Gathering, Plan, Submitting
        from airflow_provider_quickrouter.polling.poller import shared_poller

        plan = Plan(
            request=partial(self._request, deadline),
            reference=str(self.version or self.model),
            creates_per_minute=self.creates_per_minute,
            max_in_flight=self.max_in_flight,
            wanted=self.kill_handler.is_alive,
            resubmit=self.on_uncertain == "resubmit",
        )
        journal = Journal(record, lines)
        try:
            async with (
                shared_poller(self.quickrouter_conn_id) as poller,
                (await poller.connected()).sibling() as hook,
            ):
                self.hook.settings = hook.settings  # a kill has no time to look them up
                gathering = Gathering(journal, poller, deadline, self.log)
                async with gathering.telling():
                    submitting = Submitting(plan, gathering, hook)
                    await submitting.run(then_wait=not self.deferrable)
        finally:
            await journal.close()

    def _hand_on(self, context: Context, lines: Lines, deadline: float) -> None:
        """Let the triggerer wait for the rest."""
        from airflow_provider_quickrouter.triggers.batch import QuickRouterBatchTrigger

        self.log.info("All is submitted; %d are under way", lines.count(State.RUNNING))
        trigger = QuickRouterBatchTrigger(
            output_path=self.output_path,
            owner=owner_of(context["ti"]),
            total=lines.total,
            deadline=deadline,
            quickrouter_conn_id=self.quickrouter_conn_id,
            cancel_on_kill=self.cancel_on_kill,
        )
        limit = airflows_limit(deadline, time.time())
        method = self.execute_complete.__name__
        self.defer(trigger=trigger, method_name=method, timeout=limit)

    def _store(self, context: Context, record: Record, lines: Lines) -> dict[str, Any]:
        """Store results and summary; then fail if too many did not succeed."""
        stopped = from_payload(lines.stopped) if lines.stopped else None
        record.store_results(lines.results(stopped))
        tally = lines.tally(stopped)
        summary = tally.summary(self.output_path, time.time() - lines.began_at)
        self.log.info("Results are stored: %s", summary)
        if self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=summary)
        if error := tally.verdict(self.fail_on, self.output_path, stopped):
            raise error
        record.write([{"done": True}])
        record.close()
        return summary

    def _limits(self) -> Limits:
        return Limits(self.timeout, self.execution_timeout)
