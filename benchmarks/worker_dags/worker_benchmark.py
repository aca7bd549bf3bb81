"""One DAG for each way of waiting, with as many sensors; the run's conf has the predictions.

The tasks are not mapped, since a mapped task cannot start in the triggerer.
"""

import json
import os
import time

from airflow.sdk import DAG, task

from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

WAITS = int(os.environ.get("BENCHMARK_WAITS", "1"))
WAYS = json.loads(os.environ.get("BENCHMARK_WAYS", "{}"))


def nap() -> None:
    """Hold a worker until all others have got their task."""
    time.sleep(3)


with DAG("warm_up", schedule=None, max_active_tasks=WAITS):
    for number in range(WAITS):
        task(task_id=f"nap_{number}")(nap)()

for way, keywords in WAYS.items():
    with DAG(way, schedule=None, max_active_tasks=WAITS):
        for number in range(WAITS):
            QuickRouterPredictionSensor(
                task_id=f"wait_{number}",
                prediction_id=f"{{{{ dag_run.conf['ids'][{number}] }}}}",
                poke_interval=5,
                **keywords,
            )
