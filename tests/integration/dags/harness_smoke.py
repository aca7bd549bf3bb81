"""A number from a worker and a wait in the triggerer: enough to show that an Airflow works."""

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag, task


@dag(schedule=None)
def harness_smoke() -> None:
    """Return 42, and meanwhile wait until 25 seconds after the run was asked for."""

    @task
    def number() -> int:
        return 42

    number()
    TimeDeltaSensor(task_id="pause", delta=timedelta(seconds=25), deferrable=True)


harness_smoke()
