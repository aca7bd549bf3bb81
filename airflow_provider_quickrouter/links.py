"""What a task leaves for people and for other tasks: the manifest in XCom, and a link."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

MANIFEST_KEY = "prediction"
"""XCom key of the manifest, see ``Prediction.manifest``."""


class QuickRouterPredictionLink(BaseOperatorLink):
    """Button to the prediction, on the page of each task that knows its id."""

    name = "QuickRouter prediction"
    xcom_key = "_link_QuickRouterPredictionLink"
    """Where Airflow 3 looks for the address; Airflow 2 asks :meth:`get_link`."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the manifest's ``url``; "" while there is no prediction."""
        manifest = XCom.get_value(ti_key=ti_key, key=MANIFEST_KEY)
        return str(manifest["url"]) if manifest else ""


def publish(context: Any, manifest: dict[str, Any]) -> None:
    """Put the manifest into XCom, and the link's address, so that both can be read at once.

    Airflow itself stores a link only when a task ends or defers.
    """
    task_instance = context["ti"]
    if not context["task"].do_xcom_push:
        return
    task_instance.xcom_push(key=MANIFEST_KEY, value=manifest)
    task_instance.xcom_push(key=QuickRouterPredictionLink.xcom_key, value=manifest["url"])
