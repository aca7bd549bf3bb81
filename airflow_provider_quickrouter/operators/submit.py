"""The operator that submits one prediction and leaves the waiting to others."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator

from airflow_provider_quickrouter.api.attachments import is_template
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.outcome import Outcome
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import create
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.hooks.input_files import read_files
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.submission.store import RecordStore
from airflow_provider_quickrouter.submission.submit import Submission
from airflow_provider_quickrouter.tasks.arguments import (
    check_choice,
    check_create,
)
from airflow_provider_quickrouter.tasks.base import PredictionTask
from airflow_provider_quickrouter.tasks.reporting import log_and_continue

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class QuickRouterSubmitPredictionOperator(PredictionTask, BaseOperator):
    """Submit one prediction and return its id at once.

    XCom: ``return_value`` is the id, ``prediction`` the manifest. The prediction costs money
    once it is accepted.

    A retry, on Airflow 3.3 and later, takes up the prediction of the try before if it runs or
    has succeeded, and submits anew if it ended badly, is gone, or if the input has changed. So
    does a person's clear, except of a task that had succeeded: that submits anew. Before 3.3 a
    retry submits anew; it happens only after errors that accepted nothing, or a lost worker.

    :param input: dict, or a model of ``api.models``; may hold templates at any depth. For a
        known model it is checked, as far as it is constant, when the DAG is parsed. A file may
        be an ``ObjectStoragePath`` or its text, see ``api.attachments``: each try reads it, of
        256 kB as a data URI at most, and another content is another input.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name.
    :param cancel_after: seconds or timedelta, at least 5 s, after which the server itself ends
        the prediction, as a net against forgotten ones. None sets no limit.
    :param on_uncertain: after a create whose answer was lost, so that the prediction may run and
        be billed: ``fail`` without a retry, so that a person decides, or let a retry ``resubmit``.
    :param durable: remember the prediction in ``task_state_store`` (Airflow 3.3 and later).
    :param cancel_on_kill: cancel the prediction when a person marks the running task; not when
        another try takes it up.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = ("input", "version", "model")
    template_fields_renderers: ClassVar[dict[str, str]] = {"input": "json"}
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        input: Any,
        version: str | None = None,
        model: str | None = None,
        cancel_after: float | timedelta | None = None,
        on_uncertain: Literal["fail", "resubmit"] = "fail",
        durable: bool = True,
        cancel_on_kill: bool = True,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():  # Airflow's at once: a mapped task comes here on the worker
            check_choice("on_uncertain", on_uncertain, "fail", "resubmit")
            given = input if is_template(input) else as_dict(input)
            check_create(given, version, model, cancel_after)
        # The very object: Airflow recognizes by identity what came from XCom and must not be
        # rendered. Rendered, a prompt "{{ conn.x.password }}" from a table would send the key.
        self.input = input
        self.version = version
        self.model = model
        self.cancel_after: Any = cancel_after
        self.on_uncertain = on_uncertain
        self.durable = durable
        self.cancel_on_kill = cancel_on_kill
        self.quickrouter_conn_id = quickrouter_conn_id

    def execute(self, context: Context) -> Any:
        """Create the prediction, or resume that of an earlier attempt; return its id."""
        submission = self._submission(context)
        try:
            with airflow_errors(resubmits=True):
                self._obtain(context, submission)
                submission.store.mark_done()
                return submission.prediction_id
        except AirflowTaskTimeout as late:
            with airflow_errors(resubmits=True):
                submission.check_paid(late)
        return submission.prediction_id

    def _submission(self, context: Context) -> Submission:
        return Submission(
            hook=self.hook,
            store=self._store_of(context),
            kill_handler=self.kill_handler,
            ti=context["ti"],
            log=self.log,
            resubmit=self.on_uncertain == "resubmit",
        )

    def _store_of(self, context: Context) -> RecordStore:
        return RecordStore(context, self.log, durable=self.durable)

    def _obtain(self, context: Context, submission: Submission) -> tuple[Prediction, float]:
        """Return the task's prediction and since when its time counts; push its manifest."""
        given = read_files(self.input, version=self.version, model=self.model)
        request = create(
            given, version=self.version, model=self.model, cancel_after=self._server_limit()
        )

        def is_stored(prediction: Prediction) -> bool:
            outcome = Outcome.of(prediction, time.time())
            return outcome is not None and bool(self.stored_by_earlier_attempt(outcome))

        prediction, since = submission.obtain(
            request,
            cancel_other=self.cancel_on_kill,
            limit=self._own_limit(),
            is_stored=is_stored,
        )
        missing = f"The manifest of prediction {prediction.id} was not stored"
        with log_and_continue(self.log, missing):
            self.push_manifest(context, prediction)
        return prediction, since

    def _server_limit(self) -> Any:
        """Return what ``Cancel-After`` is sent."""
        return self.cancel_after

    def _own_limit(self) -> float:
        """Return the seconds that the task gives its prediction: it does not wait."""
        return math.inf
