"""What comes of a task's picture beyond the task: asset events, and tasks behind that store it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.tasks.harmless import harmless

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.files import StoredFile
    from airflow_provider_quickrouter.api.prediction import Prediction


STORES = "QuickRouterToObjectStorageOperator"


def stored_later(task: Any) -> bool:
    """Whether a task behind this one stores the files of an output."""
    behind = task.get_flat_relatives(upstream=False) if task.get_dag() else ()
    return any(other.task_type == STORES for other in behind)


def tell_outlets(
    context: Context, prediction: Prediction | None, files: Sequence[StoredFile]
) -> None:
    """Add ``prediction_id``, ``model``, ``seed`` and ``files`` to the event of each outlet.

    ``files`` is what lies in XCom under that key: path, size, checksum, content type, width and
    height of each stored file; empty if nothing was stored. What the DAG's author put into the
    extra stays. An ``AssetAlias`` has no event of its own. Trouble with an outlet is only logged.
    """
    task = context["task"]
    if not task.outlets:
        return
    from airflow.providers.common.compat.sdk import AssetAlias

    for outlet in task.outlets:
        if not isinstance(outlet, AssetAlias):
            with harmless(task.log, f"The outlet {outlet!r} was not told of its files"):
                context["outlet_events"][outlet].extra.update(extra_of(prediction, files))


def extra_of(prediction: Prediction | None, files: Sequence[StoredFile]) -> dict[str, Any]:
    """Return the extra of an asset event."""
    named = {}
    if prediction:
        named = {
            "prediction_id": prediction.id,
            "model": prediction.model_name or None,
            "seed": prediction.seed,
        }
    return {**named, "files": [file.to_json() for file in files]}
