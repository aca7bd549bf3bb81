"""A sensor that needs no worker: when it does after all, and what Airflow is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.common.compat.sdk import get_listener_manager, hookimpl
from airflow.sdk import DAG, Asset, BaseOperator, XComArg, task, task_group
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import StartTriggerArgs, TaskSuccessEvent
from airflow.utils.state import TaskInstanceState

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import UNKNOWN_ID, Outcome
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors import prediction
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.submission.cancel import MARK, TIMEOUT
from tests.sensors.test_prediction import submit
from tests.tasks import TaskInstance, context_of

DAG_ID = "test"


@task
def make() -> str:
    return "p1"


def sensor(prediction_id: Any = "p1", **arguments: Any) -> QuickRouterPredictionSensor:
    """A sensor in the DAG at hand that is to begin in the triggerer."""
    chosen = {"start_from_trigger": True, **arguments}
    return QuickRouterPredictionSensor(task_id="wait", prediction_id=prediction_id, **chosen)


def args_of(**arguments: Any) -> StartTriggerArgs | None:
    with DAG(DAG_ID):
        found: StartTriggerArgs | None = sensor(**arguments).start_trigger_args
        return found


def kwargs_of(**arguments: Any) -> dict[str, Any]:
    args = args_of(**arguments)
    assert args is not None
    assert args.trigger_kwargs is not None
    return args.trigger_kwargs


def names(prediction_id: Any) -> dict[str, Any] | None:
    """What the trigger is told of the id, in a DAG with the tasks ``make`` and ``mapped``."""
    args = sensor(prediction_id).start_trigger_args
    if args is None:
        return None
    of_id = ("prediction_id", "from_task", "from_key")
    return {key: args.trigger_kwargs[key] for key in of_id if key in args.trigger_kwargs}


def test_the_scheduler_is_told_all_that_a_worker_would_hand_over() -> None:
    args = args_of(quickrouter_conn_id="c", poke_interval=3, timeout=50, cancel_on_kill=True)
    assert args is not None
    assert args.trigger_cls.endswith(".triggers.starting.QuickRouterStartTrigger")
    assert args.timeout == timedelta(seconds=110)
    assert args.trigger_kwargs == {
        "prediction_id": "p1",
        "quickrouter_conn_id": "c",
        "poll_interval": 3.0,
        "cancel_on": [TIMEOUT, MARK],
        "end_from_trigger": True,
        "push_xcom": True,
        "timeout": 50.0,
        "airflows_timeout": 110.0,
        "confirmed": False,
    }


@pytest.mark.parametrize(
    ("limits", "own", "airflows"),
    [
        ({"timeout": 50}, 50, 110),
        ({"timeout": timedelta(minutes=1)}, 60, 120),
        ({"timeout": 500, "execution_timeout": timedelta(seconds=100)}, 90, 100),
        ({"timeout": 50, "execution_timeout": timedelta(seconds=100)}, 50, 100),
        ({"timeout": 50, "execution_timeout": timedelta(seconds=1000)}, 50, 110),
        ({"timeout": 1e12}, 1e9, 1e9),
    ],
)
def test_the_limits_are_those_of_the_path_through_a_worker(
    limits: dict[str, Any], own: float, airflows: float
) -> None:
    arguments = kwargs_of(**limits)
    assert (arguments["timeout"], arguments["airflows_timeout"]) == (own, airflows)


def test_what_is_told_survives_airflows_database() -> None:
    with DAG(DAG_ID) as dag:
        sensor(make(), timeout=50)
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("wait")
    assert read.start_from_trigger is True
    args: Any = read.start_trigger_args
    assert args.timeout == timedelta(seconds=110)
    assert set(args.trigger_kwargs["__var"]) == set(kwargs_of(prediction_id="p1")) - {"prediction_id"} | {
        "from_task",
        "from_key",
    }


PULLED = {"from_task": "make", "from_key": "return_value"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("p1", {"prediction_id": "p1"}),
        ("{{ params.id }}", None),
        ("{{ ti.xcom_pull(task_ids='make') }}", None),
        ("{% if params.id %}p1{% endif %}", None),
        (None, None),
        (7, None),
    ],
)
def test_a_literal_id_begins_in_the_triggerer_and_a_template_on_a_worker(given: Any, expected: Any) -> None:
    with DAG(DAG_ID):
        make()
        assert names(given) == expected


def test_a_reference_to_an_unmapped_task_is_followed() -> None:
    with DAG(DAG_ID):
        assert names(make()) == PULLED
    with DAG(DAG_ID):
        made: Any = task(multiple_outputs=True)(make.function)()
        assert names(made["id"]) == {"from_task": "make", "from_key": "id"}
    with DAG(DAG_ID):
        operator = BaseOperator(task_id="make")
        assert names(XComArg(operator, "id")) == {"from_task": "make", "from_key": "id"}


def test_what_only_a_worker_can_resolve_goes_to_a_worker() -> None:
    with DAG(DAG_ID):
        assert names(make.partial().expand_kwargs([{}])) is None
    with DAG(DAG_ID):
        assert names(make().map(str)) is None


def test_a_mapped_sensor_goes_to_a_worker() -> None:
    with DAG(DAG_ID) as dag:
        QuickRouterPredictionSensor.partial(task_id="wait", start_from_trigger=True).expand(
            prediction_id=["p1", "p2"]
        )
    mapped: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).get_task("wait")
    assert mapped.is_mapped
    assert mapped.start_trigger_args is None


def test_a_sensor_in_a_mapped_group_goes_to_a_worker() -> None:
    @task_group
    def group(prediction_id: str) -> None:
        sensor(make())

    with DAG(DAG_ID) as dag:
        group.expand(prediction_id=["p1", "p2"])
    assert dag.get_task("group.wait").start_trigger_args is None


@pytest.mark.parametrize("name", ["on_execute_callback", "pre_execute"])
def test_what_is_to_happen_first_happens_on_a_worker(name: str) -> None:
    assert args_of(**{name: lambda context: None}) is None


def test_a_subclass_that_begins_otherwise_begins_on_a_worker() -> None:
    class Other(QuickRouterPredictionSensor):
        def execute(self, context: Any) -> Any:
            return super().execute(context)

    with DAG(DAG_ID):
        other = Other(task_id="wait", prediction_id="p1", start_from_trigger=True)
    assert other.start_trigger_args is None


def test_before_airflow_3_3_it_goes_to_a_worker_and_still_defers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "AIRFLOW_STARTS", False)
    with DAG(DAG_ID):
        older = sensor()
    assert older.start_trigger_args is None
    assert not older.start_from_trigger
    assert older.deferrable
    assert older.ends_in_triggerer


def test_a_sensor_that_does_not_ask_for_it_goes_to_a_worker() -> None:
    assert args_of(start_from_trigger=False, deferrable=True) is None
    assert QuickRouterPredictionSensor.start_trigger_args is None


def test_a_sensor_without_a_dag_has_nothing_to_tell() -> None:
    assert sensor().start_trigger_args is None


class Finishing(QuickRouterPredictionSensor):
    """Does more with the output."""

    def execute_complete(self, context: Any, event: Any = None) -> list[Any]:
        return [*super().execute_complete(context, event), "more"]


def _with(**arguments: Any) -> Callable[[type[QuickRouterPredictionSensor]], Any]:
    return lambda kind: kind(task_id="wait", prediction_id="p1", start_from_trigger=True, **arguments)


def _later(kind: type[QuickRouterPredictionSensor]) -> Any:
    made = _with()(kind)
    made.outlets.append(Asset("picture"))
    return made


def _mapped_over(kind: type[QuickRouterPredictionSensor]) -> Any:
    made = _with()(kind)
    make.override(task_id="each").partial().expand_kwargs(made.output)
    return made


def _overridden(kind: type[QuickRouterPredictionSensor]) -> Any:
    return _with()(Finishing)


@pytest.mark.parametrize(
    "build",
    [
        _with(outlets=[Asset("picture")]),
        _with(on_success_callback=lambda context: None),
        _with(post_execute=lambda context, result: None),
        _with(output_path="file:///tmp/pictures"),
        _later,
        _mapped_over,
        _overridden,
    ],
    ids=["outlets", "callback", "hook", "files", "outlets later", "mapped over", "subclass"],
)
def test_what_is_to_happen_after_a_success_happens_on_a_worker(
    gateway: Sandbox, build: Callable[..., Any]
) -> None:
    with DAG(DAG_ID):
        made = build(QuickRouterPredictionSensor)
    assert made.start_trigger_args.trigger_kwargs["end_from_trigger"] is False
    made.prediction_id = submit(processing=30)
    assert not deferred(made).end_from_trigger


def test_a_worker_hands_over_whether_the_triggerer_is_to_end_the_task(gateway: Sandbox) -> None:
    prediction_id = submit(processing=30)
    for asked in (True, False):
        with DAG(DAG_ID):
            made = sensor(prediction_id, start_from_trigger=False, deferrable=True, end_from_trigger=asked)
        assert deferred(made).end_from_trigger is asked
    with DAG(DAG_ID):
        assert deferred(sensor(prediction_id, do_xcom_push=False)).push_xcom is False


class Listener:
    """A plugin that wants to hear of tasks."""

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None: ...


def test_where_a_plugin_listens_workers_begin_and_end_the_task(gateway: Sandbox) -> None:
    listeners, listener = get_listener_manager(), Listener()
    listeners.add_listener(listener)
    try:
        with DAG(DAG_ID) as dag:
            made = sensor(submit(processing=30))
        DagBag(collect_dags=False).bag_dag(dag)
        assert made.start_trigger_args is None
        assert not deferred(made).end_from_trigger
    finally:
        listeners.pm.unregister(listener)


def deferred(made: QuickRouterPredictionSensor) -> Any:
    with pytest.raises(TaskDeferred) as raised:
        made.execute(context_of(made, TaskInstance()))
    return raised.value.trigger


def test_after_an_api_error_there_are_manifest_and_link(gateway: Sandbox) -> None:
    error = errors.AuthenticationError("the key is refused", status=401)
    event = Outcome.of_error("p1", error).to_payload("")
    with DAG(DAG_ID):
        made, task_instance = sensor(), TaskInstance()
    with pytest.raises(AirflowFailException) as failed:
        made.start_complete(context_of(made, task_instance), event)
    assert isinstance(failed.value, errors.AuthenticationError)
    assert task_instance.xcoms["prediction"]["status"] == "unknown"
    assert "p1" in task_instance.xcoms["_link_QuickRouterPredictionLink"]


def test_after_a_wrong_id_there_is_no_manifest(gateway: Sandbox) -> None:
    event = Outcome.of_error(UNKNOWN_ID, errors.InvalidInputError("no id")).to_payload("")
    with DAG(DAG_ID):
        made, task_instance = sensor(None), TaskInstance()
    with pytest.raises(AirflowFailException, match="no id"):
        made.start_complete(context_of(made, task_instance), event)
    assert task_instance.xcoms == {}


@pytest.mark.parametrize("word", [TaskInstanceState.SUCCESS, "success"])
def test_dag_test_goes_on_after_the_event_that_ends_a_task(gateway: Sandbox, word: Any) -> None:
    prediction_id, task_instance = submit(processing=0), TaskInstance()
    with DAG(DAG_ID):
        made = sensor(prediction_id)
    assert TaskSuccessEvent().payload == "success"
    output = made.execute_complete(context_of(made, task_instance), word)
    assert output == [f"{gateway.url}/files/{prediction_id}/out-0.png"]
    assert task_instance.xcoms["prediction"]["output"] == output


def test_the_word_success_alone_makes_no_success(gateway: Sandbox) -> None:
    with DAG(DAG_ID):
        made = sensor(submit(never=True))
    with pytest.raises(AirflowException, match="event cannot be understood"):
        made.execute_complete(context_of(made, TaskInstance()), "success")
