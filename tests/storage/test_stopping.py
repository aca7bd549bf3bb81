"""A task that is killed while files are on their way: it ends soon, and leaves no half file."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from airflow_provider_quickrouter.api.errors import FileUnavailable
from airflow_provider_quickrouter.storage import store
from airflow_provider_quickrouter.storage.download import Sink
from airflow_provider_quickrouter.storage.fetching import Owner
from airflow_provider_quickrouter.storage.store import Storing
from tests.storage.files import Log, image

OWNER = Owner("p1", datetime.now(UTC) + timedelta(hours=1))
Make = Callable[..., Storing]


class Held:
    """A server that begins to send a file and then holds it back."""

    def __init__(self, server: HTTPServer) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()
        server.expect_request("/held").respond_with_handler(self._answer)
        server.expect_request("/a").respond_with_data(image(), content_type="image/png")
        self.output = [server.url_for("/a"), server.url_for("/held")]

    def _answer(self, request: Request) -> Response:
        def body() -> Iterator[bytes]:
            yield image()
            self.begun.set()
            self.end.wait()

        return Response(body(), content_type="image/png")


@pytest.fixture
def held(httpserver: HTTPServer) -> Iterator[Held]:
    made = Held(httpserver)
    yield made
    made.end.set()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files lie while they are on their way."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    return tmp_path / "disk"


def left(tmp_path: Path) -> set[str]:
    """Files in the storage but the record."""
    kept = (tmp_path / "kept").rglob("*")
    return {path.name for path in kept if path.is_file() and path.suffix != ".json"}


def test_a_task_that_is_killed_ends_soon_and_can_go_on(
    storing: Make, held: Held, tmp_path: Path, disk: Path
) -> None:
    running = storing()

    def kill() -> None:
        assert held.begun.wait(10)
        running.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(FileUnavailable, match="a retry stores the rest"):
        running.store(held.output, OWNER)
    killer.join()
    assert left(tmp_path) <= {"0.png"}
    assert not [*disk.iterdir()]
    held.end.set()
    assert len(storing().store(held.output, OWNER)) == 2


def test_an_execution_timeout_ends_it_soon(storing: Make, held: Held, tmp_path: Path, disk: Path) -> None:
    with pytest.raises(AirflowTaskTimeout), timeout(1):
        storing().store(held.output, OWNER)
    assert left(tmp_path) <= {"0.png"}
    assert not [*disk.iterdir()]


def test_a_task_that_was_killed_before_stores_nothing(storing: Make, held: Held, tmp_path: Path) -> None:
    killed = storing()
    killed.stop()
    with pytest.raises(FileUnavailable, match="a retry stores"):
        killed.store(held.output, OWNER)
    assert left(tmp_path) == set()


def test_progress_is_told_while_files_are_on_their_way(
    storing: Make, held: Held, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Telling(Log):
        def info(self, line: str, *values: object) -> None:
            super().info(line, *values)
            if " of 2 files; received: " in self.infos[-1]:
                held.end.set()

    monkeypatch.setattr(store, "LOG_EVERY", 0.05)
    log.__class__ = Telling
    storing().store(held.output, OWNER)
    assert any(" of 2 files; received: " in line for line in log.infos)


def test_a_kill_after_the_end_does_nothing(storing: Make, held: Held) -> None:
    done = storing()
    done.store(held.output[:1], OWNER)
    done.stop()


def test_a_piece_that_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    sink = Sink(tmp_path / "late", 100)
    sink.close()
    sink.write(b"late")
    assert not (tmp_path / "late").exists()


def test_two_tries_at_once_store_the_same(storing: Make, held: Held, tmp_path: Path) -> None:
    held.end.set()
    results: list[list[str]] = []

    def store() -> None:
        results.append([file.sha256 for file in storing().store(held.output, OWNER)])

    tries = [threading.Thread(target=store) for _ in range(4)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert len(results) == 4
    assert len(set(map(tuple, results))) == 1
    assert left(tmp_path) == {"0.png", "1.png"}
    assert (tmp_path / "kept" / "p1" / "1.png").read_bytes() == image()
