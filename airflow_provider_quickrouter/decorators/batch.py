"""``@task.quickrouter_batch``: a function returns the inputs, and its task makes a prediction of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import DecoratedOperator, task_decorator_factory

from airflow_provider_quickrouter.decorators.quickrouter import ByFunction, check_decorated
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.operators.batch import QuickRouterBatchPredictionOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


class _BatchDecoratedOperator(ByFunction, QuickRouterBatchPredictionOperator):
    """``@task.quickrouter_batch``."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *QuickRouterBatchPredictionOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **QuickRouterBatchPredictionOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.quickrouter_batch"
    overwrite_rtif_after_execution = False  # there may be thousands of inputs
    returned = "inputs"

    def execute(self, context: Context) -> Any:
        """Call the function, and make a prediction of each input that it returns."""
        with airflow_errors(self.log):
            self.inputs = self._call(context)
        return super().execute(context)

    def defer(self, *, kwargs: dict[str, Any] | None = None, **trigger: Any) -> NoReturn:
        """Defer, and store how many inputs there are for the process after it."""
        super().defer(kwargs={**(kwargs or {}), "total": len(self.inputs)}, **trigger)

    def execute_complete(self, context: Context, event: Any = None, total: int = 0) -> Any:
        """Resume after the trigger's event; all that matters of the inputs is in the record."""
        self.inputs = [{}] * total
        return super().execute_complete(context, event)

    def resume_after_deadline(self, context: Context) -> Any:
        """Call the function again, since Airflow has stored nothing for a deferral that timed out."""
        with airflow_errors(self.log):
            self.inputs = list(self._call(context))
        return super().resume_after_deadline(context)


def quickrouter_batch_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Make a batch of a function that returns the inputs, a list of dicts or of models of ``api.models``.

    What it returns is sent as it is: templates in it are not rendered. A retry calls it again, and
    creates what is missing, and what has another input now.

    :param kwargs: arguments of ``QuickRouterBatchPredictionOperator`` except ``inputs``, and of every
        task.
    :raises InvalidInputError: an argument is wrong; when the DAG is parsed.
    """
    check_decorated(kwargs, _BatchDecoratedOperator)
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,
        decorated_operator_class=_BatchDecoratedOperator,
        **kwargs,
    )
