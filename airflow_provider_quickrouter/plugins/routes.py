"""The gallery's web app: the cards of a run as JSON, its stored files, and the page itself.

Each request needs permission to read the XComs and task instances of the DAG. Airflow reads the
token from the header ``Authorization`` or, as for pictures in a page, from its cookie.
"""

from __future__ import annotations

import hashlib
import pathlib
import threading
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles

from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.plugins import query, stored
from airflow_provider_quickrouter.plugins.cards import SHOWN
from airflow_provider_quickrouter.plugins.page import PRINTABLE, Wanted, page_of

ACCESS = [
    Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM)),
    Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.TASK_INSTANCE)),
]
router = APIRouter(prefix="/api/dags/{dag_id}", dependencies=ACCESS)

DagId = Annotated[str, Path(max_length=250, pattern=PRINTABLE)]
Name = Annotated[str, Query(max_length=250, pattern=PRINTABLE)]
MapIndex = Annotated[int, Query(ge=-1, le=2**31 - 1)]

# Files that are read and decoded at the same time. A limit leaves memory and threads for the other
# requests to the API server.
READERS = 4

# A file's URL contains the beginning of its checksum, so a changed file has another URL.
CACHE_CONTROL = "private, max-age=3600, immutable"

NO_RUN = "This run does not exist."
NO_FILE = "This file does not exist."
UNREADABLE = "The storage could not be read; see the API server's log."

readers = anyio.CapacityLimiter(READERS)


@router.get("/pictures")
def pictures(dag_id: DagId, wanted: Annotated[Wanted, Query()]) -> dict[str, Any]:
    """Return a page of cards of a run, or of one of its task instances."""
    with query.opened(dag_id, wanted.run_id) as run:
        if run is None:
            raise HTTPException(404, NO_RUN)
        return page_of(run, wanted, datetime.now(UTC))


@router.get("/file")
async def file(
    request: Request,
    dag_id: DagId,
    run_id: Name,
    task_id: Name,
    n: Annotated[int, Query(ge=0, le=100_000)],
    map_index: MapIndex = -1,
    size: Literal["thumb", "full"] = "full",
    download: bool = False,
) -> Response:
    """Return stored file ``n`` of a task instance, or its thumbnail."""
    place = (dag_id, run_id, task_id, map_index, n)
    etag = request.headers.get("if-none-match")
    try:
        return await anyio.to_thread.run_sync(_response, place, size, download, etag, limiter=readers)
    except stored.NoSuchFile:
        raise HTTPException(404, NO_FILE) from None
    except stored.StorageUnavailable:
        raise HTTPException(502, UNREADABLE) from None


def _response(place: tuple[str, str, str, int, int], size: str, download: bool, etag: str | None) -> Response:
    record = _recorded(*place)
    headers = {
        "ETag": f'"{record.sha256}-{size}"',
        "Cache-Control": CACHE_CONTROL,
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'self'",
    }
    if etag == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    is_image = record.content_type.startswith("image/")
    if size == "thumb" and is_image and (thumb := stored.thumbnail_of(record)):
        return Response(thumb, media_type=stored.TYPE, headers=headers)
    data, kind = stored.read(record)
    shown = kind.content_type in SHOWN
    disposition = "attachment" if download or not shown else "inline"
    name = stored.download_name(record, kind)
    headers["Content-Disposition"] = f'{disposition}; filename="{name}"'
    data = data[: stored.EXCERPT] if size == "thumb" and not shown else data
    media_type = kind.content_type if shown else "application/octet-stream"
    return Response(data, media_type=media_type, headers=headers)


def _recorded(dag_id: str, run_id: str, task_id: str, map_index: int, n: int) -> StoredFile:
    place = (task_id, map_index)
    with query.opened(dag_id, run_id) as run:
        if run is None:
            raise stored.NoSuchFile
        listed = query.manifests_and_files(run, [place])[1].get(place)
    return stored.recorded(listed, n)


STATIC = pathlib.Path(__file__).parent / "static"

# Added to each response that does not set them.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Pictures that are not stored come from the gateway's file server, which may be any host.
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

FOREVER = "public, max-age=31536000, immutable"


def fingerprint(folder: pathlib.Path) -> str:
    """Return a checksum of all files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def app() -> FastAPI:
    """Create the app, once in each process."""
    made = FastAPI(title="QuickRouter gallery", docs_url=None, redoc_url=None, openapi_url=None)
    made.middleware("http")(_add_headers)
    # The page requests pictures next.
    threading.Thread(target=stored.warm_up, daemon=True).start()
    made.include_router(router)
    tag = fingerprint(STATIC)
    page = (STATIC / "gallery.html").read_text().replace("{static}", f"static/{tag}")
    made.mount(f"/static/{tag}", StaticFiles(directory=STATIC))
    made.add_api_route("/gallery", lambda: HTMLResponse(page, headers={"Cache-Control": "no-cache"}))
    for icon in ("icon.svg", "icon-dark.svg"):
        made.add_api_route(f"/{icon}", _file(STATIC / icon))
    return made


def _file(path: pathlib.Path) -> Any:
    return lambda: FileResponse(path, headers={"Cache-Control": "public, max-age=86400"})


async def _add_headers(request: Request, respond: Any) -> Response:
    response: Response = await respond(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    # The URL of a static file changes with its content.
    if "/static/" in request.url.path and response.status_code == 200:
        response.headers["Cache-Control"] = FOREVER
    return response
