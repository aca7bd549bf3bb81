"""``@task.quickrouter``: a function returns the input, and its task makes the prediction."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import (
    DecoratedOperator,
    context_merge,
    get_unique_task_id,
    task,
    task_decorator_factory,
)

from airflow_provider_quickrouter.api.attachments import location_of
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.api.storable import storable
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.tasks.arguments import check_alternatives, check_names

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator
    from airflow.sdk.bases.decorator import determine_kwargs
else:  # common.compat names it only since 1.14.1
    try:
        from airflow.sdk.bases.decorator import determine_kwargs
    except ImportError:  # Airflow before 3.2
        from airflow.utils.operator_helpers import determine_kwargs


class _TwoTasks:
    """Takes the place of the operator's class in Airflow's decorator: makes two tasks of a function.

    So all that Airflow offers for decorated functions works: ``override``, ``run_if``, ``skip_if``.

    :param operator: its class makes the predictions.
    """

    def __init__(self, operator: Any) -> None:
        self._operator = operator

    def __call__(
        self, *, task_id: str, python_callable: Any, op_args: Any, op_kwargs: Any, **mapped: Any
    ) -> Any:
        """Add the task of the function and the task that is mapped over its list; return the latter."""
        names = ("dag", "task_group", "multiple_outputs", "pre_execute")
        first: Any = {name: mapped[name] for name in names if name in mapped}
        del mapped["multiple_outputs"]
        # Of run_if and skip_if, which decide before the function is called, and once: a mapped task
        # would evaluate the condition again after each deferral.
        mapped.pop("pre_execute", None)
        # The decorator could not set it later, as it does for other tasks.
        mapped.setdefault("doc_md", python_callable.__doc__)
        task_id = get_unique_task_id(task_id, mapped.get("dag"), mapped.get("task_group"))
        inputs = task(task_id=f"{task_id}_inputs", **first)(_plain(python_callable))(*op_args, **op_kwargs)
        return self._operator.partial(task_id=task_id, **mapped).expand(input=inputs)

    @property
    def custom_operator_name(self) -> str:
        """Refuse ``expand`` and ``expand_kwargs``, which need this name."""
        raise InvalidInputError(
            "mapped: the list that the function returns is mapped over already; call it, or leave "
            "mapped=True out and expand over the function's arguments."
        )


def _plain(function: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    """Let a function return plain dicts, which XCom can hold."""

    @wraps(function)
    def inputs(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        returned = function(*args, **kwargs)
        with airflow_errors():
            if isinstance(returned, str | bytes | Mapping) or not hasattr(returned, "__iter__"):
                raise InvalidInputError(
                    f"inputs: with mapped=True the function returns a list of inputs, not "
                    f"{type(returned).__name__}."
                )
            return [as_dict(given) for given in returned]

    return inputs


# Characters of an input string that are stored for Airflow's page while a task is deferred.
LONGEST_SHOWN = 1000


class Later:
    """Replaces what the function returns until it is called; for Airflow it is a template."""

    def resolve(self, context: Any) -> Later:
        """Return itself: there is nothing to render."""
        return self

    def __str__(self) -> str:
        # Else a stored DAG would hold the address of this object, another at each parse.
        return "DYNAMIC (set during execution)"


class ByFunction(DecoratedOperator):
    """Call the function for the input, then do what the operator does.

    :cvar returned: the argument of the operator that the function returns.
    """

    returned = "input"
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **QuickRouterRunPredictionOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.quickrouter"
    overwrite_rtif_after_execution = True
    _called = False

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"op_args": op_args, "op_kwargs": op_kwargs, self.returned: Later()}
        super().__init__(python_callable=python_callable, **kwargs)
        self._check_templates("op_args", "op_kwargs")  # type: ignore[attr-defined]

    def _obtain(self, context: Context, submission: Any) -> Any:
        """Call the function, once in each process, and make a prediction of what it returns."""
        if not self._called:
            self.input = _one_input(self._call(context))
            self._called = True
        return super()._obtain(context, submission)  # type: ignore[misc]

    def _call(self, context: Context) -> Any:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        given = self.python_callable(*self.op_args, **kwargs)
        if inspect.iscoroutine(given):
            given.close()
            raise InvalidInputError(f"{self.returned}: the function is async; write it with def alone.")
        return given


class _SubmitDecoratedOperator(ByFunction, QuickRouterSubmitPredictionOperator):
    """``@task.quickrouter(wait=False)``."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *QuickRouterSubmitPredictionOperator.template_fields,
    )


class _RunDecoratedOperator(ByFunction, QuickRouterRunPredictionOperator):
    """``@task.quickrouter``. After a deferral the function is called again only for another model."""

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *QuickRouterRunPredictionOperator.template_fields,
    )

    def defer(self, *, kwargs: dict[str, Any] | None = None, **trigger: Any) -> NoReturn:
        """Defer, and store what Airflow's page shows as the input for the process after it."""
        from airflow.providers.common.compat.sdk import redact

        stored = {**(kwargs or {}), "given": storable(redact(_shortened(self.input)))}
        super().defer(kwargs=stored, **trigger)

    def execute_complete(
        self, context: Context, event: Any = None, model_index: int = 0, given: Any = None
    ) -> list[Any]:
        """Resume after the trigger's event.

        :param given: what the function had returned, for Airflow's page only.
        """
        self.input = given
        return super().execute_complete(context, event, model_index)


def quickrouter_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    wait: bool | int = True,
    mapped: bool = False,
    **kwargs: Any,
) -> TaskDecorator:
    """Make a task of a function that returns the input of a prediction.

    The function returns a dict, or a model of ``api.models``. What it returns is sent as it is:
    templates in it are not rendered. A retry calls it again, and resumes the prediction of the
    previous attempt if it returns the same (see ``QuickRouterSubmitPredictionOperator``); else
    that one is canceled and a new one created.

    :param wait: wait for the end and return the output, like
        ``QuickRouterRunPredictionOperator``; or (False) return the id at once, like
        ``QuickRouterSubmitPredictionOperator``. A number is that operator's ``wait``.
    :param mapped: the function returns a list of inputs. It becomes a task of its own, named
        ``<task_id>_inputs``, and the prediction a task that is mapped over the list.
    :param kwargs: arguments of that operator, ``version``, ``model`` or ``deployment`` among them,
        and of every task; with ``mapped`` they are those of the mapped task,
        except ``pre_execute``.
    :raises InvalidInputError: an argument is wrong; when the DAG is parsed.
    """
    if not isinstance(wait, bool):
        kwargs["wait"] = wait
    check_decorated(kwargs, _RunDecoratedOperator)
    made: Any = _RunDecoratedOperator if wait else _SubmitDecoratedOperator
    if mapped:
        made = _TwoTasks(QuickRouterRunPredictionOperator if wait else QuickRouterSubmitPredictionOperator)
    # Airflow infers "multiple outputs" from a function's "-> dict", but this dict is the input.
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=False,
        decorated_operator_class=made,
        **kwargs,
    )


def check_decorated(arguments: Mapping[str, Any], operator: type[ByFunction]) -> None:
    """Check the arguments of a decorator.

    :param operator: its class makes the task.
    :raises InvalidInputError: one of them is wrong; names it.
    """
    with airflow_errors():
        if "multiple_outputs" in arguments:
            raise InvalidInputError(
                "multiple_outputs: the function returns the input, not the output; leave it out."
            )
        if operator.returned in arguments:
            raise InvalidInputError(f"{operator.returned}: the function returns it; leave it out.")
        check_names(arguments, operator)
        reference: Any = {name: arguments.get(name) for name in ("version", "model", "deployment")}
        if any(reference.values()):  # else it may come from default_args
            check_alternatives(Later(), **reference)


def _one_input(given: Any) -> dict[str, Any]:
    """Return what the function returned as a plain dict; raise an error with the remedy."""
    if isinstance(given, list | tuple) or inspect.isgenerator(given):
        raise InvalidInputError(
            "input: the function returned several; @task.quickrouter(mapped=True) makes a prediction of each."
        )
    return as_dict(given)


def _shortened(value: Any) -> Any:
    """Cut long strings such as data URIs, since Airflow's database stores this; show paths."""
    if (location := location_of(value)) is not None:
        return location
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"{value[:LONGEST_SHOWN]}..."
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(item) for item in value]
    return value
