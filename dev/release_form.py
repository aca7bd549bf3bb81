"""What this release leaves in Airflow's database, where a later release finds it.

A task that waits while the package is upgraded has its trigger's arguments there, the name of the
method that goes on after the event, the event itself, and what its next try needs to know. Here
all that is made with the code that is installed, so that it can be kept for ever:
``python -m dev.release_fixture``.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator
from typing import Any

from airflow.models.crypto import get_fernet
from airflow.models.trigger import Trigger
from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger

from airflow_provider_quickrouter import __version__, get_provider_info
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

Form = dict[str, Any]

ARGUMENTS: dict[str, Any] = {
    "airflows_timeout": 7320.0,
    "cancel_on": ["timeout", "mark", "clear"],
    "cancel_on_kill": False,
    "confirmed": False,
    "deadline": 1_790_007_200.0,
    "end_from_trigger": True,
    "from_key": "id",
    "from_task": "submit",
    "model": "stability-ai/sdxl",
    "output_path": "s3://bucket/results.jsonl",
    "owner": "0123456789abcdef",
    "poll_interval": 3.0,
    "prediction_id": "gm3qorzdhgbfurvjtvhg6dckhu",
    "push_xcom": False,
    "quickrouter_conn_id": "another",
    "start_deadline": 1_790_000_600.0,
    "started_at": 1_790_000_000.0,
    "store_path": "s3://bucket/pictures",
    "timeout": 7200.0,
    "total": 5,
}
"""A value of each argument that a trigger takes, none of them its default."""

GIVEN = {"started_at"}
"""Arguments whose default is the time: never left out here, else no two forms would be equal."""


def form() -> Form:
    """Return what the database contains, without events, which need a gateway: see ``release_life``."""
    return {
        "version": __version__,
        "triggers": list(_triggers()),
        "starts": list(_starts()),
        "methods": dict(_methods()),
    }


def shape(value: Any) -> Any:
    """Reduce JSON to what readers rely on: its keys and kinds of values, each of a list once."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    return "number" if type(value) in (int, float) else type(value).__name__


def same(one: Form, other: Form) -> bool:
    """Whether two forms differ in nothing that a reader would see."""
    made, lived = ("triggers", "starts", "methods"), ("events", "memories")
    return all(one[part] == other[part] for part in made) and all(
        shape(one[part]) == shape(other[part]) for part in lived
    )


def _triggers() -> Iterator[Form]:
    for kind in classes("triggers", BaseTrigger):
        for given in ("required", "all"):
            trigger = kind(**_arguments(kind, given == "all"))
            yield {"given": given, "classpath": trigger.serialize()[0], "kwargs": stored(trigger)}


def stored(trigger: BaseTrigger) -> Any:
    """Return a trigger's arguments as they lie in the database, under Airflow's encryption."""
    row = Trigger.from_object(trigger)
    return json.loads(get_fernet().decrypt(row.encrypted_kwargs.encode()))


def classes(group: str, base: type) -> list[Any]:
    """Return the classes of ours that a group of the provider info names, in order of names."""
    names = [name for part in get_provider_info()[group] for name in part["python-modules"]]
    modules = [importlib.import_module(name) for name in names]
    found = {
        name: getattr(module, name)
        for module in modules
        for name in getattr(module, "__all__", dir(module))
        if name.startswith("QuickRouter")
    }
    ours = [one for one in found.values() if isinstance(one, type) and issubclass(one, base)]
    return sorted(ours, key=lambda kind: kind.__name__)


def _arguments(kind: type, everything: bool) -> Form:
    taken = {name: one for name, one in _parameters(kind) if everything or _is_needed(one)}
    if missing := set(taken) - set(ARGUMENTS):
        raise LookupError(f"give {sorted(missing)} of {kind.__name__} a value in {__name__}")
    return {name: ARGUMENTS[name] for name in sorted(taken)}


def _parameters(kind: type) -> Iterator[tuple[str, inspect.Parameter]]:
    for base in kind.__mro__[::-1]:
        if issubclass(base, BaseTrigger) and base is not BaseTrigger and "__init__" in vars(base):
            named = list(inspect.signature(base).parameters.items())
            yield from ((name, one) for name, one in named if one.kind is not one.VAR_KEYWORD)


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty or parameter.name in GIVEN


def _starts() -> Iterator[Form]:
    """Yield what the scheduler starts in the triggerer; nothing before 0.3.0."""
    arguments = {"prediction_id": ARGUMENTS["prediction_id"], "timeout": 7200.0}
    if not hasattr(QuickRouterPredictionSensor, "make_start_args"):
        return
    for more in ({}, {"cancel_on_kill": True, "poke_interval": 3.0, "do_xcom_push": False}):
        given = {"task_id": "wait", "start_from_trigger": True, **arguments, **more}
        with DAG("test"):
            task = QuickRouterPredictionSensor(**given)
        start = task.start_trigger_args
        if start is None:
            raise RuntimeError("start_from_trigger needs Airflow 3.3 without listeners")
        yield {
            "classpath": start.trigger_cls,
            "kwargs": json.loads(json.dumps(start.trigger_kwargs)),
            "method": start.next_method,
        }


def _methods() -> Iterator[tuple[str, list[str]]]:
    """Yield each class of tasks that defers, with its methods that run after an event."""
    for kind in [*classes("operators", BaseOperator), *classes("sensors", BaseOperator)]:
        names = [name for name in dir(kind) if not name.startswith("_")]
        methods = [(name, getattr(kind, name)) for name in names if callable(getattr(kind, name))]
        takers = [n for n, one in methods if "event" in inspect.signature(one).parameters]
        if takers:
            yield kind.__name__, takers
