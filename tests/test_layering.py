"""Which module may import which: what lies in its own layer or in a lower one; no circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import airflow_provider_quickrouter
from tests.pure_modules import PURE

PACKAGE = Path(airflow_provider_quickrouter.__file__).parent
NAME = PACKAGE.name
LAYERS = (
    ("", "links"),
    ("api.*",),
    ("polling.poll", "polling.history", "polling.rate_limit", "polling.list_poll"),
    ("polling.poll", "polling.schedule", "tasks.reporting", "tasks.lineage"),
    ("storage.media", "storage.names", "storage.target"),
    ("hooks.*",),
    ("polling.poller", "storage.*", "submission.*"),
    ("batch.*",),
    ("triggers.*",),
    ("tasks.*",),
    ("operators.*", "sensors.*"),
    ("transfers.*",),
    ("decorators.*", "cli"),
)
"""From the lowest to the highest; the first layer that names a module is its own."""

APART = {"plugins": ("api.", "links", "storage.", "plugins."), "policies": ("api.", "policies.")}
"""Packages that no other one imports, and what they may import."""


@cache
def modules() -> dict[str, Path]:
    """All modules by their name below the package, "" for the package itself."""
    paths = {path.relative_to(PACKAGE).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    return {".".join(name.parts).removesuffix("__init__").strip("."): paths[name] for name in paths}


@cache
def imports(module: str) -> set[str]:
    """What a module imports of the package, within functions and for types alone as well."""
    found = set[str]()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if below(full) in modules() else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {below(name) for name in found if name.split(".")[0] == NAME} - {module}


def below(name: str) -> str:
    return name.removeprefix(NAME).removeprefix(".")


def layer(module: str) -> int:
    for number, patterns in enumerate(LAYERS):
        if any(fnmatch(module, pattern) or f"{module}.*" == pattern for pattern in patterns):
            return number
    raise ValueError(f"{module} lies in no layer")


LAYERED = sorted(name for name in modules() if name.split(".")[0] not in {"sandbox", *APART})


@pytest.mark.parametrize("module", LAYERED)
def test_a_module_imports_nothing_that_lies_above_it(module: str) -> None:
    assert {name for name in imports(module) if layer(name) > layer(module)} == set()


@pytest.mark.parametrize(("package", "allowed"), APART.items())
def test_a_package_apart_imports_only_what_it_may(package: str, allowed: tuple[str, ...]) -> None:
    own = [name for name in modules() if name.startswith(f"{package}.")]
    assert all(name.startswith(allowed) for module in own for name in imports(module))


def test_the_sandbox_imports_nothing_of_the_rest_but_the_version() -> None:
    own = {name for name in modules() if name.split(".")[0] == "sandbox"}
    assert {name for module in own for name in imports(module)} <= own | {""}
    assert not any(imports(module) & own for module in LAYERED)


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: imports(module) - {""} for module in modules()}).prepare()


def loaded_by(statement: str, *watched: str) -> list[str]:
    """Which of the watched packages a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sorted(set({watched!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1].split()


def test_a_pure_module_loads_neither_airflow_nor_an_http_client() -> None:
    watched = ("airflow", "requests", "aiohttp", "httpx", "http.client")
    statements = [f"import {NAME}.{module}" for module in PURE]
    if loaded_by("; ".join(statements), *watched):  # an interpreter for each takes a minute
        loaded = {statement: loaded_by(statement, *watched) for statement in statements}
        assert {statement: names for statement, names in loaded.items() if names} == {}


def test_what_dag_files_import_loads_no_http_client() -> None:
    modules = (
        *("operators.prediction", "operators.batch", "sensors.prediction", "policies.retry"),
        *("transfers.object_storage", "decorators.quickrouter", "decorators.pictures"),
    )
    statement = "import " + ", ".join(f"{NAME}.{module}" for module in modules)
    assert loaded_by(statement, "aiohttp", "requests", "fastapi", "PIL") == []


def test_what_most_dag_files_import_loads_nothing_that_only_running_tasks_need() -> None:
    statement = f"import {NAME}.operators.prediction, {NAME}.sensors.prediction, {NAME}.links"
    later = (
        "api.models",
        "polling.schedule",
        "operators.batch",
        "triggers.prediction",
        "hooks.quickrouter",
        "hooks.input_files",
        "submission.submit",
    )
    ours = [f"{NAME}.{module}" for module in later]
    assert loaded_by(statement, "airflow.triggers.base", "asgiref.sync", *ours) == []
