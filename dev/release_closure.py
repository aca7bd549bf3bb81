"""The distributions of an installation, from the metadata of those installed here.

``python -m dev.release_closure`` prints the pins of all that a user of the wheel runs, for audits.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW = "apache-airflow"


def required() -> list[str]:
    """Return what the wheel requires, without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def closure(requirements: Iterable[str]) -> dict[str, set[str]]:
    """Return all distributions that an installation of these needs, each with what it needs.

    By canonical names; extras and markers count as pip counts them in this environment.

    :raises importlib.metadata.PackageNotFoundError: one of them is not installed here.
    """
    needed: dict[str, set[str]] = {}
    seen = set[tuple[str, str]]()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        needs = needed.setdefault(name, set())
        for extra in {"", *one.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            found = list(_needs_of(distribution(name), extra))
            needs |= {canonicalize_name(one.name) for one in found} - {name}
            waiting += found
    return needed


def added() -> set[str]:
    """Return what an installation of the wheel adds to one that holds only Airflow."""
    return set(closure(required())) - set(closure([AIRFLOW]))


def pins(names: Iterable[str]) -> list[str]:
    """Return ``name==version`` of each, in order."""
    return [f"{name}=={distribution(name).version}" for name in sorted(names)]


def _needs_of(dist: Distribution, extra: str) -> Iterator[Requirement]:
    """Yield what a distribution needs, or what one of its extras needs beside."""
    for one in map(Requirement, dist.requires or ()):
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        with_extra = one.marker is None or one.marker.evaluate({"extra": extra})
        if with_extra and not (extra and always):
            yield one


if __name__ == "__main__":
    print("\n".join(pins(closure(required()))))
