from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.test_run import create_of, operator
from tests.tasks import TaskInstance, context_of


@pytest.mark.parametrize(
    ("arguments", "header"),
    [
        ({}, "7500s"),
        ({"timeout": 100}, "400s"),
        ({"timeout": timedelta(minutes=5)}, "600s"),
        ({"execution_timeout": timedelta(seconds=1000)}, "1290s"),
        ({"execution_timeout": timedelta(seconds=50)}, "345s"),
        ({"timeout": 100, "execution_timeout": timedelta(hours=1)}, "400s"),
        ({"cancel_after": 90}, "90s"),
        ({"cancel_after": timedelta(minutes=2)}, "120s"),
        ({"cancel_after": None}, None),
    ],
)
def test_the_servers_own_limit_lies_behind_the_tasks(
    gateway: Sandbox, arguments: dict[str, Any], header: str | None
) -> None:
    with DAG("test"):
        task = operator({"never": True}, deferrable=True, **arguments)()
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, TaskInstance()))
    assert create_of(gateway).headers.get("cancel-after") == header


def test_limits_may_be_timedeltas() -> None:
    limits: dict[str, Any] = {n: timedelta(minutes=1) for n in ("timeout", "start_timeout", "poll_interval")}
    with DAG("test"):
        task = operator(**limits)()
    assert [getattr(task, name) for name in limits] == [60, 60, 60]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"timeout": 0}, r"timeout: must be a number of seconds .*, got 0"),
        ({"timeout": "1h"}, r"timeout: must be a number of seconds .*, got '1h'"),
        ({"timeout": timedelta(0)}, "timeout: "),
        ({"timeout": float("inf")}, r"timeout: must be a number of seconds .*, got inf"),
        ({"timeout": float("nan")}, r"timeout: must be a number of seconds .*, got nan"),
        ({"timeout": True}, r"timeout: must be a number of seconds .*, got True"),
        ({"timeout": None}, r"timeout: must be a number of seconds .*, got None"),
        ({"timeout": 1e15}, r"timeout: must be a number of seconds .*, got 1000000000000000"),
        ({"poll_interval": None}, r"poll_interval: must be a number of seconds .*, got None"),
        ({"start_timeout": 0}, r"start_timeout: must be a number of seconds .*, got 0"),
        ({"start_timeout": -1}, r"start_timeout: must be a number of seconds .*, got -1"),
        ({"poll_interval": 0}, r"poll_interval: must be a number of seconds .*, got 0"),
        ({"on_moderation": "ignore"}, "on_moderation: 'ignore' is none of 'fail', 'skip'"),
        ({"on_uncertain": "retry"}, "on_uncertain: 'retry' is none of 'fail', 'resubmit'"),
        ({"cancel_after": 1}, r"cancel_after: must be a number of seconds .*, got 1"),
        ({"cancel_after": "soon"}, r"cancel_after: must be a number of seconds .*, got 'soon'"),
        ({"version": None}, "exactly one of version="),
        ({"deployment": "acme/shop"}, "exactly one of version="),
        ({"wait": 0}, "wait: must be a whole number of seconds from 1 to 60, .*, got 0"),
        ({"wait": 61}, "wait: must be a whole number of seconds from 1 to 60, .*, got 61"),
        ({"wait": "5"}, "wait: must be a whole number of seconds from 1 to 60, .*, got '5'"),
        ({"wait": 30, "timeout": 20}, "from 1 to 20, and within the limits of the task, got 30"),
        ({"wait": 30, "execution_timeout": timedelta(seconds=30)}, "from 1 to 27, and within"),
        ({"input": {"width": 700}}, r"input\.width: 700"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with DAG("test"), pytest.raises(errors.InvalidInputError, match=says):
        operator(**arguments)()


@pytest.mark.parametrize(
    "arguments",
    [{"input": "{{ params.input }}"}, {"version": "{{ params.version }}"}, {"start_timeout": None}],
)
def test_what_is_not_known_yet_is_left_for_later(arguments: dict[str, Any]) -> None:
    with DAG("test"):
        operator(**arguments)()


def test_a_mapped_task_has_the_same_limits(gateway: Sandbox) -> None:
    with DAG("test"):
        mapped = QuickRouterRunPredictionOperator.partial(
            task_id="run",
            version=STABLE_DIFFUSION,
            timeout=timedelta(seconds=30),
            cancel_after="deadline",
            deferrable=True,
        ).expand(input=[{"prompt": "a cat"}])
    task = mapped.unmap({"input": {"prompt": "a cat"}})
    with pytest.raises(TaskDeferred):
        task.execute(context_of(task, TaskInstance()))
    assert create_of(gateway).headers["cancel-after"] == "330s"


def test_each_argument_may_come_from_the_dags_defaults() -> None:
    defaults: dict[str, Any] = {
        "timeout": 40,
        "start_timeout": 20,
        "cancel_after": "deadline",
        "poll_interval": 3,
        "deferrable": True,
        "on_moderation": "skip",
        "wait": 20,
        "on_uncertain": "resubmit",
        "durable": False,
        "cancel_on_kill": False,
        "quickrouter_conn_id": "another",
    }
    with DAG("test", default_args=defaults):
        task = operator()()
    assert {name: getattr(task, name) for name in defaults} == defaults
