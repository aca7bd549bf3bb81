"""Which package may import which, and which modules are pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_quickrouter
from tests.pure_modules import PURE

PACKAGE = Path(airflow_provider_quickrouter.__file__).parent
NAME = PACKAGE.name
ALLOWED = {
    "": {""},
    "api": {"api"},
    "links": set[str](),
    "polling": {"api", "hooks", "polling"},
    "hooks": {"", "api", "hooks", "polling", "submission", "tasks"},
    "storage": {"api", "hooks", "storage", "tasks"},
    "submission": {"api", "hooks", "submission", "tasks"},
    "tasks": {"api", "hooks", "links", "polling", "storage", "submission", "tasks", "triggers"},
    "batch": {"api", "batch", "hooks", "polling", "submission", "tasks"},
    "triggers": {"api", "batch", "links", "polling", "submission", "tasks", "triggers"},
    "operators": {
        *("api", "batch", "hooks", "links", "operators", "polling", "submission", "tasks"),
        "triggers",
    },
    "sensors": {
        *("api", "hooks", "links", "polling", "sensors", "submission", "tasks", "triggers"),
    },
    "transfers": {"api", "hooks", "links", "storage", "tasks", "operators", "transfers"},
    "decorators": {
        *("api", "decorators", "hooks", "operators", "sensors", "storage", "tasks", "transfers"),
    },
    "plugins": {"api", "plugins", "storage"},
    "policies": {"api", "policies"},
    "sandbox": {"", "sandbox"},
}


def part(module: str) -> str:
    """``api`` of ``airflow_provider_quickrouter.api.errors``; "" of the package itself."""
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in ALLOWED else ""


def imports(path: Path) -> set[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == NAME}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    own = part(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    assert {part(name) for name in imports(path)} <= ALLOWED[own]


def loaded_by(statement: str, *watched: str) -> list[str]:
    """Which of the watched packages a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sorted(set({watched!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_neither_airflow_nor_an_http_client(module: str) -> None:
    statement = f"import {NAME}.{module}"
    assert loaded_by(statement, "airflow", "requests", "aiohttp", "httpx", "http.client") == []


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
        "polling.agenda",
        "operators.batch",
        "triggers.prediction",
        "hooks.quickrouter",
    )
    ours = [f"{NAME}.{module}" for module in later]
    assert loaded_by(statement, "airflow.triggers.base", "asgiref.sync", *ours) == []
