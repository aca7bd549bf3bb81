"""Files of a storage in an operator's input: from the DAG's file to the create and its retry."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from airflow.sdk.serde import deserialize, serialize
from airflow.serialization.helpers import serialize_template_field
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SD_IMG2IMG, SDImg2ImgInput
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.conftest import cancels, first_try
from tests.operators.test_input_files import LARGE, PNG, URI
from tests.tasks import TaskInstance, context_of

UNKNOWN = "someone/something"


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    return path


def task(input: Any, version: str = SD_IMG2IMG, **more: Any) -> QuickRouterSubmitPredictionOperator:
    with DAG("test"):
        return QuickRouterSubmitPredictionOperator(task_id="run", version=version, input=input, **more)


def sent(gateway: Sandbox) -> list[Any]:
    return [body["input"] for body in (e.body for e in gateway.requests) if isinstance(body, dict)]


@pytest.mark.parametrize("as_object", [False, True])
def test_a_path_is_sent_as_its_content_and_shown_as_a_path(
    gateway: Sandbox, cat: Path, as_object: bool
) -> None:
    text = f"file://{cat}"
    made = task({"image": ObjectStoragePath(text) if as_object else text, "prompt": text})
    made.render_template_fields(context_of(made, TaskInstance()))
    assert serialize_template_field(made.input, "input") == {"image": text, "prompt": text}
    made.execute(context_of(made, TaskInstance()))
    assert sent(gateway) == [{"image": URI, "prompt": text}]
    assert serialize_template_field(made.input, "input") == {"image": text, "prompt": text}


def test_a_path_that_was_not_rendered_is_sent_as_its_content(gateway: Sandbox, cat: Path) -> None:
    made = task({"image": ObjectStoragePath(f"file://{cat}"), "prompt": "a cat"})
    made.execute(context_of(made, TaskInstance()))
    assert sent(gateway) == [{"image": URI, "prompt": "a cat"}]


@pytest.mark.parametrize("rendered", [False, True])
def test_a_models_input_takes_a_path(gateway: Sandbox, cat: Path, rendered: bool) -> None:
    path: Any = ObjectStoragePath(f"file://{cat}")
    made = task(SDImg2ImgInput(image=path, prompt="{{ folder }}"))
    if rendered:
        context: Any = {**context_of(made, TaskInstance()), "folder": "a cat"}
        made.render_template_fields(context)
        shown = serialize_template_field(made.input, "input")
        assert shown == {"image": str(path), "prompt": "a cat"}
    made.execute(context_of(made, TaskInstance()))
    assert sent(gateway) == [{"image": URI, "prompt": "a cat" if rendered else "{{ folder }}"}]


@pytest.mark.parametrize(
    "given",
    [
        {"image": "s3://b/c.png", "prompt": "{{ nobody }}"},
        {"image": ObjectStoragePath("s3://b/c.png")},
        SDImg2ImgInput(image="https://x.example/c.png", prompt="{{ nobody }}"),
        "{{ params.input }}",
    ],
    ids=["dict", "path", "model", "template"],
)
def test_the_task_keeps_the_very_object_and_does_not_render_what_came_from_xcom(given: Any) -> None:
    made = task(given)
    assert made.input is given
    # Airflow renders a mapped task so: what came from XCom is in the set.
    fields, context = made.template_fields, context_of(made, TaskInstance())
    made._do_render_template_fields(made, fields, context, made.get_template_env(), {id(given)})
    assert made.input is given


def test_a_path_in_a_field_of_another_name_is_a_file_if_it_is_an_object(gateway: Sandbox, cat: Path) -> None:
    path = ObjectStoragePath(f"file://{cat}")
    made = task({"style": path, "styles": [path], "text": str(path)}, UNKNOWN)
    made.render_template_fields(context_of(made, TaskInstance()))
    made.execute(context_of(made, TaskInstance()))
    assert sent(gateway) == [{"style": URI, "styles": [URI], "text": str(path)}]


def test_a_dag_with_paths_in_its_input_can_be_stored(cat: Path) -> None:
    path = ObjectStoragePath(f"file://{cat}")
    made = task({"image": path, "style": path}, UNKNOWN)
    stored = json.loads(json.dumps(DagSerialization.to_dict(made.dag)))
    kept: Any = DagSerialization.from_dict(stored).get_task("run")
    assert kept.input["image"]["path"] == str(path)
    assert kept.input["style"]["path"] == str(path)


def test_a_dag_with_a_models_input_can_be_stored_and_is_the_same_at_each_parse() -> None:
    given = SDImg2ImgInput(image="https://x.example/cat.png", prompt="{{ params.prompt }}")
    first, second = (json.dumps(DagSerialization.to_dict(task(given).dag)) for _ in range(2))
    assert first == second
    kept: Any = DagSerialization.from_dict(json.loads(first)).get_task("run")
    assert "{{ params.prompt }}" in str(kept.input)


def test_a_path_may_be_a_template(gateway: Sandbox, cat: Path) -> None:
    made = task({"image": "file://{{ folder }}/cat.png", "prompt": "{{ folder }}"})
    context: Any = {**context_of(made, TaskInstance()), "folder": str(cat.parent)}
    made.render_template_fields(context)
    made.execute(context)
    assert sent(gateway) == [{"image": URI, "prompt": str(cat.parent)}]


def test_a_path_may_come_from_xcom(gateway: Sandbox, cat: Path) -> None:
    stored = json.loads(json.dumps(serialize(ObjectStoragePath(f"file://{cat}"))))

    class Upstream:
        def resolve(self, context: Any) -> Any:
            return deserialize(stored)

    made = task({"image": Upstream(), "prompt": "a cat"})
    made.render_template_fields(context_of(made, TaskInstance()))
    made.execute(context_of(made, TaskInstance()))
    assert sent(gateway) == [{"image": URI, "prompt": "a cat"}]


@pytest.mark.parametrize(
    ("input", "says"),
    [
        ({"image": "/tmp/cat.png"}, r"input\.image: '/tmp/cat\.png': a file is given as"),
        ({"image": "sftp://me:hunter2@host/cat.png"}, "holds no password"),
        ({"image": "s3://b/c.png", "num_outputs": 9}, r"input\.num_outputs: 9"),
        ({"image": "s3://b/c.png", "prompt": ObjectStoragePath("s3://b/c")}, r"input\.prompt"),
    ],
)
def test_what_is_wrong_is_said_when_the_dag_is_parsed(input: Any, says: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=says):
        task(input)


def test_a_retry_takes_the_prediction_up_while_the_file_is_the_same(gateway: Sandbox, cat: Path) -> None:
    def run(task_instance: TaskInstance) -> str:
        made = QuickRouterRunPredictionOperator(
            task_id="run",
            version=SD_IMG2IMG,
            input={"image": f"file://{cat}", "sandbox": {"never": True}},
            deferrable=True,
        )
        with pytest.raises(TaskDeferred) as deferred:
            made.execute(context_of(made, task_instance))
        return str(deferred.value.trigger.prediction_id)

    lost = first_try()
    first = run(lost)
    assert run(lost.again()) == first
    assert gateway.creates == 1

    cat.write_bytes(PNG + b", another")
    another = run(lost.again())
    assert (gateway.creates, cancels(gateway)) == (2, [first])
    assert another != first
    assert base64.b64decode(sent(gateway)[1]["image"].partition(",")[2]) == cat.read_bytes()


def test_a_retry_resumes_the_prediction_of_a_presigned_url_while_the_file_is_the_same(
    gateway: Sandbox, s3: str
) -> None:
    def run(task_instance: TaskInstance, timeout: float) -> str:
        made = QuickRouterRunPredictionOperator(
            task_id="run",
            version=SD_IMG2IMG,
            input={"image": f"{s3}/cat.png", "sandbox": {"never": True}},
            timeout=timeout,
            deferrable=True,
        )
        with pytest.raises(TaskDeferred) as deferred:
            made.execute(context_of(made, task_instance))
        return str(deferred.value.trigger.prediction_id)

    ObjectStoragePath(f"{s3}/cat.png").write_bytes(LARGE)
    lost = first_try()
    first = run(lost, 600)
    assert run(lost.again(), 700) == first
    assert gateway.creates == 1
    (url,) = (given["image"] for given in sent(gateway))
    limit = int(parse_qs(urlsplit(url).query)["Expires"][0]) - time.time()
    assert 600 + 300 < limit <= 600 + 300 + 300, "the server's limit, and the margin for clocks"
    assert lost.store is not None
    assert "Signature" not in repr([lost.store.values, lost.xcoms])

    ObjectStoragePath(f"{s3}/cat.png").write_bytes(LARGE + b"another")
    assert run(lost.again(), 600) != first
    assert (gateway.creates, cancels(gateway)) == (2, [first])


def test_a_file_that_is_not_there_fails_for_good_before_anything_is_paid(gateway: Sandbox) -> None:
    made = task({"image": "file:///nowhere/cat.png"})
    with pytest.raises(AirflowFailException, match=r"input\.image: file:///nowhere/cat\.png does not exist"):
        made.execute(context_of(made, TaskInstance()))
    assert gateway.requests == []


def test_trouble_of_the_storage_is_left_to_a_retry_before_anything_is_paid(
    gateway: Sandbox, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times_out(*_: Any, **__: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.info", times_out)
    made, lost = task({"image": f"file://{cat}"}), first_try()
    with pytest.raises(AirflowException) as caught:
        made.execute(context_of(made, lost))
    assert isinstance(caught.value, errors.FileUnavailable)
    assert AirflowFailException not in type(caught.value).__mro__
    assert lost.store is not None
    assert (gateway.requests, lost.store.values) == ([], {})
