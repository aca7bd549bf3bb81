"""The plugin that adds the tab *Pictures* to DAG runs and task instances in Airflow's UI.

Every process of Airflow imports this module, also for each task, so it must stay small. Only the first
request, which only an API server gets, imports the web app. Before Airflow 3.1, which has no tabs
of plugins, nothing is registered.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

# Path of the web app below Airflow's own. A leading slash would drop a prefix of Airflow's path.
PREFIX = "quickrouter"

_RUN = f"{PREFIX}/gallery?dag_id={{DAG_ID}}&run_id={{RUN_ID}}"
_TASK = f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}"


class LazyApp:
    """An ASGI app that imports the real one at the first request, in a thread."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to the real app."""
        import asyncio

        app = await asyncio.to_thread(_load)
        await app(scope, receive, send)


def _load() -> Any:
    from airflow_provider_quickrouter.plugins.routes import app

    return app()


def _tab(destination: str, route: str, href: str) -> dict[str, str]:
    return {
        "name": "Pictures",
        "href": href,
        "destination": destination,
        "url_route": route,
        "icon": f"{PREFIX}/icon.svg",
        "icon_dark_mode": f"{PREFIX}/icon-dark.svg",
    }


_HAS_TABS = hasattr(AirflowPlugin, "external_views")


class QuickRouterGalleryPlugin(AirflowPlugin):
    """Registers the tabs and their web app. It needs no configuration."""

    name = "quickrouter"
    fastapi_apps: list[Any] = (
        [{"app": LazyApp(), "url_prefix": f"/{PREFIX}", "name": "QuickRouter gallery"}] if _HAS_TABS else []
    )
    # Two routes, since Airflow drops the second view of a route.
    external_views: list[Any] = (
        [_tab("dag_run", "quickrouter-run", _RUN), _tab("task_instance", "quickrouter-task", _TASK)]
        if _HAS_TABS
        else []
    )
