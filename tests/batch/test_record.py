"""The record of a batch in storage: what was written is read again, in order, by the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.batch import journal
from airflow_provider_quickrouter.batch.journal import Record
from airflow_provider_quickrouter.batch.ledger import State
from airflow_provider_quickrouter.storage.names import owner_of


@pytest.fixture(params=["file", "memory", "s3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path on a storage that can append, and on two that cannot."""
    if request.param == "file":
        return f"file://{tmp_path}/results/all.jsonl"
    return f"{request.getfixturevalue(request.param)}/{tmp_path.name}/all.jsonl"


def ignore(line: dict[str, Any]) -> None:
    """Take a line of the results."""


def text_of(record: Record) -> str:
    return str(record._fs.cat_file(record._results).decode())


def intent(index: int) -> dict[str, Any]:
    return {"i": index, "f": "a" * 16, "at": 1.0}


def end(index: int) -> dict[str, Any]:
    line = {"index": index, "id": f"p{index}", "outcome": "succeeded", "output": ["x" * index]}
    return {"i": index, "end": line, "retry": "keep"}


def test_what_one_process_writes_the_next_one_reads_in_order(path: str) -> None:
    for number in range(3):
        record = Record(path, "run")
        ledger = record.read(5)
        assert ledger.count(State.SENDING) == number
        record.write([intent(number)])
        record.write([{"i": 4, "id": f"p{number}"}])
        record.close()
    ledger = Record(path, "run").read(5)
    assert (ledger.ids[4], ledger.known) == ("p2", {"p0", "p1", "p2"})


def test_runs_that_share_a_path_share_no_record(path: str) -> None:
    record = Record(path, "one")
    record.read(1)
    record.write([intent(0)])
    assert Record(path, "other").read(1).count(State.SENDING) == 0


def claim(path: str, run_id: str, map_index: int = -1) -> None:
    record = Record(path, f"{run_id} {map_index}")
    record.read(1)
    record.claim(SimpleNamespace(dag_id="d", task_id="t", run_id=run_id, map_index=map_index))


def test_a_path_belongs_to_the_run_that_claims_it_first(path: str) -> None:
    claim(path, "one")
    claim(path, "one")
    for other in (("two", -1), ("one", 0)):
        with pytest.raises(InvalidInputError, match=r'output_path: .*"run_id": "one", .*\{\{ run_id \}\}'):
            claim(path, *other)


def test_of_many_runs_that_claim_a_path_at_the_same_time_one_gets_it(path: str) -> None:
    def is_first(number: int) -> bool:
        with suppress(InvalidInputError):
            claim(path, str(number))
            return True
        return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(is_first, range(24))) == 1


def test_a_storage_that_cannot_create_a_file_in_one_step_takes_a_claim(
    memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = MemoryFileSystem.pipe_file

    def old(self: Any, path: str, value: bytes, **options: Any) -> None:
        if options:
            raise NotImplementedError
        write(self, path, value)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", old)
    claim(f"{memory}/r", "one")
    with pytest.raises(InvalidInputError):
        claim(f"{memory}/r", "two")


def test_results_are_put_in_order_from_wherever_they_stand(path: str) -> None:
    first = Record(path, "run")
    first.read(4)
    first.write([end(2), intent(3)])
    first.close()
    second = Record(path, "run")
    ledger = second.read(4)
    for index in (1, 0):
        (place,) = second.write([end(index)])
        ledger.take(end(index), place)
    lost = {"index": 3, "outcome": "not_submitted"}
    second.store_results([*ledger.places[:3], lost], ignore)
    found = [json.loads(line) for line in text_of(second).splitlines()]
    assert found == [end(0)["end"], end(1)["end"], end(2)["end"], lost]


def test_later_results_replace_earlier_ones(path: str) -> None:
    record = Record(path, "run")
    record.read(1)
    record.store_results([{"index": 0, "outcome": "failed"}], ignore)
    record.store_results([], ignore)
    assert text_of(record) == ""


def test_results_that_cannot_be_made_leave_the_earlier_ones(path: str) -> None:
    def breaks() -> Iterator[dict[str, Any]]:
        yield {"index": 0}
        raise RuntimeError("lost")

    record = Record(path, "run")
    record.read(1)
    record.store_results([{"index": 0, "outcome": "good"}], ignore)
    with pytest.raises(RuntimeError, match="lost"):
        record.store_results(breaks(), ignore)
    assert "good" in text_of(record)


def test_more_files_than_may_be_open_are_read(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "OPEN", 2)
    record = Record(path, "run")
    total = 5
    ledger = record.read(total)
    for index in range(total):
        writer = Record(path, "run")
        writer.read(total)
        writer.write([end(index)])
        writer.close()
    ledger = (last := Record(path, "run")).read(total)
    last.store_results(list(ledger.places), ignore)
    assert [json.loads(line)["index"] for line in text_of(last).splitlines()] == [*range(total)]


def test_a_line_that_a_killed_process_left_half_written_is_passed_over(tmp_path: Path) -> None:
    record = Record(str(tmp_path / "r"), "run")
    record.read(2)
    record.write([intent(0)])
    record.close()
    (file,) = (tmp_path / "r.record" / "run").iterdir()
    file.write_bytes(file.read_bytes() + b'{"i": 1, "f": "aa')
    assert Record(str(tmp_path / "r"), "run").read(2).count(State.SENDING) == 1


def test_only_a_storage_that_cannot_append_asks_for_pauses(path: str) -> None:
    assert (Record(path, "run").pause == 0) == path.startswith("file")


def test_each_run_of_each_task_has_its_own_name() -> None:
    task = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}
    others = [task | {name: 7} for name in task]
    names = {owner_of(SimpleNamespace(**one)) for one in [task, *others, task]}
    assert len(names) == 5
    assert all(name.isalnum() for name in names)
