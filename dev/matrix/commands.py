"""Commands that end with the matrix, however it ends."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LONGEST = 600.0
"""Seconds after which a command is taken to hang."""


class CommandFailed(RuntimeError):
    """A command failed or did not end; the message is its output."""


@dataclass
class Commands:
    """Runs commands, from several threads, and can end those that run.

    Each is the leader of a process group, so that what it has started ends with it.
    """

    _running: set[subprocess.Popen[str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: bool = False

    def run(self, command: Sequence[str], env: Mapping[str, str], folder: Path, log: Path) -> str:
        """Run a command to its end, append its output to ``log``, and return it.

        :param folder: where it runs.
        :raises CommandFailed: its code was not 0, or it took longer than ``LONGEST``.
        """
        process = self._start(command, env, folder)
        try:
            output, _ = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            kill(process)
            output = f"{process.communicate()[0]}\nno end after {LONGEST:g} s: {command}"
        finally:
            with self._lock:
                self._running.discard(process)
        with log.open("a") as out:
            out.write(f"$ {' '.join(command)}\n{output}\n")
        if process.returncode:
            raise CommandFailed(output or f"{command[0]} ended with {process.returncode}")
        return output

    def _start(self, command: Sequence[str], env: Mapping[str, str], folder: Path) -> subprocess.Popen[str]:
        with self._lock:
            if self._over:
                raise CommandFailed("interrupted")
            process = subprocess.Popen(
                list(command),
                env=dict(env),
                cwd=folder,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def end(self) -> None:
        """Kill what runs, and start nothing more."""
        with self._lock:
            self._over = True
            for process in self._running:
                kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
