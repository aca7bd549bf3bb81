"""The operator that submits a prediction and is done: waiting is the sensor's job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator

from airflow_provider_quickrouter.api.inputs import as_dict, check_input
from airflow_provider_quickrouter.api.protocol import check_cancel_after, check_reference
from airflow_provider_quickrouter.hooks.exceptions import airflow_errors
from airflow_provider_quickrouter.links import QuickRouterPredictionLink, publish

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook


class QuickRouterSubmitPredictionOperator(BaseOperator):
    """Submit one prediction and return its id at once.

    XCom: ``return_value`` is the id, ``prediction`` the manifest. The prediction costs money
    once it is accepted. If Airflow retries the task, it submits anew; a create whose answer
    was lost, also by ``execution_timeout``, fails without a retry, since it may have been accepted.

    :param input: dict, or a model of ``api.models``; may hold templates at any depth. For a
        known model it is checked, as far as it is constant, when the DAG is parsed.
    :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
    :param model: ``owner/name``, for models that are called by name.
    :param cancel_after: seconds or timedelta, at least 5 s, after which the server itself ends
        the prediction, as a net against forgotten ones. None sets no limit.
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
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():
            self.input = input if is_template(input) else as_dict(input)
        self.version = version
        self.model = model
        self.cancel_after = cancel_after
        self.quickrouter_conn_id = quickrouter_conn_id
        self._check_constants()

    @cached_property
    def hook(self) -> QuickRouterHook:
        """The hook of this task's connection."""
        # Here, since its HTTP clients take half a second that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

        return QuickRouterHook(self.quickrouter_conn_id)

    def execute(self, context: Context) -> str:
        """Create the prediction; return its id."""
        with airflow_errors():
            prediction = self.hook.create_prediction(
                self.input, version=self.version, model=self.model, cancel_after=self.cancel_after
            )
        self.log.info("Submitted prediction %s of %s", prediction.id, self.version or self.model)
        try:
            publish(context, prediction.manifest(self.hook.prediction_url(prediction.id)))
        except (Exception, AirflowTaskTimeout):
            # It is paid for: nothing may lead to a retry now, which would pay again.
            self.log.exception("The manifest of prediction %s was not stored", prediction.id)
        return prediction.id

    def _check_constants(self) -> None:
        """Refuse what is already known to be wrong; templates are checked when the task runs.

        The error is Airflow's at once: a mapped task comes here on the worker.
        """
        with airflow_errors():
            check_cancel_after(self.cancel_after)
            if is_template(self.version) or is_template(self.model):
                return
            reference = check_reference(version=self.version, model=self.model)
            if isinstance(self.input, dict):
                templates = {name for name, value in self.input.items() if is_template(value)}
                check_input(self.input, reference, ignore=templates)


def is_template(value: Any) -> bool:
    """Whether Airflow will put something else in this place, or in a part of it."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(map(is_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(is_template, value))
    return hasattr(value, "resolve")
