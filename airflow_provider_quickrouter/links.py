"""What a task leaves for people and for other tasks: the manifest in XCom, and a link."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

MANIFEST_KEY = "prediction"
"""XCom key of the manifest, see ``Prediction.manifest``."""

FILES_KEY = "files"
"""XCom key of what was stored of an output, see ``api.files.StoredFile``."""


class QuickRouterPredictionLink(BaseOperatorLink):
    """Button to the prediction, on the page of each task that knows its id."""

    name = "QuickRouter prediction"
    xcom_key = "_link_QuickRouterPredictionLink"
    """Where Airflow 3 looks for the address; Airflow 2 asks :meth:`get_link`."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the manifest's ``url``; "" while there is no prediction."""
        manifest = XCom.get_value(ti_key=ti_key, key=MANIFEST_KEY)
        return str(manifest["url"]) if manifest else ""


LEFT = (MANIFEST_KEY, QuickRouterPredictionLink.xcom_key)
"""Keys under which a task leaves something beside its return value."""


def publish(context: Any, manifest: dict[str, Any]) -> None:
    """Put the manifest into XCom, and the link's address, so that both can be read at once.

    Airflow itself stores a link only when a task ends or defers.
    """
    if context["task"].do_xcom_push:
        for key, value in xcoms_of(manifest).items():
            context["ti"].xcom_push(key=key, value=value)


def published_id(context: Any) -> str | None:
    """Return the id in the manifest that this task has put into XCom, if it has."""
    ti = context["ti"]
    manifest = ti.xcom_pull(task_ids=ti.task_id, key=MANIFEST_KEY, map_indexes=ti.map_index)
    return manifest.get("id") if isinstance(manifest, dict) else None


def xcoms_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what a task leaves beside its return value, by key."""
    return dict(zip(LEFT, (manifest, manifest["url"]), strict=True))
