"""Airflow's metrics of predictions; see ``api.measures`` for their names.

Each is sent from the process that saw it: a worker, or the triggerer where that ends a task.
Trouble with them is logged and nothing else.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_quickrouter.tasks import measures
from airflow_provider_quickrouter.tasks.harmless import harmless

if TYPE_CHECKING:
    from airflow_provider_quickrouter.api.outcome import Outcome

log = logging.getLogger(__name__)


def submitted(reference: str) -> None:
    """Count a create that was accepted.

    :param reference: the version or model that was asked for.
    """
    with harmless(log, "The metrics of a prediction were not told"):
        from airflow.providers.common.compat.sdk import Stats

        Stats.incr(measures.SUBMITTED, tags=measures.tags(reference))


def ended(outcome: Outcome, now: float) -> None:
    """Count the end of a wait, and how long each part of it took.

    May look up a host's name the first time, so it does not belong on an event loop.

    :param now: when the end was seen, epoch seconds.
    """
    with harmless(log, "The metrics of a prediction were not told"):
        _ended(outcome, now)


def _ended(outcome: Outcome, now: float) -> None:
    from airflow.providers.common.compat.sdk import Stats

    seen = outcome.prediction
    tags = measures.tags(seen.model_name if seen else "")
    Stats.incr(measures.counter(outcome), tags={**tags, "reason": str(outcome.reason)})
    for name, seconds in measures.durations(seen, now) if seen and seen.status.terminal else ():
        Stats.timing(name, timedelta(seconds=seconds), tags=tags)
