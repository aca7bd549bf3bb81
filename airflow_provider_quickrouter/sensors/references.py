"""Where a sensor's ``prediction_id`` comes from, as far as the triggerer can follow."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

_RENDERED = frozenset({"params", "dag_run", "run_id"})
"""What a template may speak of if Airflow is to render it in the triggerer.

There are neither the DAG's own macros nor a worker; and an ``xcom_pull`` that does not name
``map_indexes`` waits for ever there, since the triggerer does not understand what it asks.
"""

_ARGUMENTS = frozenset({"task_ids", "dag_id", "key", "map_indexes"})


def reference(task: Any) -> dict[str, Any] | None:
    """Return arguments of the trigger that lead to the id; None: only a worker finds it."""
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    given = task.prediction_id
    if isinstance(given, PlainXComArg):
        return _from(task, given.operator.task_id, given.key)
    if not isinstance(given, str):
        return None
    if pulled := _pulled(given, task.dag_id):
        return _from(task, *pulled)
    return {"prediction_id": given} if _names(given) <= _RENDERED else None


def _from(task: Any, task_id: str, key: str) -> dict[str, Any] | None:
    """Name an XCom, unless there is one for each map index."""
    upstream = task.dag.task_dict.get(task_id)
    if upstream is None or upstream.is_mapped or upstream.get_closest_mapped_task_group():
        return None
    return {"from_task": task_id, "from_key": key}


def _names(template: str) -> set[str]:
    try:
        return meta.find_undeclared_variables(Environment().parse(template))  # noqa: S701
    except TemplateSyntaxError:
        return {template}


def _pulled(template: str, dag_id: str) -> tuple[str, str] | None:
    """Read ``{{ ti.xcom_pull(task_ids="submit", key="id") }}``: task id and key, None if other."""
    try:
        body = Environment().parse(template).body  # noqa: S701
    except TemplateSyntaxError:
        return None
    match body:
        case [nodes.Output(nodes=[nodes.Call(node=nodes.Getattr() as method) as call])]:
            return _of_call(call, dag_id) if _is_pull(method) else None
    return None


def _is_pull(method: nodes.Getattr) -> bool:
    owner = method.node
    named = isinstance(owner, nodes.Name) and owner.name in ("ti", "task_instance")
    return named and method.attr == "xcom_pull"


def _of_call(call: nodes.Call, dag_id: str) -> tuple[str, str] | None:
    try:
        given = {"task_ids": call.args[0].as_const()} if call.args else {}
        given |= {argument.key: argument.value.as_const() for argument in call.kwargs}
    except nodes.Impossible:
        return None
    odd = len(call.args) > 1 or call.dyn_args or call.dyn_kwargs or not given.keys() <= _ARGUMENTS
    plain = given.get("dag_id", dag_id) == dag_id and given.get("map_indexes", -1) in (-1, None)
    task_id, key = given.get("task_ids"), given.get("key", "return_value")
    if odd or not plain or not isinstance(task_id, str) or not isinstance(key, str):
        return None
    return task_id, key
