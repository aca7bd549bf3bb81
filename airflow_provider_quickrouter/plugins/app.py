"""The web app of the gallery: a static page, its scripts and styles, and the API that they ask.

The page and its files hold nothing of a user's; all that does comes from :mod:`.routes`, which
asks Airflow's auth manager.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders

from airflow_provider_quickrouter.plugins import stored
from airflow_provider_quickrouter.plugins.routes import router

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Pictures that are not stored yet come from wherever the gateway keeps them.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' https: http:",
            "media-src 'self' https: http:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        )
    ),
}
"""Set on every answer that does not set them itself."""

FOREVER = "public, max-age=31536000, immutable"


class Unchanging(StaticFiles):
    """Files below an address that changes with their content."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Let browsers keep a file for good."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = FOREVER
        return response


def fingerprint(folder: Path) -> str:
    """Return what changes with any file of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def app() -> FastAPI:
    """Return the app; made once in a process."""
    made = FastAPI(title="QuickRouter gallery", docs_url=None, redoc_url=None, openapi_url=None)
    made.add_middleware(AddHeaders)
    # Who opens the page wants pictures next.
    threading.Thread(target=stored.warm_up, daemon=True).start()
    made.include_router(router)
    tag = fingerprint(STATIC)
    page = (STATIC / "gallery.html").read_text().replace("{static}", f"static/{tag}")
    made.mount(f"/static/{tag}", Unchanging(directory=STATIC))
    made.add_api_route("/gallery", lambda: HTMLResponse(page, headers=NO_CACHE))
    for icon in ("icon.svg", "icon-dark.svg"):
        made.add_api_route(f"/{icon}", _file(STATIC / icon))
    return made


NO_CACHE = {"Cache-Control": "no-cache"}


def _file(path: Path) -> Any:
    return lambda: FileResponse(path, headers={"Cache-Control": "public, max-age=86400"})


class AddHeaders:
    """Sets :data:`HEADERS` on each answer of an ASGI app."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request on."""

        async def add(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, add)
