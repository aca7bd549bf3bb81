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


@contextmanager
def postgres(log: Path) -> Iterator[str]:
    """Run a server and yield the address of an empty database, as SQLAlchemy wants it.

    :raises RuntimeError: no server is installed, or it ended; the message shows its log.
    """
    folder = programs()
    if folder is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    data = Path(tempfile.mkdtemp(prefix="airflow-postgres-"))
    try:
        initialise(folder, data)
        with server(folder, data, log) as port:
            yield f"postgresql+psycopg2://{USER}@{HOST}:{port}/{USER}"
    finally:
        shutil.rmtree(data, ignore_errors=True)


def initialise(folder: Path, data: Path) -> None:
    """Make the files of a new server, which lets everyone on this machine in."""
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


@contextmanager
def server(folder: Path, data: Path, log: Path) -> Iterator[int]:
    """Run the server on a free port, and yield the port once it answers."""
    port = free_port()
    settings = [f"--{name}={value}" for name, value in {**OPTIONS, "port": str(port)}.items()]
    command = as_user([str(folder / "postgres"), "-D", str(data), *settings])
    child = Component(command, dict(os.environ), log)
    asked = [str(folder / "pg_isready"), "--quiet", f"--host={HOST}", f"--port={port}"]

    def ready() -> bool:
        if child.returncode() is not None:
            raise RuntimeError(f"PostgreSQL ended:\n{child.tail()}")
        return subprocess.run(asked, check=False).returncode == 0

    try:
        child.start()
        wait_until(ready, 30, lambda: f"PostgreSQL does not start:\n{child.tail()}")
        yield port
    finally:
        stop(child)


def stop(child: Component) -> None:
    """End the server at once, whoever is still connected, and free its shared memory."""
    family = child.family()
    if child.returncode() is None:
        child.kill(signal.SIGINT)  # PostgreSQL's "fast shutdown"; SIGTERM would wait for clients
        wait_gone(family, 10)
    end([child])
