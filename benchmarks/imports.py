"""``python -m benchmarks.imports``: what importing costs every process that parses a DAG.

Each import runs in fresh processes, ``--runs`` of them, the subjects in turns. A process first
imports ``airflow.sdk``; then the clock runs: CPU milliseconds of the process, threads included.
The median is shown, and the share of the HTTP provider's. The bytecode is there before the first
run. ``--heaviest N`` adds the N modules that take most by themselves, of ours alone, as
``-X importtime`` has it (wall clock).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from statistics import median

from benchmarks.report import circumstances, markdown
from benchmarks.waits import clean

OURS = "airflow_provider_quickrouter"
OPERATORS = "ours: operators, sensors"
HTTP = "HTTP provider: operators, sensors"
SUBJECTS = {
    HTTP: "import airflow.providers.http.operators.http, airflow.providers.http.sensors.http",
    "bases: BaseOperator, BaseSensorOperator": (
        "from airflow.providers.common.compat.sdk import BaseOperator, BaseSensorOperator"
    ),
    "Airflow: triggers.temporal": "import airflow.providers.standard.triggers.temporal",
    OPERATORS: f"import {OURS}.operators.prediction, {OURS}.sensors.prediction",
    "ours: operators, sensors, references of models": (
        f"import {OURS}.operators.prediction, {OURS}.sensors.prediction, {OURS}.api.models"
    ),
    "ours: trigger": f"import {OURS}.triggers.prediction",
}
TIMED = """
import airflow.sdk, time
began = time.process_time()
{statement}
print("took", time.process_time() - began)
"""
LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("benchmarks.imports", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--heaviest", type=int, default=0, metavar="N")
    options = parser.parse_args()
    took = measured(options.runs)
    rows = [("import", "CPU ms", "of the HTTP provider's"), *map_rows(took)]
    print_lines(["", circumstances(("apache-airflow", "apache-airflow-providers-http")), ""])
    print_lines(markdown(rows))
    if options.heaviest:
        print_lines(["", *markdown([("module", "ms"), *heaviest(options.heaviest)])])
    return 0


def measured(runs: int) -> dict[str, float]:
    """Return the median CPU milliseconds of each subject."""
    found: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    with tempfile.TemporaryDirectory() as home:
        for statement in SUBJECTS.values():
            took(statement, home)
        for _ in range(runs):
            for name, statement in SUBJECTS.items():
                found[name].append(took(statement, home))
    return {name: median(values) for name, values in found.items()}


def map_rows(took: dict[str, float]) -> list[tuple[str, str, str]]:
    """Return the rows of the table."""
    return [(name, f"{ms:.1f}", f"{ms / took[HTTP]:.1%}") for name, ms in took.items()]


def took(statement: str, home: str) -> float:
    """Return the CPU milliseconds of a statement in a fresh process."""
    code = TIMED.format(statement=statement)
    return 1000 * float(python(["-c", code], home).stdout.split()[-1])


def heaviest(count: int) -> list[tuple[str, str]]:
    """Return the modules that take most by themselves when ours is imported, and milliseconds."""
    code = f"import airflow.sdk, sys\nsys.stderr.write('-----')\n{SUBJECTS[OPERATORS]}"
    with tempfile.TemporaryDirectory() as home:
        told = python(["-X", "importtime", "-c", code], home).stderr.split("-----", 1)[1]
    return slowest(told, count)


def slowest(told: str, count: int) -> list[tuple[str, str]]:
    """Return the slowest of what ``-X importtime`` told: module, own milliseconds."""
    found = sorted(((int(own), name) for own, name in LINE.findall(told)), reverse=True)
    return [(name, f"{own / 1000:.1f}") for own, name in found[:count]]


def python(arguments: Sequence[str], home: str) -> subprocess.CompletedProcess[str]:
    """Run Python with an Airflow home of its own."""
    environment = clean() | {"AIRFLOW_HOME": home}
    command = [sys.executable, *arguments]
    return subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=True
    )


def print_lines(lines: Sequence[str]) -> None:
    """Print."""
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
