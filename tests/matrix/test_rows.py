"""Which rows there are, and with which Python each is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dev.matrix.__main__ import interpreter, new_row, parse
from dev.matrix.cells import chosen


def test_a_python_is_found_by_a_path_from_here_and_knows_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    found = interpreter("bin/python")
    assert found.command == str(tmp_path / "bin" / "python")
    assert found.version == sys.version_info[:2]


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"there is no python2\.0"):
        interpreter("python2.0")


def test_a_python_that_an_airflow_does_not_support_is_told_and_not_run() -> None:
    (old,) = chosen(["lowest"])
    row = new_row(old, (3, 14))
    assert (row.airflow, row.unsupported) == ("2.11.0 lowest", "not supported by this Airflow")
    assert not new_row(old, (3, 12)).unsupported


def test_the_command_line_takes_cells_and_pythons() -> None:
    options = parse(["lowest", "3.3", "--pythons", "python3.11 /opt/python3.14/bin/python3.14"])
    assert options.cells == ["lowest", "3.3"]
    assert options.pythons == ["python3.11", "/opt/python3.14/bin/python3.14"]
    assert parse([]).pythons == [sys.executable]
