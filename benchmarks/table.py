"""The table: one column for each contender, in Markdown that is readable as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.counting import Fate, score
from tests.chaos.run import Result


def table(results: Mapping[str, Result]) -> list[str]:
    """Return the lines of the table; ``results`` are by the title of the contender."""
    columns = [column(result) for result in results.values()]
    rows = [["", *results], *([name, *(c[name] for c in columns)] for name in columns[0])]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(row, widths) for row in (rows[0], rule, *rows[1:])]


def line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one row: the first cell to the left, the numbers to the right."""
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def column(result: Result) -> dict[str, str]:
    """Return the cells of one contender, by the name of the row."""
    counted = score(result.books)
    numbers = {
        "tasks": len(result.books.jobs),
        "tasks succeeded": counted.well,
        "tasks failed as uncertain": counted.uncertain,
        "tasks failed with their prediction": counted.doomed,
        "tasks failed otherwise": counted.failed,
        "creates accepted": counted.accepted,
        "... delivered": counted.fates[Fate.DELIVERED],
        "... failed": counted.fates[Fate.ENDED_BADLY],
        "... reported as uncertain": counted.fates[Fate.REPORTED],
        "... lost": counted.fates[Fate.LOST],
        "lost, though the task succeeded": counted.hidden,
        "duplicates": counted.duplicates,
        "requests": result.requests,
    }
    return {
        **{name: str(number) for name, number in numbers.items()},
        "requests per second": f"{result.requests / result.seconds:.1f}",
        "seconds": f"{result.seconds:.0f}",
        "kills": str(result.struck.total()),
    }
