"""What stands around the numbers of a benchmark: Markdown, the machine, the versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.table import line


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first row is the head, the first column to the left."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(row, widths) for row in (rows[0], rule, *rows[1:])]


def number(value: float | None, digits: int = 0, unknown: str = "-") -> str:
    """Return a number for people: thousands are set apart."""
    return unknown if value is None else f"{value:,.{digits}f}"


def circumstances(packages: Sequence[str] = ("apache-airflow", "aiohttp")) -> str:
    """Return one line: when, on which machine, with which versions."""
    found = ", ".join(f"{name} {version_of(name)}" for name in packages)
    cores = os.cpu_count()
    today = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{today}; {processor()}, {cores} cores; Python {platform.python_version()}, {found}"


def version_of(package: str) -> str:
    """Return the version of an installed package, ``?`` if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def processor() -> str:
    """Return the name of the CPU's model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [text.split(":", 1)[1].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.machine()
