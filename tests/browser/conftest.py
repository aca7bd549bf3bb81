"""An API server with filled-in runs, and Chromium on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_browser import Visitor, browser, chromium
from dev.gallery_data import FilledRun, FilledTask
from dev.gallery_runs import DAG_ID, large_run, manifest, motley_run, prediction_tasks, running_run, store
from dev.gallery_server import GalleryServer
from tests.browser.hostile import hostile_run
from tests.plugins.denying import SECRET_DAG

USERS = {"admin": "admin", "outsider": "viewer"}
MANAGER = {"AIRFLOW__CORE__AUTH_MANAGER": "tests.plugins.denying.DenyingAuthManager"}
HERE = Path(__file__).parent
LONG_TEXT = "Seven waves. " * 4000 + "The end."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skipif(
        chromium() is None, reason="no Chromium: install the package 'chromium' or set CHROMIUM"
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(missing)


@pytest.fixture(autouse=True)
def _no_blocking_on_the_event_loop() -> None:
    """Playwright's own loop counts as running while a test does anything: nothing to find here."""


@pytest.fixture(scope="package")
def picture_server() -> Iterator[HTTPServer]:
    """A place where a gateway keeps a picture that nobody has stored."""
    with HTTPServer(host="127.0.0.1") as server:
        data = render("a live picture", 5, 0, (640, 640))
        server.expect_request("/out-0.png").respond_with_data(data, content_type="image/png")
        yield server


def texts_run(folder: Path) -> FilledRun:
    """Outputs that are no pictures: a text in XCom, a longer one in storage, JSON, a 3D model."""

    def stored(name: str, data: bytes, content_type: str) -> dict[str, Any]:
        no_size = {"width": None, "height": None}
        return store(data, folder / "texts" / name, (0, 0)) | no_size | {"content_type": content_type}

    tasks = [
        *prediction_tasks(0, manifest(0, output=["Seven", " waves"])),
        *prediction_tasks(
            1, manifest(1, output=LONG_TEXT), [stored("0.txt", LONG_TEXT.encode(), "text/plain")]
        ),
        *prediction_tasks(2, manifest(2, output={"label": "cat"})),
        *prediction_tasks(3, manifest(3), [stored("0.glb", b"glTF a lighthouse", "model/gltf-binary")]),
    ]
    return FilledRun(DAG_ID, "texts", tasks)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, picture_server: HTTPServer) -> Iterator[GalleryServer]:
    home = tmp_path_factory.mktemp("gallery")
    with GalleryServer(home, USERS, env=MANAGER) as server:
        files = home / "files"
        lost = prediction_tasks(20, manifest(20, "starting"), state="failed")
        paid = [*prediction_tasks(21, manifest(21, cost=1.2)), *prediction_tasks(22, manifest(22, cost=0.04))]
        server.fill(
            motley_run(files, picture_server.url_for("/out-0.png")),
            running_run(files),
            hostile_run(files),
            texts_run(files),
            FilledRun(DAG_ID, "empty", []),
            FilledRun(DAG_ID, "skipped", [FilledTask("submit", 0, "skipped")]),
            FilledRun(DAG_ID, "lost", lost),
            FilledRun(DAG_ID, "paid", paid),
            FilledRun(SECRET_DAG, "secret", []),
            FilledRun("no_pictures_at_all", "plain", [FilledTask("nothing")]),
            large_run(files),
        )
        yield server


@pytest.fixture(scope="package")
def _visited(server: GalleryServer) -> Iterator[BrowserContext]:
    """A browser that is logged in, and has Airflow's own scripts already."""
    with browser() as context:
        Visitor(context.new_page(), server.url).log_in("admin")
        yield context


@pytest.fixture
def visitor(server: GalleryServer, _visited: BrowserContext) -> Iterator[Visitor]:
    """Somebody who has logged in, and whose browser must have nothing to complain of."""
    visitor = Visitor(_visited.new_page(), server.url)
    yield visitor
    visitor.page.close()
    assert visitor.complaints == []


@pytest.fixture
def stranger(server: GalleryServer, _visited: BrowserContext) -> Iterator[Visitor]:
    """Somebody who has not logged in."""
    assert _visited.browser
    context = _visited.browser.new_context()
    yield Visitor(context.new_page(), server.url)
    context.close()
