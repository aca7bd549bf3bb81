"""Files of a storage in the inputs of a batch: each is read when its prediction is created."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SD_IMG2IMG
from airflow_provider_quickrouter.hooks.input_files import InputFiles
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.operators.batches import batch, operator, results, retried
from tests.operators.test_input_files import LARGE, PNG, URI
from tests.tasks import TaskInstance, context_of

COUNT = 4


@pytest.fixture
def cats(tmp_path: Path) -> list[dict[str, Any]]:
    """Inputs with a file each: paths as text and as objects."""
    folder = tmp_path / "cats"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(PNG)
    texts = [f"file://{folder}/{number}.png" for number in range(COUNT)]
    return [{"image": ObjectStoragePath(text) if text.endswith("0.png") else text} for text in texts]


def run(cats: Any, path: Path, task_instance: TaskInstance | None = None, **arguments: Any) -> Any:
    return batch(cats, path, task_instance, version=SD_IMG2IMG, **arguments)


def sent(gateway: Sandbox) -> list[str]:
    return [entry["input"]["image"] for entry in gateway.predictions]


def test_each_file_is_sent_as_its_content(gateway: Sandbox, tmp_path: Path, cats: Any) -> None:
    assert run(cats, tmp_path / "r")["succeeded"] == COUNT
    assert sent(gateway) == [URI] * COUNT
    texts = [file.read_text() for file in tmp_path.rglob("*.jsonl")]
    assert not any("cats" in text or URI in text for text in texts)


def test_a_large_file_is_sent_as_a_presigned_url(gateway: Sandbox, s3: str, tmp_path: Path) -> None:
    ObjectStoragePath(f"{s3}/cat.png").write_bytes(LARGE)
    assert run([{"image": f"{s3}/cat.png"}], tmp_path / "r")["succeeded"] == 1
    (url,) = sent(gateway)
    assert "Signature=" in url
    assert not any("Signature" in file.read_text() for file in tmp_path.rglob("*.jsonl"))


def test_a_file_that_is_missing_is_refused_and_the_others_are_sent(
    gateway: Sandbox, tmp_path: Path, cats: Any
) -> None:
    ti = TaskInstance(max_tries=2)
    (tmp_path / "cats" / "2.png").unlink()
    with pytest.raises(errors.BatchFailed) as failed:
        run(cats, tmp_path / "r", ti)
    assert not retried(failed.value)
    lines = results(tmp_path / "r")
    assert [line["outcome"] for line in lines] == ["succeeded", "succeeded", "refused", "succeeded"]
    assert "2.png does not exist" in lines[2]["error"]
    (tmp_path / "cats" / "2.png").write_bytes(PNG)
    assert run(cats, tmp_path / "r", ti.again(cleared=True))["succeeded"] == COUNT
    assert gateway.creates == COUNT


def test_a_storage_that_cannot_be_read_now_is_read_again_by_a_retry(
    gateway: Sandbox, tmp_path: Path, cats: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(self: InputFiles, input: Any, **reference: Any) -> Any:
        raise errors.FileUnavailable("the storage is down")

    ti = TaskInstance(max_tries=2)
    with monkeypatch.context() as patch:
        patch.setattr(InputFiles, "read", down)
        with pytest.raises(errors.BatchFailed) as failed:
            run(cats, tmp_path / "r", ti)
    assert retried(failed.value)
    assert {line["outcome"] for line in results(tmp_path / "r")} == {"not_submitted"}
    assert gateway.creates == 0
    assert run(cats, tmp_path / "r", ti.again())["succeeded"] == COUNT


def test_a_retry_resumes_what_has_the_same_path_and_reads_no_file(
    gateway: Sandbox, tmp_path: Path, cats: Any
) -> None:
    ti = TaskInstance(max_tries=2)
    run(cats, tmp_path / "r", ti)
    for file in (tmp_path / "cats").iterdir():
        file.unlink()
    assert run(cats, tmp_path / "r", ti.again())["succeeded"] == COUNT
    assert gateway.creates == COUNT


def test_a_create_of_a_file_whose_response_is_lost_is_found_in_the_list(
    gateway: Sandbox, tmp_path: Path, cats: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_quickrouter.submission.reconcile.LAG", 0.3)
    gateway.set_faults(Faults(drop="after"), times=2, method="POST")
    assert run(cats, tmp_path / "r")["succeeded"] == COUNT
    assert gateway.creates == COUNT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": "s3://user:hush@bucket/cat.png"}, r"inputs\[1\]\.image: a path holds no password"),
        ({"image": "s3://b/cat.png", "num_outputs": 99}, r"inputs\[1\]\.num_outputs: 99"),
    ],
)
def test_an_input_with_a_path_is_checked_when_the_dag_is_parsed_and_when_it_runs(
    gateway: Sandbox, tmp_path: Path, cats: Any, given: Any, message: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match=message) as failed:
        operator([cats[1], given], tmp_path / "r", version=SD_IMG2IMG)
    assert "hush" not in str(failed.value)
    task = operator("{{ later }}", tmp_path / "r", version=SD_IMG2IMG)
    task.inputs = [cats[1], given]
    with pytest.raises(errors.InvalidInputError, match=message):
        task.execute(context_of(task, TaskInstance()))
    assert gateway.requests == []


def test_rendered_fields_show_the_paths(tmp_path: Path, cats: Any) -> None:
    task = operator(cats, tmp_path / "r", version=SD_IMG2IMG)
    task.render_template_fields(context_of(task, TaskInstance()))
    assert [given["image"] for given in json.loads(json.dumps(task.inputs))] == [
        f"file://{tmp_path}/cats/{number}.png" for number in range(COUNT)
    ]
