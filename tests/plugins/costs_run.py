"""A run whose tasks pay by the prices of a sandbox, some for predictions that fail."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import PredictionError
from airflow_provider_quickrouter.api.models import SDXL, STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.tasks.reporting import COST
from dev.gallery_data import FilledRun, FilledTask
from dev.gallery_runs import DAG_ID
from tests.conftest import PRICES, connect
from tests.metrics import received_metrics
from tests.tasks import TaskInstance, run

RUN = "costs"
INPUTS: list[tuple[str, dict[str, Any]]] = [
    (STABLE_DIFFUSION, {"num_outputs": 2}),
    (STABLE_DIFFUSION, {}),
    (STABLE_DIFFUSION, {"sandbox": {"fail": "NSFW content detected"}}),
    (SDXL, {}),
    (SDXL, {"num_outputs": 4}),
    (SDXL, {"sandbox": {"fail": "out of memory"}}),
]


@dataclass
class Costs:
    """The manifests in XCom, the costs in the metrics by model, and the sandbox's ledger."""

    manifests: list[dict[str, Any]]
    metrics: Mapping[str, float]
    ledger: list[dict[str, Any]]
    total: float

    @property
    def run(self) -> FilledRun:
        tasks = [
            FilledTask("wait", n, "failed" if made["error"] else "success", {"prediction": made})
            for n, made in enumerate(self.manifests)
        ]
        return FilledRun(DAG_ID, RUN, tasks)


def paid() -> Costs:
    """Run a task for each input, and return what they have cost by each account."""
    manifests = []
    with (
        Sandbox(prices=PRICES) as sandbox,
        pytest.MonkeyPatch.context() as patch,
        received_metrics() as received,
    ):
        connect(patch, host=sandbox.url, extra={"prices": PRICES})
        for n, (version, given) in enumerate(INPUTS):
            task: dict[str, Any] = {
                "version": version,
                "input": {"prompt": "a cat", **given},
                "deferrable": n % 2 == 0,
            }
            ti = TaskInstance()
            with suppress(PredictionError):
                run(partial(QuickRouterRunPredictionOperator, task_id="run", **task), ti)
            manifests.append(ti.xcoms["prediction"])
        metrics = {model: cost for (name, model), cost in received.sums.items() if name == COST}
        return Costs(manifests, metrics, sandbox.predictions, sandbox.counts["cost"])
