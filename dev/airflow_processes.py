"""Child processes that are certain to end.

Each is the leader of its own session, so that whatever it forks, workers and supervised tasks in
process groups of their own included, can be found and ended with it, also when the leader itself is
gone.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil


class Component:
    """One child process; its output goes to ``log``, which is appended to by each start."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.command = list(command)
        self.env = env
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self._log_began = 0

    def start(self) -> None:
        """Start the process in a session of its own; ``started`` is the epoch second of it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        self.started = time.time()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def returncode(self) -> int | None:
        """Return the exit code, or None while the process runs or before it was started."""
        return self.process.poll() if self.process else None

    def tail(self, lines: int = 40) -> str:
        """Return the last lines that the process wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def output(self) -> str:
        """Return everything that the process wrote since its last start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return log.read().decode(errors="replace")

    def kill(self, signum: int) -> None:
        """Send a signal to the process alone, not to its children."""
        if self.process:
            self.process.send_signal(signum)

    def family(self) -> set[psutil.Process]:
        """Return the living processes which this one began, itself included."""
        if not self.process:
            return set()
        return descendants(self.process.pid) | session_members({self.process.pid})


def descendants(pid: int) -> set[psutil.Process]:
    """Return the process and its children of every degree; empty when it is gone."""
    try:
        leader = psutil.Process(pid)
        return {leader, *leader.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def session_members(sessions: set[int]) -> set[psutil.Process]:
    """Return every process of these sessions, by the process ids of their leaders."""
    return {process for process in psutil.process_iter() if session_of(process.pid) in sessions}


def session_of(pid: int) -> int | None:
    """Return the id of a process's session, None when it may not be seen or is gone."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def end(components: Iterable[Component], grace: float = 5.0) -> None:
    """End the components and all their children: SIGTERM, up to ``grace`` seconds, SIGKILL.

    An interrupt while waiting only shortens the wait. Only the leaders get SIGTERM: a triggerer
    whose runner was told too, and has gone, waits for it without end.
    """
    started = [component for component in components if component.process]
    family = set().union(*(component.family() for component in started))
    try:
        for component in started:
            component.kill(signal.SIGTERM)
        wait_gone(family, grace)
    finally:
        family = family.union(*(component.family() for component in started))
        kill(family)
        for component in started:
            if component.process:
                component.process.wait()


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill each process that is still the one it was, and wait up to 5 seconds for all of them."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(killed, 5)


def wait_gone(processes: Iterable[psutil.Process], timeout: float) -> None:
    """Wait until none of the processes is alive, or ``timeout`` seconds have passed."""
    pids = [process.pid for process in processes]
    deadline = time.monotonic() + timeout
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Return whether a process exists; one that has ended but was not collected does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
