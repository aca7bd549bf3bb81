"""What a task reports beside its result: metrics and asset events. Errors in them are only logged.

Each metric is sent from the process that saw it: a worker, or the triggerer where that ends a task.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.files import StoredFile


@contextmanager
def harmless(log: Any, what: str) -> Iterator[None]:
    """Log whatever goes wrong, and go on: a failed task may be retried, and pay again.

    :param what: has not happened then: "The metrics of a prediction were not told".
    """
    try:
        yield
    except Exception:
        log.exception("%s; the task goes on", what)


SUBMITTED = "quickrouter.submitted"
"""Counter: creates that were accepted, so that they cost money."""

SUCCEEDED = "quickrouter.succeeded"
"""Counter: waits that ended with an output."""

FAILED = "quickrouter.failed"
"""Counter, with a dot and the reason (a value of ``Reason``): waits that ended otherwise."""

QUEUE = "quickrouter.queue"
"""Timer: from the create until the model started, as the API tells."""

RUN = "quickrouter.run"
"""Timer: from the model's start to its end, as the API tells."""

DETECTION = "quickrouter.detection"
"""Timer: from the model's end until this side knew. The clocks of both sides are in it."""

_SHOWN = 12
"""Characters of a version's 64: enough to tell versions apart."""


def counter(outcome: Outcome) -> str:
    """Name the counter of an end."""
    return SUCCEEDED if outcome.reason is Reason.SUCCEEDED else f"{FAILED}.{outcome.reason}"


def tags_of(reference: str) -> dict[str, str]:
    """Return the tags of a metric: the model, without its version; or a version's beginning.

    :param reference: a version or a model, as given or as the API named it; "" if unknown.
    """
    model = reference.partition(":")[0]
    return {"model": model[:_SHOWN] if re.fullmatch(r"[0-9a-f]{64}", model) else model or "unknown"}


def durations(prediction: Prediction, now: float) -> Iterator[tuple[str, float]]:
    """Yield timers with seconds, as far as the API tells the times.

    What is below zero, because clocks differ or the API errs, counts as zero.

    :param now: when the end was seen, epoch seconds.
    """
    marks = {
        QUEUE: (prediction.created_at, prediction.started_at),
        RUN: (prediction.started_at, prediction.completed_at),
        DETECTION: (prediction.completed_at, datetime.fromtimestamp(now, tz=UTC)),
    }
    for name, (begin, end) in marks.items():
        if begin and end:
            yield name, max(0.0, (end - begin).total_seconds())


log = logging.getLogger(__name__)


def count_submitted(reference: str) -> None:
    """Count a create that was accepted.

    :param reference: the version or model that was asked for.
    """
    with harmless(log, "The metrics of a prediction were not told"):
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(SUBMITTED, tags=tags_of(reference))


def count_end(outcome: Outcome, now: float) -> None:
    """Count the end of a wait, and how long each part of it took.

    May look up a host's name the first time, so it does not belong on an event loop.

    :param now: when the end was seen, epoch seconds.
    """
    with harmless(log, "The metrics of a prediction were not told"):
        _count_end(outcome, now)


def _count_end(outcome: Outcome, now: float) -> None:
    from airflow.providers.common.compat.sdk import Stats

    seen = outcome.prediction
    tags = tags_of(seen.model_name if seen else "")
    Stats.incr(counter(outcome), tags={**tags, "reason": str(outcome.reason)})
    for name, seconds in durations(seen, now) if seen and seen.status.terminal else ():
        Stats.timing(name, timedelta(seconds=seconds), tags=tags)


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
