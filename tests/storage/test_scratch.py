"""Temporary folders, and which ones of other processes are removed."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from airflow_provider_quickrouter.storage.scratch import PREFIX, YOUNGEST, temporary_folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's folder for temporary files, with that of a process that is dead."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{PREFIX}12345678" / "0").mkdir(parents=True)
    (tmp_path / f"{PREFIX}12345678" / "0" / "file").write_bytes(b"half")
    return tmp_path


def make_older(folder: Path, seconds: float) -> None:
    os.utime(folder, (time.time() - seconds,) * 2)


def test_an_abandoned_folder_is_removed_and_others_are_not(root: Path) -> None:
    others = {root / f"{PREFIX}mine-and-dear", root / "quickrouter", root / "quickrouter-12345678"}
    for other in others:
        other.mkdir()
    (root / f"{PREFIX}a--file1").write_text("x")
    (root / f"{PREFIX}a--link1").symlink_to(root / "quickrouter")
    for path in root.iterdir():
        make_older(path, YOUNGEST + 5)
    with temporary_folder() as mine:
        assert mine.parent == root
        assert {path for path in root.iterdir() if path.is_dir() and not path.is_symlink()} == {mine, *others}
    assert not mine.exists()


def test_a_folder_is_left_to_the_process_that_uses_it(root: Path) -> None:
    with temporary_folder() as used:
        make_older(used, YOUNGEST + 5)
        with temporary_folder() as mine:
            assert used.exists()
            assert mine != used


def test_a_folder_that_may_not_be_locked_yet_is_left_alone(root: Path) -> None:
    make_older(root / f"{PREFIX}12345678", YOUNGEST - 5)
    with temporary_folder():
        assert (root / f"{PREFIX}12345678").exists()
