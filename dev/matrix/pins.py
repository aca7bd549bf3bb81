"""Compile the constraints of the cells: ``python -m dev.matrix.pins [CELL ...]``.

They make the matrix repeatable: a distribution that is published tomorrow changes nothing.
"""

import subprocess
import sys
from collections.abc import Iterable

from dev.matrix.cells import Cell, chosen
from dev.matrix.environment import UV
from dev.release_closure import required

AIRFLOW = "apache-airflow>="
UPDATED = ("apache-airflow-providers-common-compat", "apache-airflow-providers-http")
"""Of the dependencies, those that users of an older Airflow must update."""


def requirements(cell: Cell, dependencies: Iterable[str]) -> list[str]:
    """Return what is resolved for a cell: Airflow, and the package's dependencies.

    Each is bound to the Pythons that this Airflow supports; one file then serves all of them.
    """
    major, minor = cell.newest_python
    others = [one for one in dependencies if not one.startswith(AIRFLOW)]
    marker = f"python_version < '{major}.{minor + 1}'"
    return [f"{one} ; {marker}" for one in (f"apache-airflow=={cell.airflow}", *others)]


def options(cell: Cell) -> list[str]:
    """Return uv's options for a cell."""
    found = ["--universal", "--python-version", "3.11", "--exclude-newer", cell.until]
    for name in UPDATED if cell.ours_until else ():
        found += ["--exclude-newer-package", f"{name}={cell.ours_until}"]
    return found + (["--resolution", "lowest-direct"] if cell.lowest else [])


def compile_pins(cell: Cell) -> None:
    """Write the constraints of a cell.

    :raises CalledProcessError: uv cannot resolve them, and has printed the reason.
    """
    cell.pins.parent.mkdir(exist_ok=True)
    quiet = ["--quiet", "--no-header", "--no-annotate"]
    subprocess.run(
        [str(UV), "pip", "compile", *quiet, *options(cell), "-", "-o", str(cell.pins)],
        input="\n".join(requirements(cell, required())),
        text=True,
        check=True,
    )


def main(names: list[str]) -> None:
    """Compile the constraints of these cells, or of all."""
    for cell in chosen(names):
        compile_pins(cell)
        print(f"{cell.name}: {len(cell.pins.read_text().splitlines())} distributions")


if __name__ == "__main__":
    main(sys.argv[1:])
