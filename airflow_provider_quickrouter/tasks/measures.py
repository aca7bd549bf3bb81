"""What is counted of predictions, under which names; Airflow sends it where its metrics go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction

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


def tags(reference: str) -> dict[str, str]:
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
