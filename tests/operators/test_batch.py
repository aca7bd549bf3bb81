"""Thousands of predictions in one task, here a few: each line states how its own ended."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.operators.batches import PROMPT, batch, inputs_of, operator, results, retried
from tests.tasks import TaskInstance, context_of

each_mode = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])


def words(path: Path) -> list[str]:
    return [line["outcome"] for line in results(path)]


@each_mode
def test_each_input_has_one_line_in_order_with_its_own_output(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    ti, path = TaskInstance(), tmp_path / "out" / "results.jsonl"
    summary = batch(inputs_of(12), path, ti, deferrable=deferrable)
    assert {**summary, "seconds": 0} == {
        "total": 12,
        "succeeded": 12,
        "outcomes": {"succeeded": 12},
        "output_path": str(path),
        "seconds": 0,
        "cost": 0.0,
    }
    assert ti.xcoms["return_value"] == summary
    truth = {entry["input"]["prompt"]: entry for entry in gateway.predictions}
    for index, line in enumerate(results(path)):
        own = truth[f"{PROMPT} {index}"]
        assert (line["index"], line["id"], line["output"]) == (index, own["id"], own["output"])
        assert (line["outcome"], line["error"]) == ("succeeded", "")
        assert line["expires_at"]
    assert gateway.creates == 12


def test_a_batch_may_use_a_deployment(
    gateway: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, extra={"path_prefix": "/v1"})
    deployment: dict[str, Any] = {"version": None, "deployment": "acme/shop"}
    batch(inputs_of(2), tmp_path / "results.jsonl", **deployment)
    assert [entry["deployment"] for entry in gateway.predictions] == ["acme/shop"] * 2


@each_mode
def test_exactly_the_lines_that_failed_say_so_and_why(
    gateway: Sandbox, tmp_path: Path, deferrable: bool
) -> None:
    path, inputs = tmp_path / "results.jsonl", inputs_of(10)
    inputs[3]["sandbox"] = {"fail": "CUDA out of memory"}
    inputs[7]["sandbox"] = {"fail": "NSFW content detected"}
    with pytest.raises(errors.BatchFailed, match="2 of 10 predictions did not succeed") as failed:
        batch(inputs, path, deferrable=deferrable)
    assert not retried(failed.value)
    ends = {line["index"]: line for line in results(path) if line["outcome"] != "succeeded"}
    assert {index: (end["outcome"], end["error"]) for index, end in ends.items()} == {
        3: ("failed", "CUDA out of memory"),
        7: ("moderated", "NSFW content detected"),
    }
    assert gateway.creates == 10


@pytest.mark.parametrize(("fail_on", "fails"), [("any", True), ("all", False), (0.1, True), (0.2, False)])
def test_the_author_says_how_many_may_fail(
    gateway: Sandbox, tmp_path: Path, fail_on: Any, fails: bool
) -> None:
    inputs = inputs_of(5)
    inputs[0]["sandbox"] = {"fail": "out of memory"}
    if fails:
        with pytest.raises(errors.BatchFailed):
            batch(inputs, tmp_path / "r", fail_on=fail_on)
    else:
        assert batch(inputs, tmp_path / "r", fail_on=fail_on)["succeeded"] == 4


@each_mode
def test_a_storage_that_cannot_append_holds_the_same(gateway: Sandbox, deferrable: bool) -> None:
    files = MemoryFileSystem()
    attach("memory", fs=files)
    try:
        path = "memory://bucket/r.jsonl"
        assert batch(inputs_of(30), path, deferrable=deferrable)["succeeded"] == 30
        found = [json.loads(line) for line in files.cat_file("/bucket/r.jsonl").splitlines()]
        writes = files.find("/bucket/r.jsonl.record")
    finally:
        MemoryFileSystem.store.clear()
    assert [line["index"] for line in found] == list(range(30))
    assert len(writes) < 12
    assert gateway.creates == 30


def test_no_inputs_make_an_empty_file(gateway: Sandbox, tmp_path: Path) -> None:
    assert batch([], tmp_path / "r")["total"] == 0
    assert (tmp_path / "r").read_bytes() == b""
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([{"prompt": "a"}, {"prompt": "b", "width": 700}], r"inputs\[1\]\.width: 700: "),
        ([{"prompt": "a"}, {"prompt": None}], r"inputs\[1\]\.prompt: is null"),
        (["a cat"], r"inputs\[0\]: must be a dict"),
        ({"prompt": "a"}, "inputs: must be a list of dicts or models, not dict"),
        ("a cat", "inputs: must be a list of dicts or models, not str"),
        (3, "inputs: must be a list of dicts or models, not int"),
    ],
)
def test_a_wrong_input_is_named_before_anything_is_paid_for(
    gateway: Sandbox, tmp_path: Path, inputs: Any, message: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match=message) as failed:
        batch(inputs, tmp_path / "r")
    assert not retried(failed.value)
    task = operator("{{ later }}", tmp_path / "r")
    task.inputs = inputs
    with pytest.raises(errors.InvalidInputError, match=message):
        task.execute(context_of(task, TaskInstance()))
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fail_on": 2}, "fail_on: must be .any., .all. or a fraction .* got 2"),
        ({"fail_on": "some"}, "fail_on: must be .any., .all. or a fraction .* got 'some'"),
        ({"max_in_flight": 0}, "max_in_flight: must be a number from 1 on, got 0"),
        ({"creates_per_minute": "x"}, "creates_per_minute: must be a number from 1 on, got 'x'"),
        ({"timeout": -1}, "got -1"),
        ({"cancel_after": 4}, "cancel_after: must be a number of seconds from 5 on"),
        ({"on_uncertain": "hope"}, "on_uncertain: 'hope'"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(
    tmp_path: Path, arguments: Any, message: str
) -> None:
    with pytest.raises(errors.InvalidInputError, match=message):
        operator([], tmp_path / "r", **arguments)


def test_neither_prompt_nor_key_is_in_record_results_event_or_kwargs(
    gateway: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, task = tmp_path / "r", operator(inputs_of(3), tmp_path / "r", deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context_of(task, TaskInstance()))
    batch(inputs_of(3), path, deferrable=True)
    log = capsys.readouterr().out
    texts = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    texts += [json.dumps(deferred.value.trigger.serialize()), log]
    assert len(texts) > 4
    assert "Results are stored" in log
    assert not any(PROMPT in text or KEY in text for text in texts)


def test_only_so_many_are_under_way(gateway: Sandbox, tmp_path: Path) -> None:
    peak = 0

    def look() -> bool:
        nonlocal peak
        peak = max(peak, sum(e["status"] == "processing" for e in gateway.predictions))
        return True

    task = operator(inputs_of(9, processing=0.5), tmp_path / "r", max_in_flight=3)
    task.kill_handler.is_alive = look  # type: ignore[method-assign]
    assert task.execute(context_of(task, TaskInstance()))["succeeded"] == 9
    assert peak == 3


def test_a_refused_create_is_told_in_its_line(gateway: Sandbox, tmp_path: Path) -> None:
    gateway.set_faults(Faults(rate_limit="header", retry_after=1), times=2, method="POST")
    inputs = inputs_of(4)
    inputs[2]["sandbox"] = {"no such fault": 1}
    batch(inputs, tmp_path / "r", fail_on="all")
    assert words(tmp_path / "r") == ["succeeded", "succeeded", "refused", "succeeded"]
    assert gateway.creates == 3


def test_what_would_meet_every_line_stops_the_batch_and_a_clear_goes_on(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance(max_tries=1)
    gateway.set_faults(Faults(quota=True), method="POST")
    with pytest.raises(errors.BatchFailed, match="Not all items were submitted: HTTP 403") as failed:
        batch(inputs_of(30), tmp_path / "r", ti)
    assert not retried(failed.value)
    assert set(words(tmp_path / "r")) == {"not_submitted"}
    assert len(gateway.requests) < 20
    gateway.set_faults(None)
    assert batch(inputs_of(30), tmp_path / "r", ti.again(cleared=True))["succeeded"] == 30


@each_mode
@pytest.mark.parametrize("limit", ["timeout", "execution_timeout"])
def test_at_its_deadline_the_rest_is_canceled(
    gateway: Sandbox, tmp_path: Path, deferrable: bool, limit: str
) -> None:
    inputs = [*inputs_of(2), *inputs_of(3, never=True)]
    arguments: dict[str, Any] = {limit: timedelta(seconds=2)}
    with pytest.raises(errors.BatchFailed) as failed:
        batch(inputs, tmp_path / "r", None, deferrable=deferrable, **arguments)
    assert not retried(failed.value)
    assert words(tmp_path / "r") == ["succeeded"] * 2 + ["timeout"] * 3
    ends = sorted(entry["status"] for entry in gateway.predictions)
    assert ends == ["canceled"] * 3 + ["succeeded"] * 2


def test_what_there_was_no_time_to_submit_is_told_and_not_retried(gateway: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(errors.BatchFailed, match="timeout came before it was submitted") as failed:
        batch(inputs_of(60), tmp_path / "r", timeout=1, creates_per_minute=600, fail_on="all")
    assert not retried(failed.value)
    assert words(tmp_path / "r")[-1] == "not_submitted"
    assert gateway.creates < 30


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({}, 3000),
        ({"timeout": 100}, 400),
        ({"cancel_after": timedelta(minutes=10)}, 600),
        ({"cancel_after": None, "timeout": 7200}, 7500),
    ],
)
def test_the_server_itself_ends_what_is_forgotten(
    gateway: Sandbox, tmp_path: Path, arguments: Any, seconds: int
) -> None:
    batch(inputs_of(1), tmp_path / "r", **arguments)
    (create,) = (entry for entry in gateway.requests if entry.method == "POST")
    limit = int(create.headers["cancel-after"].removesuffix("s"))
    assert limit in range(seconds - 5, seconds + 1)


def test_progress_is_told_in_the_log(
    gateway: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch(inputs_of(3), tmp_path / "r")
    assert "3 of 3 done, 0 of them failed, 0 running" in capsys.readouterr().out


def test_a_retry_makes_anew_only_what_failed_for_a_passing_reason(gateway: Sandbox, tmp_path: Path) -> None:
    ti, inputs = TaskInstance(max_tries=2), inputs_of(4)
    inputs[1]["sandbox"] = {"fail": "Prediction interrupted; please retry (code: PA)"}
    with pytest.raises(errors.BatchFailed) as failed:
        batch(inputs, tmp_path / "r", ti)
    assert retried(failed.value)
    with pytest.raises(errors.BatchFailed):
        batch(inputs, tmp_path / "r", ti.again())
    assert gateway.creates == 5


def test_a_clear_of_a_success_makes_everything_anew_and_a_retry_nothing(
    gateway: Sandbox, tmp_path: Path
) -> None:
    ti = TaskInstance(max_tries=2)
    batch(inputs_of(3), tmp_path / "r", ti)
    first = results(tmp_path / "r")
    batch(inputs_of(3), tmp_path / "r", ti.again())
    assert (gateway.creates, results(tmp_path / "r")) == (3, first)
    batch(inputs_of(3), tmp_path / "r", ti.again(cleared=True))
    assert gateway.creates == 6
    assert not {line["id"] for line in results(tmp_path / "r")} & {line["id"] for line in first}


def test_another_run_with_the_same_path_is_refused_before_anything_is_paid(
    gateway: Sandbox, tmp_path: Path
) -> None:
    batch(inputs_of(2), tmp_path / "r")
    other = TaskInstance()
    other.run_id = "another run"
    for _ in range(2):
        with pytest.raises(errors.InvalidInputError, match=r'output_path: .*"run_id": "a run"') as failed:
            batch(inputs_of(2), tmp_path / "r", other)
        assert not retried(failed.value)
    assert gateway.creates == 2
    shutil.rmtree(tmp_path / "r.record")
    assert batch(inputs_of(2), tmp_path / "r", other)["succeeded"] == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "output_path: is empty; give a file such as s3://"),
        ("{{ none }}", "output_path: is empty"),
        ("s3:/bucket/r.jsonl", "output_path: .* has no two slashes"),
        ("nowhere://bucket/r.jsonl", "output_path: .* needs a filesystem for 'nowhere'"),
        ("{{ folder }}", "output_path: .* is a folder; give a file"),
    ],
)
def test_a_path_that_cannot_hold_the_results_is_refused_before_anything_is_paid(
    gateway: Sandbox, tmp_path: Path, path: str, message: str
) -> None:
    rendered = {"{{ none }}": "None", "{{ folder }}": str(tmp_path)}
    task = operator(inputs_of(1), "{{ later }}")
    task.output_path = rendered.get(path, path)
    with pytest.raises(errors.InvalidInputError, match=message) as failed:
        task.execute(context_of(task, TaskInstance()))
    assert not retried(failed.value)
    assert gateway.requests == []


@pytest.mark.parametrize("path", ["", "s3:/bucket/r.jsonl", "s3://user:password@bucket/r.jsonl"])
def test_a_constant_path_that_cannot_be_one_is_refused_when_the_dag_is_parsed(path: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="output_path: "):
        operator([], path)


def test_an_input_that_has_changed_is_made_anew(gateway: Sandbox, tmp_path: Path) -> None:
    ti, inputs = TaskInstance(max_tries=2), inputs_of(3)
    batch(inputs, tmp_path / "r", ti)
    inputs[1] = {"prompt": "another"}
    batch([*inputs, {"prompt": "one more"}], tmp_path / "r", ti.again())
    assert gateway.creates == 5
    assert len(results(tmp_path / "r")) == 4
