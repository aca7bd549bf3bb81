"""Tasks that fail in the six ways that people on call see most often."""

from airflow.sdk import DAG

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.polling import poll


class ImpatientRun(QuickRouterRunPredictionOperator):
    """It gives an outage up after two seconds instead of ten minutes."""

    def execute(self, context):
        poll.PATIENCE = 2.0
        return super().execute(context)


def run(task_id, operator=QuickRouterRunPredictionOperator, conn_id="quickrouter_default", **faults):
    return operator(
        task_id=task_id,
        version=STABLE_DIFFUSION,
        input={"prompt": "a cat", "sandbox": {"processing": 0, **faults}},
        deferrable=False,
        quickrouter_conn_id=conn_id,
    )


with DAG("error_lines", schedule=None):
    run("no_connection", conn_id="quickrouter_missing")
    run("wrong_key", conn_id="quickrouter_wrong_key")
    run("moderation", fail="NSFW content detected")
    run("out_of_memory", fail="CUDA out of memory")
    run("expired", expire_after=0)

with DAG("error_line_of_an_outage", schedule=None):
    run("outage", ImpatientRun)
