"""One task each, which comes to an end in one of the ways that cost money elsewhere."""

import os
import signal
from datetime import timedelta

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor


class KilledBeforeDeferring(QuickRouterRunPredictionOperator):
    """Its first worker is killed when the prediction exists and the task is not yet deferred."""

    def execute(self, context):
        self.first = context["ti"].try_number == 1
        return super().execute(context)

    def defer(self, **kwargs):
        if self.first:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().defer(**kwargs)


class FailsOnceAfterWaiting(QuickRouterRunPredictionOperator):
    """Its wait fails on the first try, though the prediction does not."""

    def execute_complete(self, context, event=None):
        if context["ti"].try_number == 1:
            raise AirflowException("the wait failed, not the prediction")
        return super().execute_complete(context, event)


def tell_pid(context):
    context["ti"].xcom_push(key="pid", value=os.getpid())


def one_task(dag_id, operator=QuickRouterRunPredictionOperator, sandbox=None, **arguments):
    prompt = {"prompt": dag_id, "sandbox": sandbox or {}}
    defaults = {"retries": 2, "retry_delay": timedelta(seconds=1), "poll_interval": 2}
    with DAG(dag_id, schedule=None) as dag:
        operator(
            task_id="run",
            version=STABLE_DIFFUSION,
            input=prompt,
            on_execute_callback=tell_pid,
            **{"deferrable": True, **defaults, **arguments},
        )
    return dag


killed_before_deferring = one_task("killed_before_deferring", KilledBeforeDeferring)
fails_once = one_task("fails_once", FailsOnceAfterWaiting)
# A connection from the database, as most have it: the triggerer has looked it up before a kill,
# so that what it asks then is answered at once.
STORED = "quickrouter_in_database"
takes_long = one_task("takes_long", sandbox={"processing": 12}, quickrouter_conn_id=STORED)
takes_long_on_worker = one_task("takes_long_on_worker", sandbox={"processing": 12}, deferrable=False)
never_ends = one_task("never_ends", sandbox={"never": True})
never_ends_on_worker = one_task("never_ends_on_worker", sandbox={"never": True}, deferrable=False)
deadline = one_task("deadline", sandbox={"never": True}, timeout=5)
deadline_on_worker = one_task("deadline_on_worker", sandbox={"never": True}, timeout=5, deferrable=False)
hangs = one_task("hangs")

with DAG("waited_by_sensor", schedule=None) as waited_by_sensor:
    submit = QuickRouterSubmitPredictionOperator(
        task_id="submit",
        version=STABLE_DIFFUSION,
        input={"prompt": "someone else's", "sandbox": {"never": True}},
    )
    QuickRouterPredictionSensor(task_id="run", prediction_id=submit.output, deferrable=True)
