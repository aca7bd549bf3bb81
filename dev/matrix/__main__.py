"""``make matrix``: the wheel on each Airflow that it is for, with each Python that is given.

A fresh environment for each, made from committed pins: install, import every module with warnings
as errors, validate the provider info, run the example DAGs against the sandbox. Ends with 1 if
anything is not as it should be.
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dev.gateway import SANDBOX_KEY, connection, connection_env, sandbox
from dev.matrix.cells import Cell, Python, chosen
from dev.matrix.commands import CommandFailed, Commands
from dev.matrix.environment import Environment
from dev.matrix.steps import last_line, steps
from dev.matrix.table import Outcome, Row, markdown, plain
from dev.report import Clock
from dev.waiting import ending_in_order

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".airflow" / "matrix"
DAGS = (ROOT / "dags_examples", Path(__file__).parent / "dags")
QUICK = ("--starting", "0.1", "--processing", "0.3")
TAIL = 40
"""Lines of a failed row's log that are shown."""


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine: its whole path, and its version."""

    command: str
    version: Python


def interpreter(command: str) -> Interpreter:
    """Return the version of a Python.

    :raises RuntimeError: there is none.
    """
    found = shutil.which(command)
    if not found:
        raise RuntimeError(f"{command} does not exist")
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([found, "-c", code], capture_output=True, text=True, check=True)
    major, minor = done.stdout.split()
    return Interpreter(str(Path(found).absolute()), (int(major), int(minor)))


def build_wheel(folder: Path) -> Path:
    """Build the wheel that a user would get.

    :raises RuntimeError: it cannot be built.
    """
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    done = subprocess.run([*command, "--outdir", str(folder), str(ROOT)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the wheel cannot be built:\n{done.stdout}{done.stderr}")
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Matrix:
    """What all rows share.

    :param more: variables of Airflow's processes: the connection.
    :param keep: do not delete the environments.
    """

    wheel: Path
    commands: Commands
    clock: Clock
    more: dict[str, str]
    keep: bool

    def row(self, cell: Cell, python: Interpreter) -> Row:
        """Run all steps of one row, until one fails."""
        row = new_row(cell, python.version)
        if row.unsupported:
            return row
        began, name = time.monotonic(), f"{row.airflow} on Python {row.python}"
        folder = HOME / f"{cell.name}-python{row.python}"
        place = Environment(folder, cell, python.command, self.commands, DAGS, self.more)
        for number, outcome in enumerate(self._outcomes(place)):
            row.outcomes.append(outcome)
            self.clock.say(f"{name}: {steps()[number].__name__} {outcome.text}")
        row.seconds = time.monotonic() - began
        if not row.ok:
            show_log(place.log, name)
        if not self.keep:
            shutil.rmtree(folder)
        return row

    def _outcomes(self, place: Environment) -> Iterator[Outcome]:
        for step in steps():
            try:
                outcome = step(place, self.wheel)
            except (CommandFailed, OSError, ValueError, sqlite3.Error) as error:
                outcome = Outcome(wrong=last_line(str(error)))
            yield outcome
            if outcome.wrong:
                return


def new_row(cell: Cell, python: Python) -> Row:
    """Return the row as it is before anything has run."""
    airflow = cell.airflow if cell.airflow.startswith(cell.name) else f"{cell.airflow} {cell.name}"
    version = ".".join(map(str, python))
    if cell.supports(python):
        return Row(airflow, version)
    return Row(airflow, version, unsupported="not supported by this Airflow")


def show_log(log: Path, name: str) -> None:
    """Print the end of a failed row's output."""
    lines = log.read_text().splitlines()[-TAIL:] if log.exists() else []
    print("\n".join([f"--- the end of the log of {name}", *lines]), file=sys.stderr, flush=True)


def run(options: argparse.Namespace, clock: Clock) -> list[Row]:
    """Run the rows, several at once, and return them in their order."""
    shutil.rmtree(HOME, ignore_errors=True)
    wheel = build_wheel(HOME / "dist")
    clock.say(f"built {wheel.name}")
    pythons = [interpreter(command) for command in options.pythons]
    wanted = [(cell, python) for cell in chosen(options.cells) for python in pythons]
    commands = Commands()
    with sandbox(HOME / "sandbox.log", options=QUICK) as gateway:
        more = connection_env(connection(SANDBOX_KEY, gateway.url))
        matrix = Matrix(wheel, commands, clock, more, options.keep)
        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                return list(pool.map(lambda pair: matrix.row(*pair), wanted))
            finally:
                commands.end()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m dev.matrix", description=__doc__)
    parser.add_argument("cells", nargs="*", help="lowest, 2.11, ... (default: all)")
    parser.add_argument("--pythons", type=str.split, default=[sys.executable], help="commands, in one word")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rows at once")
    parser.add_argument("--markdown", action="store_true", help="the table as Markdown")
    parser.add_argument("--keep", action="store_true", help="do not delete the environments")
    return parser.parse_args(arguments)


def main() -> int:
    """Print the table; return 1 if anything is not as it should be."""
    options, clock = parse(sys.argv[1:]), Clock()
    with ending_in_order(clock.say):
        rows = run(options, clock)
    print(f"\n{markdown(rows) if options.markdown else plain(rows)}\n")
    clock.say("all as it should be" if all(row.ok for row in rows) else "failed: see above")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
