"""Who takes part: a trigger of a provider, its connection, and what its event must say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from benchmarks.waiting.plan import ROUTES, Plan, prediction_id

PROVIDERS = "airflow.providers"
TRIGGERS = "benchmarks.waiting.triggers"
DAY = 86_400.0
Arguments = dict[str, Any]


def nothing(plan: Plan) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    ``name``: for the command line. ``title``: for the table. ``arguments``: of the trigger, for
    a number and a plan. ``connection``: fields of it, for a plan. ``good``: whether the payload
    of an event says that the wait succeeded. ``package``: whose version the title is given.
    ``prepare``: done in the client's process first. ``polls``: False if it never ends.
    """

    name: str
    title: str
    classpath: str
    arguments: Callable[[int, Plan], Arguments]
    connection: Callable[[Plan], Arguments] = lambda plan: {}
    good: Callable[[Any], bool] = lambda payload: payload.get("status") == "succeeded"
    package: str = ""
    prepare: Callable[[Plan], None] = nothing
    polls: bool = True

    def environment(self, plan: Plan) -> Mapping[str, str]:
        """Return the connection ``bench`` as Airflow finds it in the environment."""
        return {"AIRFLOW_CONN_BENCH": json.dumps(self.connection(plan))}


def http_arguments(number: int, plan: Plan) -> Arguments:
    """Wait until the address is there."""
    endpoint = ROUTES["http"].format(id=number)
    return {"endpoint": endpoint, "http_conn_id": "bench", "poke_interval": plan.interval}


def dbt_arguments(number: int, plan: Plan) -> Arguments:
    """Wait as ``DbtCloudRunJobOperator`` does."""
    times = {"end_time": time.time() + DAY, "poll_interval": plan.interval}
    return {"conn_id": "bench", "run_id": number, "account_id": 1, **times}


def dbt_prepare(plan: Plan) -> None:
    """Let it speak plain HTTP, if the others do: it knows no connection without TLS."""
    if plan.bundle:
        return
    hook = import_module(f"{PROVIDERS}.dbt.cloud.hooks.dbt").DbtCloudHook
    original = hook.get_request_url_params

    def plain(*args: Any, **kwargs: Any) -> Any:
        url, params = original(*args, **kwargs)
        return url.replace("https://", "http://", 1), params

    hook.get_request_url_params = staticmethod(plain)


def databricks_arguments(number: int, plan: Plan) -> Arguments:
    """Wait as ``DatabricksSubmitRunOperator`` does."""
    return {
        "run_id": number,
        "databricks_conn_id": "bench",
        "polling_period_seconds": plan.interval,
        "run_page_url": f"{plan.url}/run/{number}",
    }


def databricks_connection(plan: Plan) -> Arguments:
    """Return the parts of the address, as it wants them."""
    parts = urlsplit(plan.url)
    address = {"host": parts.hostname, "port": parts.port, "schema": parts.scheme}
    return {"conn_type": "databricks", "password": "key", **address}


def openai_arguments(number: int, plan: Plan) -> Arguments:
    """Wait as ``OpenAITriggerBatchOperator`` does."""
    times = {"poll_interval": plan.interval, "timeout": DAY}
    return {"conn_id": "bench", "batch_id": f"batch_{number}", **times}


def our_arguments(number: int, plan: Plan) -> Arguments:
    """Wait since a day, so that the pause between two polls no longer grows."""
    return {
        "prediction_id": prediction_id(number),
        "quickrouter_conn_id": "bench",
        "poll_interval": plan.interval,
        "started_at": time.time() - DAY,
    }


def our_connection(plan: Plan) -> Arguments:
    """No limit of requests: the others know none."""
    extra = {"requests_per_minute": 0, **({"verify": plan.bundle} if plan.bundle else {})}
    return {"conn_type": "quickrouter", "host": plan.url, "password": "key", "extra": extra}


def shared_arguments(number: int, plan: Plan) -> Arguments:
    """Return the address of the same answers as ours."""
    route = ROUTES["quickrouter"].format(id=prediction_id(number))
    return {"url": plan.url + route, "interval": plan.interval}


def plain_connection(kind: str, suffix: str = "") -> Callable[[Plan], Arguments]:
    """Return a connection of the address and a key."""
    return lambda plan: {"conn_type": kind, "host": plan.url + suffix, "password": "key"}


CONTENDERS = (
    Contender(
        "noop",
        "a trigger that does nothing",
        f"{TRIGGERS}.NoOpTrigger",
        lambda number, plan: {"number": number},
        polls=False,
    ),
    Contender(
        "http",
        "HttpSensorTrigger",
        f"{PROVIDERS}.http.triggers.http.HttpSensorTrigger",
        http_arguments,
        plain_connection("http"),
        lambda payload: payload is True,
        "apache-airflow-providers-http",
    ),
    Contender(
        "dbt",
        "DbtCloudRunJobTrigger",
        f"{PROVIDERS}.dbt.cloud.triggers.dbt.DbtCloudRunJobTrigger",
        dbt_arguments,
        lambda plan: {
            "conn_type": "dbt_cloud",
            "host": urlsplit(plan.url).netloc,
            "login": "1",
            "password": "key",
        },
        lambda payload: payload["status"] == "success",
        "apache-airflow-providers-dbt-cloud",
        dbt_prepare,
    ),
    Contender(
        "databricks",
        "DatabricksExecutionTrigger",
        f"{PROVIDERS}.databricks.triggers.databricks.DatabricksExecutionTrigger",
        databricks_arguments,
        databricks_connection,
        lambda payload: "SUCCESS" in payload["run_state"],
        "apache-airflow-providers-databricks",
    ),
    Contender(
        "openai",
        "OpenAIBatchTrigger",
        f"{PROVIDERS}.openai.triggers.openai.OpenAIBatchTrigger",
        openai_arguments,
        plain_connection("openai", "/v1"),
        lambda payload: payload["status"] == "success",
        "apache-airflow-providers-openai",
    ),
    Contender(
        "session",
        "one shared aiohttp session, a task a wait",
        f"{TRIGGERS}.SharedSessionTrigger",
        shared_arguments,
    ),
    Contender(
        "heap", "one shared aiohttp session, a loop over a heap", f"{TRIGGERS}.HeapTrigger", shared_arguments
    ),
    Contender(
        "quickrouter",
        "QuickRouterPredictionTrigger",
        "airflow_provider_quickrouter.triggers.prediction.QuickRouterPredictionTrigger",
        our_arguments,
        our_connection,
        lambda payload: payload["reason"] == "succeeded",
        "airflow-provider-quickrouter",
    ),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}
