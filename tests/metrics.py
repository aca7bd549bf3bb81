"""What Airflow's metrics are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.observability import stats


class Metrics:
    """Counters with their tags, their sums by model, and the timers' tags and seconds."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []
        self.sums: Counter[tuple[str, str]] = Counter()
        self.timed: list[dict[str, str]] = []
        self.seconds: dict[str, float] = {}

    def incr(self, stat: str, count: float = 1, *, tags: Any = None, **_: Any) -> None:
        self.counted.append((stat, tags))
        self.sums[stat, tags["model"]] += count  # type: ignore[assignment]

    def timing(self, stat: str, dt: Any, *, tags: Any = None) -> None:
        self.timed.append(tags)
        self.seconds[stat] = dt.total_seconds()


@contextmanager
def received_metrics() -> Iterator[Metrics]:
    """Receive the metrics of this process."""
    metrics = Metrics()
    stats.initialize(factory=lambda: metrics, export_legacy_names=False)  # type: ignore[arg-type, return-value]
    yield metrics
    stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
