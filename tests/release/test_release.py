"""A version is told in one place, and is released only if changelog, tag and fixture agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from airflow_provider_quickrouter import __version__
from dev.release import CHANGELOG, notes, problems
from dev.release_closure import ROOT
from dev.release_readme import with_addresses

LOG = "# Changelog\n\n## 1.2.0\n\nNewer things.\n\n## 1.1.0\n\nOlder things.\n"
RELEASE = [sys.executable, "-m", "dev.release"]


def said(
    version: str = "1.2.0", log: str = LOG, fixtures: tuple[str, ...] = ("1.2.0",), tag: str | None = None
) -> str:
    return "\n".join(problems(version, log, fixtures, tag))


@pytest.mark.parametrize("tag", [None, "v1.2.0"])
def test_a_version_of_which_all_is_told_may_be_released(tag: str | None) -> None:
    assert said(tag=tag) == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tag": "v1.2.1"}, "the tag is 'v1.2.1', but __version__ is '1.2.0': v1.2.0 would fit"),
        ({"tag": "1.2.0"}, "v1.2.0 would fit"),
        ({"version": "1.3.0", "fixtures": ("1.3.0",)}, "'## 1.3.0': its newest is 1.2.0"),
        ({"version": "1.1.0", "fixtures": ("1.1.0",)}, "'## 1.1.0': its newest is 1.2.0"),
        ({"log": "# Changelog\n"}, "it has none"),
        ({"log": "## 1.2.0\n\n## 1.1.0\n\nOlder things.\n"}, "the section of 1.2.0 in CHANGELOG.md is empty"),
        ({"fixtures": ("1.1.0",)}, "releases/1.2.0.json is missing"),
        ({"version": "1.2.0.dev1"}, "'1.2.0.dev1': three numbers are wanted"),
    ],
)
def test_what_does_not_agree_is_told_in_one_line(given: dict[str, str], told: str) -> None:
    assert told in said(**given)  # type: ignore[arg-type]


def test_candidates_may_be_released() -> None:
    log, fixtures = LOG.replace("1.2.0", "1.2.0rc1"), ("1.2.0rc1",)
    assert said("1.2.0rc1", log, fixtures, "v1.2.0rc1") == ""


def test_the_notes_are_what_the_changelog_says_of_the_version() -> None:
    assert notes(LOG, "1.2.0") == "Newer things."
    assert notes(LOG, "1.1.0") == "Older things."
    with pytest.raises(LookupError, match="no section '## 3.0.0'"):
        notes(LOG, "3.0.0")


def test_the_version_that_is_here_has_notes() -> None:
    assert len(notes(CHANGELOG.read_text(), __version__)) > 100


def test_the_command_ends_with_the_reason() -> None:
    done = subprocess.run([*RELEASE, "check", "v0.0.0"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert f"v{__version__} would fit" in done.stderr


def test_the_command_is_content_with_what_is_here() -> None:
    command = [*RELEASE, "check", f"v{__version__}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "airflow_provider_quickrouter/__init__.py"
    code = [*(ROOT / "airflow_provider_quickrouter").rglob("*.py"), ROOT / "docs" / "conf.py"]
    literal = re.compile(rf'"{re.escape(__version__)}"')
    assert len([path for path in code if literal.search(path.read_text())]) == 1


def test_on_pypi_a_path_of_the_readme_is_an_address() -> None:
    text = '[a](docs/a.md#b) [c](https://c) [d](#d) <img src="e.png"> <img src="https://f">'
    assert with_addresses(text, "https://r", "1.0") == (
        "[a](https://r/blob/v1.0/docs/a.md#b) [c](https://c) [d](#d) "
        '<img src="https://r/raw/v1.0/e.png"> <img src="https://f">'
    )
