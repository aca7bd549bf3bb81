"""What every process of Airflow pays for the plugin, and where it does nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from airflow_provider_quickrouter.plugins.gallery import QuickRouterGalleryPlugin

MODULE = "airflow_provider_quickrouter.plugins.gallery"


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_airflow_finds_it_without_any_setting() -> None:
    (found,) = [point for point in entry_points(group="airflow.plugins") if point.name == "quickrouter"]
    assert found.load() is QuickRouterGalleryPlugin


def test_a_task_process_loads_no_web_framework_for_it() -> None:
    watched = ("fastapi", "starlette", "PIL", "fsspec", "airflow.models.xcom")
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        f"import {MODULE}; new = set(sys.modules) - before; print(*sorted(new & set({watched!r})))"
    )
    assert printed(code) == ""


def test_before_airflow_had_tabs_nothing_is_registered() -> None:
    code = (
        "import sys, types; manager = types.ModuleType('airflow.plugins_manager');"
        "manager.AirflowPlugin = type('AirflowPlugin', (), {});"
        "sys.modules['airflow.plugins_manager'] = manager;"
        f"from {MODULE} import QuickRouterGalleryPlugin as plugin;"
        "print(plugin.fastapi_apps, plugin.external_views)"
    )
    assert printed(code) == "[] []"


@pytest.mark.parametrize("view", QuickRouterGalleryPlugin.external_views)
def test_its_addresses_hold_under_any_prefix(view: dict[str, str]) -> None:
    assert not view["href"].startswith("/")
    assert not view["icon"].startswith("/")
    assert "{DAG_ID}" in view["href"]
    assert view["url_route"]
