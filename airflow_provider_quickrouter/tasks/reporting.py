"""What a task reports besides its result: XComs, metrics and asset events.

Each metric is sent by the process that saw the event: a worker, or the triggerer where that ends a
task. Errors in metrics and asset events are only logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.files import find_files
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.links import (
    FILE_KEY,
    FILES_KEY,
    MANIFEST_KEY,
    STORE_OPERATOR,
    QuickRouterPredictionLink,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.files import StoredFile

# Counter: create requests that were accepted, so that they cost money.
SUBMITTED = "quickrouter.submitted"

SUCCEEDED = "quickrouter.succeeded"  # counter: waits that ended with an output

# Counter, with a dot and the reason (a value of `Reason`): waits that ended otherwise.
FAILED = "quickrouter.failed"

COST = "quickrouter.cost"  # counter: of ended waits, in the unit of the connection's prices

# Timer: from the create request until the model started, by the API's times.
QUEUE = "quickrouter.queue"

RUN = "quickrouter.run"  # timer: from the model's start to its end, by the API's times

# Timer: from the model's end until this side saw it. It compares the clocks of both sides.
DETECTION = "quickrouter.detection"

_SHOWN = 12  # characters of a version's 64 in a tag: enough to distinguish versions

log = logging.getLogger(__name__)


@contextmanager
def log_and_continue(log: Any, what: str) -> Iterator[None]:
    """Log any error, and continue: a task that fails may be retried, and pay again.

    :param what: did not happen then: "The metrics of a prediction were not published".
    """
    try:
        yield
    except Exception:
        log.exception("%s; the task continues", what)


def push_manifest(context: Any, manifest: dict[str, Any]) -> None:
    """Push the manifest and the link's address to XCom, so that both can be read at once.

    Airflow itself stores a link only when a task ends or defers.
    """
    if context["task"].do_xcom_push:
        for key, value in manifest_xcoms(manifest).items():
            context["ti"].xcom_push(key=key, value=value)


def manifest_xcoms(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the XComs of a manifest, by key."""
    return {MANIFEST_KEY: manifest, QuickRouterPredictionLink.xcom_key: manifest["url"]}


def file_xcoms(output: Any, files: Sequence[StoredFile] | None) -> dict[str, Any]:
    """Return the XComs of an output's files, by key.

    ``file`` is the first stored path, or else the first URL. Without either there is no such XCom.

    :param output: as XCom holds it.
    :param files: the stored files; None if nothing was to be stored.
    """
    stored = {} if files is None else {FILES_KEY: [file.to_json() for file in files]}
    paths = [file.path for file in files or ()]
    found = paths or [source.url for source in find_files(output) if not source.inline]
    return {**stored, FILE_KEY: found[0]} if found else stored


def pushed_id(context: Any) -> str | None:
    """Return the id in the manifest that this task has pushed to XCom, if it has."""
    ti = context["ti"]
    manifest = ti.xcom_pull(task_ids=ti.task_id, key=MANIFEST_KEY, map_indexes=ti.map_index)
    return manifest.get("id") if isinstance(manifest, dict) else None


def count_submitted(reference: str) -> None:
    """Count a create request that was accepted.

    :param reference: the version or model that was requested.
    """
    with log_and_continue(log, "The metrics of a prediction were not published"):
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(SUBMITTED, tags=tags_of(reference))


def count_end(outcome: Outcome, now: float) -> None:
    """Count the end of a wait, and how long each part of it took.

    May look up a host's name the first time, so it does not belong on an event loop.

    :param now: when the end was seen, epoch seconds.
    """
    seen = outcome.prediction
    tags = tags_of(seen.model_name if seen else "")
    succeeded = outcome.reason is Reason.SUCCEEDED
    with log_and_continue(log, "The metrics of a prediction were not published"):
        from airflow.providers.common.compat.sdk import Stats

        counter = SUCCEEDED if succeeded else f"{FAILED}.{outcome.reason}"
        Stats.incr(counter, tags={**tags, "reason": str(outcome.reason)})
        if seen and seen.cost:
            # Airflow declares integers, but all of its metrics backends add floats.
            Stats.incr(COST, seen.cost, tags=tags)  # type: ignore[arg-type]
        for name, seconds in durations(seen, now) if seen and seen.status.terminal else ():
            Stats.timing(name, timedelta(seconds=seconds), tags=tags)


def tags_of(reference: str) -> dict[str, str]:
    """Return the tags of a metric: the model, without its version; or a version's beginning.

    :param reference: a version or a model, as given or as the API named it; "" if unknown.
    """
    model = reference.partition(":")[0]
    return {"model": model[:_SHOWN] if re.fullmatch(r"[0-9a-f]{64}", model) else model or "unknown"}


def durations(prediction: Prediction, now: float) -> Iterator[tuple[str, float]]:
    """Yield timers with seconds, as far as the API returns the times.

    A negative duration, because clocks differ or the API errs, counts as zero.

    :param now: when the end was seen, epoch seconds.
    """
    marks = {
        QUEUE: (prediction.created_at, prediction.started_at),
        RUN: (prediction.started_at, prediction.completed_at),
        DETECTION: (prediction.completed_at, datetime.fromtimestamp(now, tz=UTC)),
    }
    for name, (start, end) in marks.items():
        if start and end:
            yield name, max(0.0, (end - start).total_seconds())


def stored_downstream(task: Any) -> bool:
    """Return whether a downstream task stores the files of an output."""
    downstream = task.get_flat_relatives(upstream=False) if task.get_dag() else ()
    return any(other.task_type == STORE_OPERATOR for other in downstream)


def add_to_asset_events(context: Context, extra: Mapping[str, Any]) -> None:
    """Add these fields to the event of each outlet.

    The author's own extra stays. An ``AssetAlias`` has no event of its own. An error with an outlet
    is only logged.
    """
    task = context["task"]
    if not task.outlets:
        return
    from airflow.providers.common.compat.sdk import AssetAlias

    for outlet in task.outlets:
        if not isinstance(outlet, AssetAlias):
            with log_and_continue(task.log, f"The files were not added to the asset event of {outlet!r}"):
                context["outlet_events"][outlet].extra.update(extra)


def asset_extra(prediction: Prediction | None, files: Sequence[StoredFile]) -> dict[str, Any]:
    """Return the extra of an asset event.

    ``files`` is the XCom of that key: path, size, checksum, content type, width and height of each
    stored file; empty if nothing was stored.
    """
    named = {}
    if prediction:
        named = {
            "prediction_id": prediction.id,
            "model": prediction.model_name or None,
            "seed": prediction.seed,
            "cost": prediction.cost,
        }
    return {**named, "files": [file.to_json() for file in files]}
