from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema

import airflow_provider_quickrouter
from airflow_provider_quickrouter import __version__, get_provider_info
from airflow_provider_quickrouter.hooks.connection import EXTRAS

MODULES = [
    module.name
    for module in pkgutil.walk_packages(
        airflow_provider_quickrouter.__path__, f"{airflow_provider_quickrouter.__name__}."
    )
]


def test_the_provider_info_validates_against_airflows_schema() -> None:
    schema = Path(airflow.__file__).parent / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_the_entry_point_leads_to_the_provider_info() -> None:
    (entry,) = entry_points(group="apache_airflow_provider", module="airflow_provider_quickrouter")
    assert entry.load() is get_provider_info


def test_all_that_the_provider_info_names_can_be_imported() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for group in info[kind]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    for transfer in info["transfers"]:
        importlib.import_module(transfer["python-module"])
    plugins = [plugin["plugin-class"] for plugin in info["plugins"]]
    hook = info["connection-types"][0]["hook-class-name"]
    for path in (*info["extra-links"], hook, *plugins):
        assert isinstance(named(path), type)
    for commands in info["cli"]:
        assert callable(named(commands))
    for decorator in info["task-decorators"]:
        assert callable(named(decorator["class-name"]))


def test_the_form_of_the_connection_has_every_field_that_is_read() -> None:
    (connection,) = get_provider_info()["connection-types"]
    assert set(connection["conn-fields"]) == EXTRAS


def named(path: str) -> object:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_the_plugin_is_registered_since_airflow_does_not_load_those_of_provider_info() -> None:
    (plugin,) = get_provider_info()["plugins"]
    (entry,) = entry_points(group="airflow.plugins", name=plugin["name"])
    assert entry.load() is named(plugin["plugin-class"])


def test_importing_every_module_raises_no_warning() -> None:
    code = "\n".join(f"import {module}" for module in MODULES if "__main__" not in module)
    ready = "import airflow.sdk\nimport warnings; warnings.simplefilter('error')\n"
    done = subprocess.run([sys.executable, "-c", ready + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_changelog_starts_with_this_version() -> None:
    changelog = (Path(__file__).parent.parent / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
