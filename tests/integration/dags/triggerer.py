"""Waits that begin or end in the triggerer, beside waits for the same predictions that do not."""

import os
from datetime import timedelta

from airflow.sdk import DAG, Asset, task

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor

WAITS = int(os.environ.get("WAITS_IN_TRIGGERER", "10"))
"""How many sensors wait at once."""

LONG = {"processing": 15}
"""Long enough for Airflow's scheduler to see that a worker has deferred before the wait is over."""

SOON_AGAIN = {"retries": 2, "retry_delay": timedelta(seconds=5)}
WITHOUT_WORKER = {"start_from_trigger": True}
BEGUN_BY_WORKER = {"deferrable": True}


@task(multiple_outputs=True)
def submit(wanted: dict[str, dict]) -> dict[str, str]:
    """Make a prediction for each name, to which these faults of the sandbox happen."""
    from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook

    hook = QuickRouterHook()
    return {
        name: hook.create_prediction({"prompt": name, "sandbox": faults}, version=STABLE_DIFFUSION).id
        for name, faults in wanted.items()
    }


@task
def submit_one(faults: dict) -> str:
    return submit.function({"one": faults})["one"]


def wait(task_id, prediction_id, **arguments):
    return QuickRouterPredictionSensor(task_id=task_id, prediction_id=prediction_id, **SOON_AGAIN | arguments)


with DAG("waits_in_triggerer", schedule=None) as many:
    ids = submit({f"picture_{number}": LONG for number in range(WAITS)})
    waits = [wait(f"wait_{number}", ids[f"picture_{number}"], **WITHOUT_WORKER) for number in range(WAITS)]
    wait("begun_by_worker", ids["picture_0"], **BEGUN_BY_WORKER)
    wait("pushes_nothing", ids["picture_0"], do_xcom_push=False, **WITHOUT_WORKER)

    @task
    def first_urls(outputs: list[list[str]]) -> list[str]:
        return [output[0] for output in outputs]

    first_urls([wait.output for wait in waits])

with DAG("mapped_waits", schedule=None) as mapped:

    @task
    def submit_three() -> list[str]:
        return list(submit.function({name: {} for name in "abc"}).values())

    QuickRouterPredictionSensor.partial(task_id="wait", **WITHOUT_WORKER).expand(prediction_id=submit_three())

with DAG("ways_to_an_id", schedule=None, params={"prediction_id": ""}) as ways:
    one = submit_one({})
    texts = {
        "output": one,
        "pulled": "{{ ti.xcom_pull(task_ids='submit_one') }}",
        "as_text": f"{one}",
        "params": "{{ params.prediction_id or dag_run.conf.prediction_id }}",
        "by_worker": "{{ ti.xcom_pull(task_ids='submit_one')[:] }}",
    }
    for name, given in texts.items():
        one >> wait(name, given, **WITHOUT_WORKER)

with DAG("bad_ends_in_triggerer", schedule=None) as bad:
    ids = submit({"fails": {"fail": "NSFW content detected", **LONG}, "never": {"never": True}})

    @task(multiple_outputs=True)
    def say() -> dict[str, object]:
        return {"nothing": None, "wrong": "../models"}

    said = say()
    key = "quickrouter_wrong_key"
    cases = {
        "fails": {"prediction_id": ids["fails"]},
        "times_out": {"prediction_id": ids["never"], "timeout": 12},
        "refused": {"prediction_id": ids["fails"], "quickrouter_conn_id": key},
        "wrong": {"prediction_id": said["wrong"]},
        "nothing": {"prediction_id": said["nothing"]},
        "literal": {"prediction_id": "not/an/id"},
        "soft": {"prediction_id": ids["fails"], "soft_fail": True},
    }
    for case, arguments in cases.items():
        wait(f"{case}_in_triggerer", **arguments, **WITHOUT_WORKER)
        wait(f"{case}_by_worker", **arguments, **BEGUN_BY_WORKER)

with DAG("never_ends_in_triggerer", schedule=None) as never:
    wait("run", submit_one({"never": True}), cancel_on_kill=True, **WITHOUT_WORKER)

with DAG("deadline_in_triggerer", schedule=None) as deadline:
    wait("run", submit_one({"never": True}), timeout=30, **WITHOUT_WORKER)

with DAG("ends_in_triggerer", schedule=None) as ends:
    one = submit_one(LONG)
    wait("plain", one, end_from_trigger=True, **BEGUN_BY_WORKER)
    wait("started", one, **WITHOUT_WORKER)
    picture = Asset(name="picture", uri="x-pictures://one")
    wait("outlets", one, end_from_trigger=True, outlets=[picture], **BEGUN_BY_WORKER)
    wait("started_with_outlets", one, outlets=[picture], **WITHOUT_WORKER)
    mapped_over = wait("mapped_over", one, **WITHOUT_WORKER)

    @task
    def use(url: str) -> str:
        return url

    use.expand(url=mapped_over.output)
