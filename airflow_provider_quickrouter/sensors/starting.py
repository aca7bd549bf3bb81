"""What a sensor can do without a worker, and what Airflow is told so that it begins there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version

from airflow_provider_quickrouter.api.attachments import is_template
from airflow_provider_quickrouter.polling.limits import LONGEST, Limits, airflows_limit

if TYPE_CHECKING:
    from airflow.triggers.base import StartTriggerArgs

AIRFLOW_STARTS = tuple(int(number) for number in airflow_version.split(".")[:2]) >= (3, 3)
"""Whether this Airflow renders a trigger's arguments and can start a task in the triggerer."""


def may_end(task: Any, base: type) -> bool:
    """Whether all that is to happen after a success of this task happens without a worker.

    The triggerer stores no files. When it ends a task, Airflow takes no outlets, calls nobody
    back, and does not count what is to be mapped over.

    :param base: the class whose methods are known to have nothing more to do.
    """
    wanted = (
        task.outlets,
        task.output_path,
        task.on_success_callback,
        getattr(task, "_post_execute_hook", None),
        getattr(task, "returns_dag_result", False),
        _overrides(task, base, "post_execute", "execute_complete"),
        _is_mapped_over(task),
        _has_listeners(),
    )
    return not any(wanted)


def may_start(task: Any, base: type) -> bool:
    """Whether this task can begin without a worker.

    On Airflow 3.3, not mapped, with nothing to do before and nobody to be told of it.
    """
    if not (AIRFLOW_STARTS and task.start_from_trigger and task.get_dag()):
        return False
    wanted = (
        task.on_execute_callback,
        getattr(task, "_pre_execute_hook", None),
        _overrides(task, base, "pre_execute", "execute"),
        task.get_closest_mapped_task_group(),
        _has_listeners(),
    )
    return not any(wanted)


def start_args(
    task: Any, base: type, method: str, arguments: dict[str, Any]
) -> StartTriggerArgs | None:
    """Say how the scheduler defers this task; None: it goes to a worker, and defers there.

    :param method: takes the trigger's event, on a worker.
    :param arguments: of the trigger, beside id and limits.
    """
    if not may_start(task, base):
        return None
    # Here, as Airflow's triggers take a time that no importing of a sensor should pay.
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_quickrouter.triggers.starting import QuickRouterStartTrigger

    found = _reference(task)
    if found is None:
        return None
    limits = Limits(min(task.timeout, LONGEST), task.execution_timeout)
    net = airflows_limit(limits.own, 0.0)
    airflows = min(net, task.execution_timeout or net).total_seconds()
    durations = {"timeout": limits.own, "airflows_timeout": airflows, "confirmed": False}
    path = f"{QuickRouterStartTrigger.__module__}.{QuickRouterStartTrigger.__qualname__}"
    return StartTriggerArgs(path, method, found | arguments | durations, timeout=net)


class StartArgs:
    """``start_trigger_args``, made when Airflow writes the DAG into the database.

    Not in ``__init__``: callbacks, outlets and what is mapped over may come later. And not for
    the class: Airflow would take that for the arguments of every mapped task.
    """

    def __get__(self, task: Any, owner: Any = None) -> StartTriggerArgs | None:
        """Return them for a task, None for the class."""
        return None if task is None else task.make_start_args()


def _reference(task: Any) -> dict[str, Any] | None:
    """Return the arguments of the trigger that lead to the id; None: only a worker finds it.

    Airflow renders templates on a worker, with the DAG's own macros and all that they may speak of.
    """
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    given = task.prediction_id
    if isinstance(given, str):
        return None if is_template(given) else {"prediction_id": given}
    if not isinstance(given, PlainXComArg):
        return None
    upstream = task.dag.task_dict.get(given.operator.task_id)
    # A mapped task leaves one XCom for each map index.
    if upstream is None or upstream.is_mapped or upstream.get_closest_mapped_task_group():
        return None
    return {"from_task": given.operator.task_id, "from_key": given.key}


def _overrides(task: Any, base: type, *names: str) -> bool:
    methods = ((getattr(task, name), getattr(base, name)) for name in names)
    return any(getattr(method, "__func__", None) is not known for method, known in methods)


def _has_listeners() -> bool:
    """Whether a plugin, OpenLineage's say, wants to hear of tasks: only workers tell it."""
    # Here, as it imports all plugins; whoever asks for the arguments of a start has done so.
    from airflow.providers.common.compat.sdk import get_listener_manager

    return bool(get_listener_manager().has_listeners)


def _is_mapped_over(task: Any) -> bool:
    return bool(task.get_dag()) and next(task.iter_mapped_dependants(), None) is not None
