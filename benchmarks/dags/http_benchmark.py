"""The stock way: ``HttpOperator`` creates, ``HttpSensor`` waits, as a careful author writes it.

Careful means: timeouts, an answer without an id fails, 404, 429 and 5xx of a GET are asked again, a
prediction that ended badly fails at once with its id.

Neither waits in the triggerer. An ``HttpSensor`` with a ``response_check`` ignores ``deferrable``;
without one it would be content with the first GET that answers 200, while the prediction runs. An
``HttpOperator`` that defers sends its POST from the triggerer, once more after each restart, which
it warns of itself: so here it does not. Of the two other modes of a sensor, Airflow's documentation
advises ``poke`` for pauses of seconds and ``reschedule`` for minutes; both are measured.

The third DAG never retries the create: what an author does who has heard of double payments.
"""

import json

from airflow.exceptions import AirflowFailException
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import PokeReturnValue, dag, task_group
from benchmark_common import DAG_ARGUMENTS, POLL_SECONDS, PROMPTS

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION

PATH = "/replicate/v1/predictions"
TIMEOUT = {"timeout": 30}
ASK_AGAIN = ["404", "429", "500", "502", "503", "504"]
BODIES = [json.dumps({"version": STABLE_DIFFUSION, "input": {"prompt": prompt}}) for prompt in PROMPTS]


def id_of(response):
    return response.json()["id"]


def is_over(response):
    """Return the output with the id; a prediction that ended badly will not end well later."""
    prediction = response.json()
    status = prediction["status"]
    if status in ("failed", "canceled", "aborted"):
        raise AirflowFailException(f"{prediction['id']} is {status}: {prediction.get('error')}")
    result = {"id": prediction["id"], "output": prediction.get("output")}
    return PokeReturnValue(status == "succeeded", result)


def create_and_wait(dag_id, *, mode="poke", **create):
    """Make a DAG; ``create`` are more arguments of the task that creates."""

    @task_group
    def pair(body):
        submit = HttpOperator(
            task_id="submit",
            http_conn_id="gateway",
            endpoint=PATH,
            data=body,
            response_filter=id_of,
            extra_options=TIMEOUT,
            **create,
        )
        wait = HttpSensor(
            task_id="wait",
            http_conn_id="gateway",
            endpoint=PATH + "/{{ ti.xcom_pull(task_ids='pair.submit', map_indexes=ti.map_index) }}",
            response_check=is_over,
            response_error_codes_allowlist=ASK_AGAIN,
            extra_options=TIMEOUT,
            mode=mode,
            poke_interval=POLL_SECONDS,
        )
        submit >> wait

    @dag(dag_id=dag_id, **DAG_ARGUMENTS)
    def made():
        pair.expand(body=BODIES)

    made()


create_and_wait("benchmark_http")
create_and_wait("benchmark_http_reschedule", mode="reschedule")
create_and_wait("benchmark_http_once", retries=0)
