"""The matrix as a table: a row for each Airflow and Python, a column for each step. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

STEPS = ("install", "import", "provider info", "example DAGs")
HEADER = ("Airflow", "Python", *STEPS, "seconds")
WIDEST = 100
"""Characters of what is wrong that a table shows; the log has the rest."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    :param detail: of a success, for the table.
    :param wrong: of a failure, what is wrong; the table shows its first line.
    """

    detail: str = ""
    wrong: str = ""

    @property
    def text(self) -> str:
        """As the table shows it."""
        if self.wrong:
            return f"FAILED: {self.wrong.strip().splitlines()[0][:WIDEST]}"
        return f"ok, {self.detail}" if self.detail else "ok"


@dataclass
class Row:
    """One Airflow on one Python.

    :param airflow: its version, with the cell's name if that is not part of it.
    :param unsupported: why nothing was run.
    :param outcomes: of the steps that were run, in their order; a failed one is the last.
    """

    airflow: str
    python: str
    unsupported: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a Python that Airflow does not support is not wrong."""
        if self.unsupported:
            return True
        return len(self.outcomes) == len(STEPS) and not any(one.wrong for one in self.outcomes)

    def texts(self) -> tuple[str, ...]:
        """Return the row's columns."""
        if self.unsupported:
            return (self.airflow, self.python, self.unsupported, *[""] * len(STEPS))
        done = [one.text for one in self.outcomes]
        left = ["not run"] * (len(STEPS) - len(done))
        return (self.airflow, self.python, *done, *left, f"{self.seconds:.0f}")


def plain(rows: Sequence[Row]) -> str:
    """Return the table with columns of even width, for a terminal."""
    lines = [HEADER, *(row.texts() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADER))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as Markdown, for the documentation."""
    rule = ("---",) * len(HEADER)
    lines = [HEADER, rule, *(row.texts() for row in rows)]
    cells = ("|".join(f" {text} " if text else " " for text in line) for line in lines)
    return "\n".join(f"|{line}|" for line in cells)
