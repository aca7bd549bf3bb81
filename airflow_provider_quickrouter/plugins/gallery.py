"""The plugin that puts the gallery into Airflow's UI: a tab on DAG runs and on task instances.

Every process of Airflow imports this module, those of tasks included: it must stay small. The web
app is imported by the first request to it, which only an API server gets. Before Airflow 3.1,
which has no tabs of plugins, nothing is registered.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

# Path of the web app below Airflow's own; with a leading slash `href` would leave a prefix.
PREFIX = "quickrouter"

_RUN = f"{PREFIX}/gallery?dag_id={{DAG_ID}}&run_id={{RUN_ID}}"
_TASK = f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}"


class LazyApp:
    """An ASGI app that imports the real one upon the first request, outside of the event loop."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request on."""
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
    """Registers the tabs and the app behind them; there is nothing to configure."""

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
