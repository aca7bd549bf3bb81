"""Who takes part: each a DAG over the same prompts, alone on a fresh Airflow and gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tests.chaos
from dev.gateway import SANDBOX_KEY
from tests.chaos.suite import Flow, Suite, quickrouter_env

DAGS = Path(__file__).parent / "dags"
SHARED = Path(tests.chaos.__file__).parent / "dags"
"""Where the callbacks are that write down failures."""

PROMPT = "benchmark {}"


@dataclass(frozen=True)
class Contender:
    """``name`` is for the command line, ``title`` heads the column of the table."""

    name: str
    title: str
    flow: Flow

    @property
    def suite(self) -> Suite:
        """What the chaos suite has to run."""
        return Suite(DAGS, (self.flow,), env)


def env(url: str) -> Mapping[str, str]:
    """Return both connections to the gateway at ``url``, which every contender gets."""
    headers = {"Authorization": f"Bearer {SANDBOX_KEY}", "Content-Type": "application/json"}
    http = {"conn_type": "http", "host": url, "extra": headers}
    return {**quickrouter_env(url), "AIRFLOW_CONN_GATEWAY": json.dumps(http), "PYTHONPATH": str(SHARED)}


def pair(dag_id: str) -> Flow:
    """Return a flow of two tasks."""
    return Flow(dag_id, PROMPT, "pair.submit", "pair.wait")


CONTENDERS = (
    Contender("http", "HTTP, poke", pair("benchmark_http")),
    Contender("http-reschedule", "HTTP, reschedule", pair("benchmark_http_reschedule")),
    Contender("http-once", "HTTP, create not retried", pair("benchmark_http_once")),
    Contender("pair", "Submit + Sensor", pair("benchmark_pair")),
    Contender("run", "Run", Flow("benchmark_run", PROMPT, "run")),
)
