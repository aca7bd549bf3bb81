"""The files of a batch: each is stored when its item ends, once, whatever happens to the processes."""

from __future__ import annotations

import hashlib
import io
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, ObjectStoragePath
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_quickrouter.api.errors import BatchFailed, InvalidInputError
from airflow_provider_quickrouter.batch.journal import Record
from airflow_provider_quickrouter.batch.ledger import State
from airflow_provider_quickrouter.storage.target import Target
from tests.faults.batches import batch_operator, results_in, run_batch
from tests.faults.clock import Clock, real_sleep
from tests.faults.dags import worker_and_deferred
from tests.faults.files import file
from tests.faults.gateway import Gateway, ReceivedRequest, connect
from tests.faults.responses import Response, json_response, plain_text
from tests.faults.running import TaskInstance, failure_of, is_retried, prepared


class LostError(BaseException):
    """The process is gone: nothing is caught, nothing cleaned up."""


def picture(number: int) -> bytes:
    """Return a PNG that differs from those of other numbers."""
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (64, 48), (number, 0, 0)).save(made, "PNG")
    return made.getvalue()


def prompts(count: int) -> list[dict[str, str]]:
    return [{"prompt": str(number)} for number in range(count)]


def draws(gateway: Gateway, count: int) -> None:
    """Let each prediction have one picture, which its prompt names."""

    def poll(request: ReceivedRequest) -> Response:
        number = gateway.predictions[request.prediction_id]["input"]["prompt"]
        output = [f"{gateway.url}/{number}.png"]
        return json_response(gateway.describe(request.prediction_id, **gateway.result | {"output": output}))

    gateway.on_poll = poll
    gateway.routes |= {f"GET /{n}.png": file(picture(n)) for n in range(count)}


def fetched(gateway: Gateway) -> Counter[str]:
    """Return how often each file was fetched."""
    return Counter(request.path for request in gateway.requests if request.path.endswith(".png"))


def stored_at(path: str) -> bytes:
    data: bytes = ObjectStoragePath(path).read_bytes()
    return data


@worker_and_deferred
def test_each_file_is_stored_when_its_item_ends(
    deferrable: bool, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    """Files are gone two minutes after their prediction has ended; the last one ends after ten."""
    ended: dict[str, float] = {}
    data = picture(7)

    def poll(request: ReceivedRequest) -> Response:
        number = gateway.predictions[request.prediction_id]["input"]["prompt"]
        if time.time() - began < 300.0 * int(number):
            return json_response(gateway.describe(request.prediction_id, status="processing"))
        ended.setdefault(number, time.time())
        output = [f"{gateway.url}/{number}.png"]
        return json_response(gateway.describe(request.prediction_id, status="succeeded", output=output))

    def server(request: ReceivedRequest) -> Response:
        number = request.path.strip("/").partition(".")[0]
        gone = time.time() - ended.get(number, time.time()) > 120
        return plain_text(404, "Not Found") if gone else file(data)

    began = time.time()
    gateway.on_poll = poll
    gateway.routes |= {f"GET /{n}.png": server for n in range(3)}
    arguments: dict[str, Any] = {"store_path": f"file://{tmp_path}/stored", "deferrable": deferrable}
    run_batch(f"file://{tmp_path}/r.jsonl", prompts(3), **arguments)
    assert [path.read_bytes() for path in (tmp_path / "stored").glob("p*/*")] == [data] * 3


@pytest.mark.parametrize(("kind", "deferrable"), [("disk", False), ("disk", True), ("s3", True)])
def test_the_line_and_xcom_say_what_is_stored_and_where(
    kind: str, deferrable: bool, gateway: Gateway, tmp_path: Path, s3: str
) -> None:
    draws(gateway, 3)
    root = f"file://{tmp_path}" if kind == "disk" else f"{s3}/{tmp_path.name}"
    ti = TaskInstance()
    run_batch(f"{root}/r.jsonl", prompts(3), ti, store_path=f"{root}/stored", deferrable=deferrable)
    lines = results_in(f"{root}/r.jsonl")
    for number, line in enumerate(lines):
        (entry,) = line["files"]
        assert stored_at(entry["path"]) == picture(number)
        assert entry["sha256"] == hashlib.sha256(picture(number)).hexdigest()
        assert (entry["content_type"], entry["width"], entry["height"]) == ("image/png", 64, 48)
    listed = [file | {"prediction_id": line["id"]} for line in lines for file in line["files"]]
    assert ti.xcoms["files"] == listed
    assert fetched(gateway) == dict.fromkeys((f"/{n}.png" for n in range(3)), 1)


def test_asset_events_have_the_stored_files(gateway: Gateway, tmp_path: Path) -> None:
    draws(gateway, 2)
    asset, ti = Asset("pictures"), TaskInstance()
    arguments = {"store_path": f"file://{tmp_path}/stored", "outlets": [asset]}
    task, context = prepared(batch_operator(f"{tmp_path}/r", prompts(2), **arguments), ti)
    task.execute(context)
    extra = context["outlet_events"][asset].extra
    assert extra == {"output_path": f"{tmp_path}/r", "files": ti.xcoms["files"]}
    assert len(extra["files"]) == 2


def test_without_a_folder_nothing_is_stored(gateway: Gateway, tmp_path: Path) -> None:
    draws(gateway, 1)
    ti = TaskInstance()
    run_batch(f"{tmp_path}/r", prompts(1), ti)
    (line,) = results_in(tmp_path / "r")
    assert line["files"] == []
    assert "files" not in ti.xcoms
    assert not fetched(gateway)


@worker_and_deferred
def test_a_process_that_is_lost_before_it_writes_the_line_costs_no_second_download(
    deferrable: bool, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws(gateway, 4)
    ti, write, arguments = TaskInstance(), Record.write, {"store_path": f"{tmp_path}/stored"}

    def lost(self: Record, entries: Any) -> Any:
        if any("end" in entry for entry in entries):
            raise LostError
        return write(self, entries)

    with monkeypatch.context() as patch:
        patch.setattr(Record, "write", lost)
        with pytest.raises(LostError):
            run_batch(f"{tmp_path}/r", prompts(4), ti, deferrable=deferrable, **arguments)
    before = fetched(gateway)
    assert before
    summary = run_batch(f"{tmp_path}/r", prompts(4), ti.next_try(), deferrable=deferrable, **arguments)
    assert summary["succeeded"] == len(gateway.creates) == 4
    assert {path: fetched(gateway)[path] for path in before} == before
    assert [stored_at(line["files"][0]["path"]) for line in results_in(f"{tmp_path}/r")] == [
        picture(n) for n in range(4)
    ]


def test_what_is_being_stored_when_the_task_defers_is_stored_by_the_worker(
    gateway: Gateway, tmp_path: Path
) -> None:
    draws(gateway, 2)
    poll, slow = gateway.on_poll, gateway.routes["GET /0.png"]

    def server(request: ReceivedRequest) -> Response:
        real_sleep(2.0)
        response: Response = slow
        return response

    def only_the_first(request: ReceivedRequest) -> Any:
        first = gateway.predictions[request.prediction_id]["input"]["prompt"] == "0"
        return poll(request) if first else json_response(gateway.describe(request.prediction_id))

    gateway.on_poll, gateway.routes["GET /0.png"] = only_the_first, server
    arguments = {"store_path": f"{tmp_path}/stored", "creates_per_minute": 40, "deferrable": True}
    task, context = prepared(batch_operator(f"{tmp_path}/r", prompts(2), **arguments), TaskInstance())
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    ledger = Record(f"{tmp_path}/r", deferred.value.trigger.owner).read(2)
    assert [ledger.state(index) for index in range(2)] == [State.ENDED, State.RUNNING]
    assert fetched(gateway) == {"/0.png": 1}


@pytest.mark.parametrize("cleared", [False, True])
def test_files_that_cannot_be_stored_now_are_stored_by_a_retry_without_another_create(
    cleared: bool, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws(gateway, 3)
    ti, put = TaskInstance(), Target.put

    def full(self: Target, local: Path, name: str) -> None:
        if name.startswith("p0000000000000000000000001"):
            raise OSError("no space left")
        put(self, local, name)

    with monkeypatch.context() as patch:
        patch.setattr(Target, "put", full)
        failed = failure_of(batch_operator(f"{tmp_path}/r", prompts(3), store_path=f"{tmp_path}/stored"), ti)
    assert isinstance(failed, BatchFailed)
    assert is_retried(failed)
    lines = {line["id"]: line for line in results_in(f"{tmp_path}/r")}
    (line,) = (line for line in lines.values() if line["outcome"] != "succeeded")
    assert (line["outcome"], line["files"], len(line["output"])) == ("not_stored", [], 1)
    assert "no space left" in line["error"]
    again = ti.next_try(cleared=cleared)
    summary = run_batch(f"{tmp_path}/r", prompts(3), again, store_path=f"{tmp_path}/stored")
    assert summary["succeeded"] == len(gateway.creates) == 3


def test_a_file_that_is_refused_is_stored_after_a_clear_without_another_create(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws(gateway, 1)
    connect(monkeypatch, gateway.url, allow_private_addresses=False)
    ti, arguments = TaskInstance(), {"store_path": f"{tmp_path}/stored"}
    failed = failure_of(batch_operator(f"{tmp_path}/r", prompts(1), **arguments), ti)
    assert not is_retried(failed)
    (line,) = results_in(f"{tmp_path}/r")
    assert line["outcome"] == "not_stored"
    assert "allow_private_addresses" in line["error"]
    connect(monkeypatch, gateway.url)
    assert run_batch(f"{tmp_path}/r", prompts(1), ti.next_try(cleared=True), **arguments)["succeeded"] == 1
    assert len(gateway.creates) == 1


@pytest.mark.parametrize("path", ["", "{{ none }}", "nowhere://bucket/pictures", "s3:/bucket"])
def test_a_folder_that_cannot_be_one_is_refused_before_anything_is_paid(
    path: str, gateway: Gateway, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="store_path: ") as failed:
        run_batch(f"{tmp_path}/r", prompts(1), store_path=path)
    assert not is_retried(failed.value)
    assert gateway.requests == []
