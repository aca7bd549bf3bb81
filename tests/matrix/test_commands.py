"""Commands of the matrix end, and with them what they started."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import psutil
import pytest

from dev.matrix import commands as module
from dev.matrix.commands import CommandFailed, Commands
from dev.waiting import wait_until

SLEEPS = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPS!r}])"


def run(commands: Commands, folder: Path, code: str) -> str:
    command = [sys.executable, "-c", code]
    return commands.run(command, os.environ, folder, folder / "log.txt")


def children() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if any(SLEEPS in part for part in child.cmdline())]


def test_what_a_command_says_is_returned_and_kept_in_the_log(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print('and this', file=sys.stderr)"
    said = run(Commands(), tmp_path, code)
    assert sorted(said.splitlines()) == sorted([str(tmp_path), "and this"])
    assert said in (tmp_path / "log.txt").read_text()


def test_a_command_that_fails_raises_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no such thing"):
        run(Commands(), tmp_path, "raise SystemExit('no such thing')")
    assert "no such thing" in (tmp_path / "log.txt").read_text()


def test_a_command_that_hangs_is_ended_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 1.0)
    with pytest.raises(CommandFailed, match="no end after 1 s"):
        run(Commands(), tmp_path, PARENT)
    assert children() == []


def test_the_end_of_all_ends_what_runs_with_its_children_and_starts_nothing_more(
    tmp_path: Path,
) -> None:
    commands, errors = Commands(), list[CommandFailed]()

    def runs() -> None:
        with pytest.raises(CommandFailed) as failed:
            run(commands, tmp_path, PARENT)
        errors.append(failed.value)

    thread = threading.Thread(target=runs)
    thread.start()
    wait_until(lambda: len(children()) == 2, 30, lambda: str(children()))
    commands.end()
    thread.join(30)
    wait_until(lambda: not children(), 30, lambda: str(children()))
    assert len(errors) == 1
    with pytest.raises(CommandFailed, match="interrupted"):
        run(commands, tmp_path, "print('too late')")
