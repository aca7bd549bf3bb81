"""The settings of the distributed Airflow: those of production, and what a short run needs.

``docs/operations/celery.md`` explains each of them.
"""

from __future__ import annotations

import json

WORKERS = 2
SLOTS = 3
"""Tasks that one worker runs at once: a task's start takes a core for a second or two."""

# A broker that is away is asked until ``operation_timeout``, and then, by Airflow, again. When
# Celery's own three tries are over before, the task that is sent loses a try, and may fail.
PUBLISH = {"max_retries": None, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}

PRODUCTION = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    # For each scheduler: one alone must be able to keep all workers busy.
    "AIRFLOW__CORE__PARALLELISM": str(WORKERS * SLOTS),
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
    "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps({"task_publish_retry_policy": PUBLISH}),
    "AIRFLOW__CELERY__TASK_PUBLISH_MAX_RETRIES": "60",
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
    # A slot is free so many seconds after its task has ended (5), which a short task feels.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # Two schedulers that look for work all the time take a core that tasks could have.
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
}
SHORTENED = {
    # What a killed scheduler had queued is adopted (default: every 300 s).
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # A task whose worker was killed is found dead (300 s, looked for every 10 s).
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # One whose worker was killed before it began is queued again (600 s, looked for every 120 s).
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


def celery_env(broker: str, database: str) -> dict[str, str]:
    """Return the settings for a broker and a database, which keeps the results as well."""
    return {
        **PRODUCTION,
        **SHORTENED,
        "AIRFLOW__CELERY__BROKER_URL": broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
    }
