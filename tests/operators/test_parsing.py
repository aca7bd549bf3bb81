"""Mistakes in a DAG file: what is constant is checked when the file is parsed, in each operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.models import SDXL, StableDiffusionInput
from airflow_provider_quickrouter.decorators.pictures import quickrouter_pictures
from airflow_provider_quickrouter.decorators.quickrouter import quickrouter_task
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterBatchPredictionOperator,
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.faults.dags import in_dag
from tests.tasks import TaskInstance, context_of

CAT = {"prompt": "a cat"}
FOLDER = "s3://bucket/pictures"


def cat(breed: str = "Siamese") -> dict[str, Any]:
    return {"prompt": f"a {breed} cat"}


def decorated(**arguments: Any) -> Any:
    make: Any = quickrouter_task(version=SDXL, **arguments)
    return make(cat)()


def task_of(kind: type, **usual: Any) -> Callable[..., Any]:
    return lambda **arguments: kind(**{"task_id": "run", **usual, **arguments})


submit = task_of(QuickRouterSubmitPredictionOperator, version=SDXL, input=CAT)
run = task_of(QuickRouterRunPredictionOperator, version=SDXL, input=CAT)
batch = task_of(QuickRouterBatchPredictionOperator, version=SDXL, inputs=[CAT], output_path=f"{FOLDER}.jsonl")
sensor = task_of(QuickRouterPredictionSensor, prediction_id="p1")
store = task_of(QuickRouterToObjectStorageOperator, path=FOLDER, prediction_id="p1")
run_mapped = task_of(QuickRouterRunPredictionOperator.partial, version=SDXL)  # type: ignore[arg-type]


def group(**arguments: Any) -> Any:
    return quickrouter_pictures(**{"version": SDXL, "input": CAT, "path": FOLDER, **arguments})


MAKERS = {
    "submit": submit,
    "run": run,
    "batch": batch,
    "sensor": sensor,
    "store": store,
    "group": group,
    "decorated": decorated,
    "mapped function": lambda **arguments: decorated(mapped=True, **arguments),
    "partial": run_mapped,
}


def refusal(make: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(InvalidInputError) as refused:
        in_dag(lambda: make(**arguments))
    return str(refused.value)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_unknown_argument_is_refused_with_the_one_that_is_meant(make: Callable[..., Any]) -> None:
    said = refusal(make, quickrouter_con_id="another")
    assert said == "unexpected argument 'quickrouter_con_id': did you mean 'quickrouter_conn_id'?"


@pytest.mark.parametrize(
    ("make", "given", "meant"),
    [
        (submit, "verison", "version"),
        (run, "output_pth", "output_path"),
        (run, "retires", "retries"),
        (batch, "input", "inputs"),
        (sensor, "poke_intervall", "poke_interval"),
        (store, "max_byte", "max_bytes"),
        (group, "pth", "path"),
        (decorated, "on_modertion", "on_moderation"),
        (submit, "conn_id", "quickrouter_conn_id"),
    ],
)
def test_each_kind_of_argument_is_known(make: Callable[..., Any], given: str, meant: str) -> None:
    assert refusal(make, **{given: 1}) == f"unexpected argument {given!r}: did you mean {meant!r}?"


def test_a_misspelled_required_argument_is_named_rather_than_missed() -> None:
    given: dict[str, Any] = {"task_id": "run", "version": SDXL, "inptu": CAT}
    assert "did you mean 'input'?" in refusal(lambda: QuickRouterRunPredictionOperator(**given))
    said = refusal(lambda: quickrouter_pictures(inptu=CAT, path=FOLDER, version=SDXL))
    assert "did you mean 'input'?" in said


@pytest.mark.parametrize("make", [submit, run, group, decorated])
def test_a_field_of_the_model_beside_the_input_is_sent_there(make: Callable[..., Any]) -> None:
    said = refusal(make, promt="a cat")
    assert said == "unexpected argument 'promt': did you mean 'prompt' in input={...}?"


def test_an_argument_that_resembles_none_is_refused() -> None:
    assert refusal(run, xyzzy_42=1) == "unexpected argument 'xyzzy_42': leave it out."


def test_an_authors_subclass_may_take_arguments_that_no_signature_names() -> None:
    class Own(QuickRouterRunPredictionOperator):
        def __init__(self, **kwargs: Any) -> None:
            self.own = kwargs.pop("timeot")
            super().__init__(**kwargs)

    assert in_dag(lambda: Own(task_id="run", version=SDXL, input=CAT, timeot=3)).own == 3


def test_default_args_that_belong_to_other_operators_are_ignored() -> None:
    in_dag(run, default_args={"bash_command": "true", "retries": 3})


BROKEN = "{{ ds }"


@pytest.mark.parametrize(
    ("make", "arguments", "field"),
    [
        (submit, {"input": {"prompt": BROKEN}}, "input.prompt"),
        (submit, {"input": {"prompt": "x", "extra": [{"a": BROKEN}]}}, "input.extra.a"),
        (submit, {"input": StableDiffusionInput(prompt=BROKEN)}, "input.prompt"),
        (submit, {"input": BROKEN}, "input"),
        (submit, {"version": BROKEN}, "version"),
        (submit, {"version": None, "model": BROKEN}, "model"),
        (submit, {"version": None, "deployment": BROKEN}, "deployment"),
        (submit, {"quickrouter_conn_id": BROKEN}, "quickrouter_conn_id"),
        (run, {"input": {"prompt": BROKEN}}, "input.prompt"),
        (run, {"output_path": f"{FOLDER}/{BROKEN}"}, "output_path"),
        (batch, {"inputs": [{"prompt": BROKEN}]}, "inputs.prompt"),
        (batch, {"output_path": f"{FOLDER}/{BROKEN}"}, "output_path"),
        (sensor, {"prediction_id": BROKEN}, "prediction_id"),
        (sensor, {"output_path": f"{FOLDER}/{BROKEN}"}, "output_path"),
        (store, {"path": f"{FOLDER}/{BROKEN}"}, "path"),
        (store, {"prediction_id": None, "output": BROKEN}, "output"),
        (store, {"name": f"{BROKEN}/{{n}}.{{ext}}"}, "name"),
        (group, {"path": f"{FOLDER}/{BROKEN}"}, "path"),
    ],
)
def test_a_template_with_broken_braces_is_refused(
    make: Callable[..., Any], arguments: dict[str, Any], field: str
) -> None:
    said = refusal(make, **arguments)
    assert said.startswith(f"{field}: ")
    assert "is not a template (unexpected '}'). Close each {{ with }}" in said


def test_a_broken_template_as_argument_of_a_decorated_function_is_refused() -> None:
    make: Any = quickrouter_task(version=SDXL)
    assert refusal(lambda: make(cat)(BROKEN)).startswith("op_args: ")
    assert refusal(lambda: make(cat)(breed=BROKEN)).startswith("op_kwargs.breed: ")


@pytest.mark.parametrize(
    "prompt",
    ["{{ ds }}", "{% if ds %}a{% endif %}", "{a|b}", "{% raw %}{{{% endraw %}", "{{ x | my_filter }}"],
)
def test_a_good_template_and_single_braces_are_left_alone(prompt: str) -> None:
    in_dag(lambda: submit(input={"prompt": prompt}), user_defined_filters={"my_filter": str})


def test_a_template_may_use_what_its_dag_adds_to_jinja() -> None:
    given = {"prompt": "{% for n in [1, 2] %}{% break %}{% endfor %}"}
    assert "input" in refusal(submit, input=given)
    in_dag(lambda: submit(input=given), jinja_environment_kwargs={"extensions": ["jinja2.ext.loopcontrols"]})


@pytest.mark.parametrize("group_id", [None, "group"])
def test_data_of_a_mapped_task_may_look_like_a_broken_template(
    gateway: Sandbox, group_id: str | None
) -> None:
    def make() -> Any:
        return QuickRouterSubmitPredictionOperator.partial(task_id="run", version=SDXL).expand(input=[CAT])

    with DAG("test", schedule=None):
        if group_id:
            with TaskGroup(group_id):
                mapped = make()
        else:
            mapped = make()
    task = mapped.unmap({"input": {"prompt": "{{ not a template"}})
    task.execute(context_of(task, TaskInstance()))
    assert gateway.predictions[0]["input"] == {"prompt": "{{ not a template"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "pictures",
            "is a relative path, which is another folder on each worker; give a f",
        ),
        ("pictures/{{ ds }}", "is a relative path"),
        (
            "s33://bucket/pictures",
            "needs a filesystem for 's33'; install the provider that brings it, or correct",
        ),
        ("s33://bucket/{{ ds }}", "needs a filesystem for 's33'"),
        ("s3://bucket/{ ds }", "has single braces; a template has two, {{ ds }}, and in an f-string four"),
    ],
)
@pytest.mark.parametrize(
    ("make", "argument"),
    [(run, "output_path"), (batch, "output_path"), (sensor, "output_path"), (store, "path"), (group, "path")],
    ids=["run", "batch", "sensor", "store", "group"],
)
def test_a_path_that_no_storage_has_is_refused(
    make: Callable[..., Any], argument: str, path: str, says: str
) -> None:
    said = refusal(make, **{argument: path})
    assert said.startswith(f"{argument}: {path!r} ")
    assert says in said


@pytest.mark.parametrize("path", ["S3://bucket/x", "gs://conn@bucket/x", "{{ var.value.root }}/x", "/data/x"])
def test_common_and_unknown_places_are_left_to_the_worker(path: str) -> None:
    in_dag(lambda: run(output_path=path))


def test_a_file_system_that_the_dag_file_attaches_is_known() -> None:
    attach("memory", fs=MemoryFileSystem())
    in_dag(lambda: run(output_path="memory://bucket/x"))


def several(count: Any = 4) -> Any:
    return submit(task_id="submit", input={"prompt": "a cat", "num_outputs": count})


def waits_for(submitted: Any) -> Any:
    return sensor(task_id="wait", prediction_id=submitted.output)


ONE_NAME = "{prediction_id}.{ext}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: store(prediction_id=several().output, name=ONE_NAME),
        lambda: store(prediction_id=waits_for(several()).output, name=ONE_NAME),
        lambda: store(prediction_id=None, output=waits_for(several()).output, name=ONE_NAME),
        lambda: store(
            prediction_id=None,
            output=run(task_id="make", input=StableDiffusionInput(num_outputs=4)).output,
            name=ONE_NAME,
        ),
        lambda: group(input={"prompt": "a cat", "num_outputs": 4}, name=ONE_NAME),
    ],
)
def test_one_name_for_several_outputs_is_refused(make: Callable[[], Any]) -> None:
    assert refusal(make) == (
        f"name: '{ONE_NAME}' would call 4 files by one name; add {{n}}, the number of the file, from 0."
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: store(prediction_id=several(1).output, name=ONE_NAME),
        lambda: store(prediction_id=several("{{ params.n }}").output, name=ONE_NAME),
        lambda: store(prediction_id=several().output, name="{sha256}.{ext}"),
        lambda: store(prediction_id=several().output, name="{{ params.name }}"),
        lambda: store(name=ONE_NAME),
        lambda: store(prediction_id=decorated(wait=False), name=ONE_NAME),
    ],
)
def test_one_name_is_accepted_where_several_outputs_are_not_known(make: Callable[[], Any]) -> None:
    in_dag(make)


def test_the_paths_of_a_dag_on_this_machine_work(gateway: Sandbox, tmp_path: Path) -> None:
    task = in_dag(lambda: batch(output_path=f"file://{tmp_path}/results.jsonl", deferrable=False))
    assert task.execute(context_of(task, TaskInstance()))["succeeded"] == 1
