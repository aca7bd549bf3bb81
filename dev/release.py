"""``python -m dev.release check [TAG]``: whether this may be released, and under which tag.

``python -m dev.release notes`` prints the changelog's section of the version.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from airflow_provider_quickrouter import __version__
from dev.release_fixture import RELEASES

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
SECTION = re.compile(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
RELEASED = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
"""What a version that is published looks like."""


def problems(version: str, changelog: str, fixtures: Sequence[str], tag: str | None) -> Iterator[str]:
    """Yield, a line each, why a version may not be released.

    :param fixtures: the versions with a fixture in ``tests/triggers/releases``.
    :param tag: as git has it, ``v`` in front; None before there is one.
    """
    newest = next(SECTION.finditer(changelog), None)
    if not RELEASED.fullmatch(version):
        yield f"__version__ is {version!r}: three numbers are wanted, as in 1.2.3 or 1.2.3rc1"
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag!r}, but __version__ is {version!r}: v{version} would fit"
    if newest is None or newest[1] != version:
        found = f"its newest is {newest[1]}" if newest else "it has none"
        yield f"CHANGELOG.md does not begin with a section '## {version}': {found}"
    elif not newest[2].strip():
        yield f"the section of {version} in CHANGELOG.md is empty"
    if version not in fixtures:
        yield f"{RELEASES.name}/{version}.json is missing: python -m dev.release_fixture makes it"


def notes(changelog: str, version: str) -> str:
    """Return a version's section of a changelog.

    :raises LookupError: nothing.
    """
    for section in SECTION.finditer(changelog):
        if section[1] == version:
            return section[2].strip()
    raise LookupError(f"CHANGELOG.md has no section '## {version}'")


def main(arguments: Sequence[str]) -> str | None:
    """Do what the arguments say; return why it may not be, for ``sys.exit``."""
    changelog = CHANGELOG.read_text()
    match arguments:
        case ["check", *tags] if len(tags) < 2:
            fixtures = [path.stem for path in RELEASES.glob("*.json")]
            tag = tags[0] if tags else None
            if found := list(problems(__version__, changelog, fixtures, tag)):
                return "\n".join(found)
            print(f"{__version__} may be released")
            return None
        case ["notes"]:
            print(notes(changelog, __version__))
            return None
    return __doc__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
