"""Runs inside an environment of the matrix: import every module of the package, strictly.

Twice: first with every warning recorded, of which those that are blamed on a file of the package
are its own; then again with warnings as errors, when what Airflow's code says on its own first
import is over. Prints a line of JSON.
"""

import importlib
import json
import sys
import sysconfig
import warnings
from collections import Counter
from pathlib import Path

import airflow_provider_quickrouter as package

ROOT = Path(package.__path__[0])
GALLERY = ("plugins.page", "plugins.query", "plugins.routes")


def modules() -> list[str]:
    """Return all modules but those that are commands, as they lie on the disk."""
    files = sorted(ROOT.rglob("*.py"))
    parts = [file.relative_to(ROOT.parent).with_suffix("").parts for file in files]
    names = [".".join(part for part in found if part != "__init__") for found in parts]
    return [name for name in names if not name.endswith("__main__")]


def excuse(module: str, error: ImportError) -> str:
    """Return what a module needs that is not there, "" if it should be there."""
    where = module.removeprefix(f"{package.__name__}.")
    if where.startswith("sandbox") and "[sandbox]" in str(error):
        return "[sandbox]"
    if where == "tasks.lineage" and error.name == "airflow.providers.openlineage":
        return "OpenLineage"
    if where in GALLERY and not has_tabs():
        return "Airflow 3.1"
    return ""


def has_tabs() -> bool:
    """Return whether this Airflow has tabs of plugins, as 3.1 and later have."""
    from airflow.plugins_manager import AirflowPlugin

    return hasattr(AirflowPlugin, "external_views")


def import_all(names: list[str]) -> tuple[list[str], Counter[str]]:
    """Import modules; return what is wrong, and how many lack what."""
    wrong, excused = [], Counter[str]()
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            need = excuse(name, error)
            if need:
                excused[need] += 1
            else:
                wrong.append(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001  # a warning, or what it made of a module
            wrong.append(f"{name}: {type(error).__name__}: {error}")
    return wrong, excused


def own_warnings(names: list[str]) -> list[str]:
    """Import modules for the first time; return the warnings that are blamed on them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_all(names)
    return [f"{one.filename}: {one.message}" for one in caught if one.filename.startswith(str(ROOT))]


def forget(names: list[str]) -> None:
    """Let the next import of these modules be their first."""
    for name in names:
        sys.modules.pop(name, None)


def main() -> None:
    """Import all modules, and print the result."""
    site = Path(sysconfig.get_paths()["purelib"])
    if ROOT.parent != site:
        raise SystemExit(f"imported from {ROOT}, not from {site}")
    wrong = own_warnings(names := modules())
    forget(names)
    warnings.simplefilter("error")
    more, excused = import_all(names)
    warnings.simplefilter("ignore")
    left = ", ".join(f"{count} {need}" for need, count in excused.most_common())
    detail = f"{len(names) - excused.total()} modules ({left} left out)"
    print(json.dumps({"wrong": "\n".join(wrong + more), "detail": detail}))


main()
