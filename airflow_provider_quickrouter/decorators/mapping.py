"""One call in a DAG, two tasks: a function that lists inputs, and a prediction of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper, wraps
from typing import Any

from airflow.providers.common.compat.sdk import get_unique_task_id, task

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.inputs import as_dict
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors

_SHARED = ("dag", "task_group")
"""Arguments that say where both tasks belong."""


class MappedFunction:
    """A function that returns a list of inputs; calling it in a DAG maps the predictions over it.

    :param operator: its class makes the predictions.
    :param arguments: of the mapped task.
    """

    def __init__(
        self, function: Callable[..., Any], operator: Any, arguments: Mapping[str, Any]
    ) -> None:
        self.function, self._operator, self._arguments = function, operator, dict(arguments)
        update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add both tasks to the DAG; return what the mapped one returns, as an ``XComArg``."""
        own = dict(self._arguments)
        shared = {name: own[name] for name in _SHARED if name in own}
        wanted = own.pop("task_id", self.function.__name__)
        task_id = get_unique_task_id(wanted, own.get("dag"), own.get("task_group"))
        listed = task(task_id=f"{task_id}_inputs", multiple_outputs=False, **shared)
        inputs = listed(_plain(self.function))(*args, **kwargs)
        return self._operator.partial(task_id=task_id, **own).expand(input=inputs).output

    def override(self, **arguments: Any) -> MappedFunction:
        """Return the same with other arguments of the mapped task."""
        return type(self)(self.function, self._operator, {**self._arguments, **arguments})

    def partial(self, **_: Any) -> Any:
        """Refuse: there is nothing to expand."""
        raise InvalidInputError(
            "mapped: the list that the function returns is mapped over already; call it, or leave "
            "mapped=True out and expand over the function's arguments."
        )

    expand = expand_kwargs = partial


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
