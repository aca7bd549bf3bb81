"""What the matrix is made of: versions of Airflow, and the Pythons that each of them supports.

Nothing is run here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).parent / "pins"
OLDEST_PYTHON = (3, 11)

Python = tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """One version of Airflow, with the distributions that a user of it has.

    :param name: as it is chosen on the command line.
    :param airflow: the exact version.
    :param newest_python: the newest that this Airflow's classifiers name.
    :param until: the day (ISO) after which nothing was published that is pinned for this cell:
        some weeks after the release, since Airflow's own upper bounds are loose.
    :param ours_until: the same for the providers that this Airflow was released with in versions
        too old for this package: its users update them.
    :param lowest: pin the lowest version of each dependency that ``pyproject.toml`` allows.
    """

    name: str
    airflow: str
    newest_python: Python
    until: str
    ours_until: str | None = None
    lowest: bool = False

    @property
    def pins(self) -> Path:
        """The file of this cell's constraints."""
        return PINS / f"{self.name}.txt"

    @property
    def executor(self) -> str:
        """Airflow's executor for a database of SQLite."""
        return "SequentialExecutor" if self.airflow.startswith("2.") else "LocalExecutor"

    def supports(self, python: Python) -> bool:
        """Return whether both this Airflow and the package run on that Python."""
        return OLDEST_PYTHON <= python <= self.newest_python


CELLS = (
    Cell("lowest", "2.11.0", (3, 12), "2025-07-31", "2026-04-15", lowest=True),
    Cell("2.11", "2.11.2", (3, 12), "2026-04-15"),
    Cell("3.0", "3.0.6", (3, 12), "2025-09-20", "2026-04-15"),
    Cell("3.1", "3.1.8", (3, 13), "2026-04-15"),
    Cell("3.2", "3.2.2", (3, 14), "2026-06-30"),
    Cell("3.3", "3.3.2", (3, 14), "2026-09-25"),
)


def chosen(names: Iterable[str]) -> tuple[Cell, ...]:
    """Return the cells of these names, in the matrix's own order; all if there is no name.

    :raises ValueError: a name is unknown.
    """
    wanted = set(names)
    known = {cell.name for cell in CELLS}
    if wanted - known:
        unknown = ", ".join(sorted(wanted - known))
        raise ValueError(f"no such cell: {unknown}; there are {', '.join(c.name for c in CELLS)}")
    return tuple(cell for cell in CELLS if not wanted or cell.name in wanted)
