"""What server and client agree on: when each wait ends, and where the numbers lie. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import median, quantiles
from typing import Any

WARM_UP = range(10**9, 10**9 + 10)
"""Numbers of the waits that come before the measured ones, and are over from the beginning."""

ROUTES = {
    "quickrouter": "/replicate/v1/predictions/{id}",
    "http": "/http/{id}",
    "dbt": "/api/v2/accounts/1/runs/{id}/",
    "databricks": "/api/2.2/jobs/runs/get",
    "openai": "/v1/batches/batch_{id}",
}
"""The status route of each service; databricks has the id in the body."""


@dataclass(frozen=True)
class Plan:
    """One run of one contender.

    ``name``: the contender. ``waits``: how many. ``interval``: seconds between two polls of a
    wait. ``seconds``: the measured window, over which the waits end evenly. ``settle``: seconds
    that a start may take before the window begins all the same. ``patience``: seconds that the
    last waits may take after the window. ``url``: of the server. ``bundle``: file with the
    authority of its certificate, "" without TLS.
    """

    name: str
    waits: int
    interval: float
    seconds: float
    settle: float
    patience: float
    url: str = ""
    bundle: str = ""

    def dumps(self) -> str:
        """Return it as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Plan:
        """Return the plan of a command line."""
        return cls(**json.loads(text))


def prediction_id(number: int) -> str:
    """Return the id of a wait's prediction, as long as Replicate's are."""
    return f"p{number:025d}"


def ends(waits: int, seconds: float) -> list[float]:
    """Return when each wait ends, in seconds after the window began: evenly, in mixed order."""
    moments = [seconds * (number + 0.5) / waits for number in range(waits)]
    Random(waits).shuffle(moments)  # noqa: S311
    return moments


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, 0 < ``percent`` < 100; nan of nothing."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the median over runs of each number; None if it is unknown in any of them."""
    return {name: _median([run[name] for run in runs]) for name in runs[0]}


def _median(values: Sequence[Any]) -> Any:
    return None if None in values else median(values)
