"""A private PostgreSQL: made in a temporary directory, bound to the loopback address, removed.

It needs the server's programs, which Debian's package ``postgresql`` brings.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.airflow_env import HOST, free_port
from dev.airflow_processes import Component, end, wait_gone
from dev.waiting import wait_until

PROGRAMS = Path("/usr/lib/postgresql")
USER = "postgres"
# Nothing here outlives a power cut, so nothing is flushed to the disk.
OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


def programs() -> Path | None:
    """Return the folder of the newest server's programs, None when none is installed."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    versions = [file.parent for file in PROGRAMS.glob("*/bin/initdb")]
    return max(versions, key=lambda folder: float(folder.parent.name), default=None)


class PostgresProcess:
    """A server with the same address and data after a restart.

    ``folder``: the server's programs. ``data``: the folder of its files. ``log``: its output.
    """

    def __init__(self, folder: Path, data: Path, log: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql+psycopg2://{USER}@{HOST}:{self.port}/{USER}"
        settings = [f"--{name}={value}" for name, value in {**OPTIONS, "port": self.port}.items()]
        command = as_user([str(folder / "postgres"), "-D", str(data), *settings])
        self._child = Component(command, dict(os.environ), log)
        self._probe = [str(folder / "pg_isready"), "--quiet", f"-h{HOST}", f"-p{self.port}"]

    def start(self) -> None:
        """Start it and wait until it accepts connections.

        :raises RuntimeError: it ended; the message shows the end of its log.
        """
        self._child.start()
        wait_until(self._ready, 30, lambda: f"PostgreSQL does not start:\n{self._child.tail()}")

    def _ready(self) -> bool:
        if self._child.returncode() is not None:
            raise RuntimeError(f"PostgreSQL ended:\n{self._child.tail()}")
        return subprocess.run(self._probe, check=False).returncode == 0

    def stop(self) -> None:
        """End it at once, also with open connections, and free its shared memory."""
        family = self._child.family()
        if self._child.returncode() is None:
            # PostgreSQL's "fast shutdown"; SIGTERM would wait for clients.
            self._child.kill(signal.SIGINT)
            wait_gone(family, 10)
        end([self._child])

    kill = stop


@contextmanager
def postgres_server(log: Path) -> Iterator[PostgresProcess]:
    """Run a server with an empty database.

    :raises RuntimeError: no server is installed, or it ended; the message shows its log.
    """
    folder = programs()
    if folder is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    data = Path(tempfile.mkdtemp(prefix="airflow-postgres-"))
    server: PostgresProcess | None = None
    try:
        initialise(folder, data)
        server = PostgresProcess(folder, data, log)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def postgres(log: Path) -> Iterator[str]:
    """Run a server and yield the address of an empty database, as SQLAlchemy wants it.

    :raises RuntimeError: no server is installed, or it ended; the message shows its log.
    """
    with postgres_server(log) as server:
        yield server.url


def initialise(folder: Path, data: Path) -> None:
    """Create the files of a new server that accepts all users of this machine."""
    if os.geteuid() == 0:
        shutil.chown(data, USER, USER)
    command = [str(folder / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8"]
    made = subprocess.run(
        as_user([*command, "--no-sync", "--locale=C.UTF-8"]),
        cwd=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"PostgreSQL's initdb failed:\n{made.stdout}")


def as_user(command: list[str]) -> list[str]:
    """Return the command such that it does not run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--", *command]
