"""The private Redis: it keeps its queues when it is killed, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import redis

from dev.airflow_env import HOST
from dev.redis import is_installed, redis_server

pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(not is_installed(), reason="needs Debian's package redis-server"),
]


def test_what_was_queued_is_there_again_after_a_kill(tmp_path: Path) -> None:
    with redis_server(tmp_path / "log") as server, redis.Redis(HOST, server.port) as client:
        client.rpush("queue", "a task")

        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()

        assert client.lrange("queue", 0, -1) == [b"a task"]


def test_only_this_machine_reaches_it(tmp_path: Path) -> None:
    with redis_server(tmp_path / "log") as server, redis.Redis(HOST, server.port) as client:
        assert client.config_get("bind") == {"bind": HOST}
        assert server.url == f"redis://{HOST}:{server.port}/0"


def test_no_process_and_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with redis_server(tmp_path / "log") as server:
        assert list(tmp_path.glob("airflow-redis-*/appendonlydir"))

    assert list(tmp_path.glob("airflow-redis-*")) == []
    with redis.Redis(HOST, server.port) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_an_end_by_itself_is_an_error_with_its_log(tmp_path: Path) -> None:
    with redis_server(tmp_path / "log") as server:
        with redis.Redis(HOST, server.port) as client:
            client.config_set("appendonly", "no")
        server.kill()
        blocked = tmp_path / "blocked"
        blocked.write_text("")
        server._child.command += ["--dir", str(blocked)]

        with pytest.raises(RuntimeError, match="Redis ended"):
            server.start()
