"""An installation brings what the package needs, and nothing else."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dev.release_closure import AIRFLOW, ROOT, added, closure, pins, required

PACKAGE = ROOT / "airflow_provider_quickrouter"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_AIRFLOW = {
    "airflow.providers.common.compat": "apache-airflow-providers-common-compat",
    "airflow.providers.http": "apache-airflow-providers-http",
    "airflow.providers.openlineage": "apache-airflow-providers-openlineage",
}
"""Distributions that share the package ``airflow``; the rest of it is Airflow's own."""

AIRFLOWS_OWN = {
    "anyio": "the gallery runs in Airflow's API server",
    "attrs": "OpenLineage's facets are classes of it",
    "fastapi": "the gallery runs in Airflow's API server",
    "fsspec": "the file systems of ``ObjectStoragePath`` are its classes",
    "sqlalchemy": "the gallery reads XComs as Airflow does",
    "starlette": "the gallery runs in Airflow's API server",
}
"""Used where Airflow itself has loaded them, in its own version: why they are no requirements."""

ONLY_IF_THERE = {"apache-airflow-providers-openlineage", "openlineage-python"}
"""Imported only when they call."""

EXTRAS = {
    canonicalize_name(Requirement(text).name)
    for texts in PROJECT["optional-dependencies"].values()
    for text in texts
}


def modules(path: Path) -> Iterator[str]:
    """Names of the modules of others that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def imported() -> set[str]:
    """The distributions that the package imports."""
    names = {name for path in PACKAGE.rglob("*.py") for name in modules(path)}
    known, owners = {*sys.stdlib_module_names, PACKAGE.name}, packages_distributions()
    foreign = {name for name in names if name.split(".")[0] not in known}
    return {distribution_of(name, owners) for name in foreign}


def distribution_of(module: str, owners: Mapping[str, list[str]]) -> str:
    for prefix, name in OF_AIRFLOW.items():
        if f"{module}.".startswith(f"{prefix}."):
            return name
    top = module.split(".")[0]
    return AIRFLOW if top == "airflow" else canonicalize_name(owners[top][0])


def declared() -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in required()}


def test_what_is_imported_is_declared() -> None:
    assert imported() - declared() - EXTRAS - set(AIRFLOWS_OWN) - ONLY_IF_THERE == set()


def test_what_is_declared_is_imported() -> None:
    assert declared() | EXTRAS <= imported()


def test_what_is_airflows_own_comes_with_airflow() -> None:
    assert set(AIRFLOWS_OWN) <= set(closure([AIRFLOW]))
    assert set(AIRFLOWS_OWN) <= imported()


def told() -> dict[str, str]:
    """``{distribution: who needs it}`` of the table in the docs."""
    page = (ROOT / "docs" / "getting-started" / "installation.md").read_text()
    rows = re.findall(r"(?m)^\| `([\w-]+)` \| (.+?) \|", page)
    return dict(rows)


def test_the_page_tells_each_distribution_that_is_added_to_airflows() -> None:
    assert set(told()) == added()
    assert len(added()) == 9


def test_the_page_tells_who_needs_it() -> None:
    needs, ours = closure(required()), added()
    for name, who in told().items():
        users = {f"`{user}`" for user in ours if name in needs[user]}
        assert set(who.split(", ")) - {"the package"} == users, name
        assert ("the package" in who) == (name in declared()), name


def test_what_the_page_calls_airflows_own_is() -> None:
    page = (ROOT / "docs" / "getting-started" / "installation.md").read_text()
    named = page.partition("The package also imports")[2].partition(", which Airflow")[0]
    assert set(re.findall(r"`([^`]+)`", named)) == declared() - added() - {AIRFLOW}
    assert {"starlette", "uvicorn"} <= set(closure([AIRFLOW]))


def test_a_closure_follows_extras_and_heeds_markers() -> None:
    plain, more = closure(["uvicorn"]), closure(["uvicorn[standard]"])
    assert {"uvicorn", "click", "h11"} <= set(plain) < set(more)
    assert more["uvicorn"] > plain["uvicorn"]
    assert not {"colorama", "pywin32"} & set(more)


def test_pins_are_those_of_the_development_environment() -> None:
    pinned = (ROOT / "requirements-dev.txt").read_text().splitlines()
    exact = {line.partition(" ;")[0] for line in pinned}
    assert set(pins(closure(required()))) <= exact
