"""Submit, wait and store in one line: a task group, which can be mapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow.providers.common.compat.sdk import task_group

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.storage.names import DEFAULT_NAME
from airflow_provider_quickrouter.tasks.arguments import check_names
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator


@task_group(group_id="pictures", tooltip="Submit a prediction, wait for it, store its pictures")
def quickrouter_pictures(  # noqa: PLR0913  # each is given by its name, and most only rarely
    input: Any = None,
    path: Any = None,
    version: Any = None,
    model: Any = None,
    deployment: Any = None,
    name: str = DEFAULT_NAME,
    allow_empty: Any = None,
    quickrouter_conn_id: str | None = None,
    reuse: bool | Literal["any_seed"] = False,
    submit: Mapping[str, Any] | None = None,
    wait: Mapping[str, Any] | None = None,
    store: Mapping[str, Any] | None = None,
    **unknown: Any,
) -> Any:
    """Create a prediction and store its pictures; return the paths of the stored files.

    The tasks are ``submit``, ``wait`` (deferred: it takes no worker) and ``store``. As any task
    group of Airflow's this one has ``.partial(...).expand(input=...)``, which makes one group
    for each input, and ``.override(group_id=..., default_args=...)`` for all of its tasks.

    A retry or clear of ``store`` fetches only what is not stored yet and creates no new
    prediction; one of ``wait`` polls the same prediction; a retry of ``submit`` resumes
    the prediction of the previous attempt. To pay for a new picture, clear ``submit`` with what is
    downstream of it.

    :param input: as of ``QuickRouterSubmitPredictionOperator``, like ``version``, ``model`` and
        ``deployment``.
    :param path: folder, as of ``QuickRouterToObjectStorageOperator``, like ``name``.
    :param allow_empty: True lets ``wait`` and ``store`` succeed with an output that holds nothing.
    :param quickrouter_conn_id: connection of all three tasks; default from ``default_args``, else
        ``quickrouter_default``.
    :param reuse: create nothing if the files of an equal request are stored under ``path``, as of
        ``QuickRouterRunPredictionOperator``; ``submit``, ``wait`` and ``store`` return the same then.
    :param submit: more arguments of that task: ``{"retries": 3, "pool": "paid"}``.
    :param wait: more arguments of the sensor: ``{"timeout": 600}``.
    :param store: more arguments of the storing task: ``{"outlets": [PICTURES]}``.
    :raises InvalidInputError: an argument is wrong; when the DAG is parsed.
    """
    check_names(unknown, quickrouter_pictures.function)
    # What is not given is left out, so that default_args reach the tasks.
    references = {"version": version, "model": model, "deployment": deployment}
    reference = {name: value for name, value in references.items() if value is not None}
    connection = {"quickrouter_conn_id": quickrouter_conn_id} if quickrouter_conn_id else {}
    ending = connection if allow_empty is None else {**connection, "allow_empty": allow_empty}
    kept = {"reuse": reuse, "output_path": path} if reuse else {}
    submitted: Any = QuickRouterSubmitPredictionOperator(
        **_arguments("submit", submit, connection, input=input, **reference, **kept)
    )
    manifest = {"manifest": submitted.output["prediction"]} if reuse else {}
    waited = QuickRouterPredictionSensor(
        **_arguments("wait", wait, ending, prediction_id=submitted.output, deferrable=True, **manifest)
    )
    stored = QuickRouterToObjectStorageOperator(
        **_arguments("store", store, ending, path=path, name=name, prediction_id=submitted.output, **manifest)
    )
    waited >> stored
    return stored.output


def _arguments(task_id: str, own: Any, connection: Mapping[str, Any], **usual: Any) -> Any:
    """Return a task's arguments: the usual ones, but first of all its own."""
    if own is not None and not isinstance(own, Mapping):
        with airflow_errors():
            raise InvalidInputError(
                f"{task_id}: give a dict of the task's arguments. It cannot be mapped over, as "
                "expand_kwargs would; use partial and expand."
            )
    return {"task_id": task_id, **connection, **usual, **(own or {})}
