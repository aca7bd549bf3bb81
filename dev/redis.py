"""A private Redis: its files in a temporary directory, bound to the loopback address, removed.

It needs the server's program, which Debian's package ``redis-server`` brings.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from dev.airflow_env import HOST, free_port
from dev.airflow_processes import Component, end
from dev.waiting import wait_until

PROGRAM = "redis-server"
OPTIONS = {
    "bind": HOST,
    "save": "",
    # Each command is written before the response, so the queue survives a kill.
    "appendonly": "yes",
    "daemonize": "no",
}


class RedisProcess:
    """A Redis with the same address and data after a restart.

    ``data``: the folder of its files. ``log``: where it writes what it has to say.
    """

    def __init__(self, data: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        settings = {**OPTIONS, "port": str(self.port), "dir": str(data)}
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self._child = Component([PROGRAM, *options], dict(os.environ), log)
        self._client = redis.Redis(HOST, self.port)

    def start(self) -> None:
        """Start it and wait until it responds and has its data.

        :raises RuntimeError: it ended; the message shows the end of its log.
        """
        self._child.start()
        wait_until(self._answers, 30, lambda: f"Redis does not start:\n{self._child.tail()}", 0.05)

    def _answers(self) -> bool:
        if self._child.returncode() is not None:
            raise RuntimeError(f"Redis ended:\n{self._child.tail()}")
        try:
            return bool(self._client.ping())
        except redis.ConnectionError:  # one that still reads its file is such a one
            return False

    def stop(self, grace: float = 5.0) -> None:
        """End it: SIGTERM, up to ``grace`` seconds, SIGKILL."""
        self._client.close()
        end([self._child], grace)

    def kill(self) -> None:
        """End it as the kernel does when memory is short, and collect it."""
        self._child.kill(signal.SIGKILL)
        self.stop(grace=0)


def is_installed() -> bool:
    """Return whether the server's program is there."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def redis_server(log: Path) -> Iterator[RedisProcess]:
    """Run an empty server.

    :raises RuntimeError: none is installed, or it ended; the message shows its log.
    """
    if not is_installed():
        raise RuntimeError(f"Redis is not installed: apt-get install {PROGRAM}")
    with tempfile.TemporaryDirectory(prefix="airflow-redis-", ignore_cleanup_errors=True) as data:
        server = RedisProcess(Path(data), log)
        try:
            server.start()
            yield server
        finally:
            server.stop()
