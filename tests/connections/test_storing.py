"""Files of an output come the same way as the gateway's answers: its proxy, its authorities."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.storage.fetching import Owner
from airflow_provider_quickrouter.storage.store import Storing
from tests.conftest import KEY, connect
from tests.connections.conftest import server_context
from tests.connections.servers import HOST, Proxy, tls_front
from tests.storage.files import Log, image, read

FILES = "files.example.org"
QUOTED = "p%40ss-of-the-proxy"
Files = dict[str, Any]


@pytest.fixture
def files(httpserver: HTTPServer, authority: trustme.CA) -> Any:
    """Port of a server of one file by scheme; by a name, or by its address."""
    httpserver.expect_request("/a.png").respond_with_data(image(), content_type="image/png")
    with tls_front(httpserver.port, server_context(authority, FILES, HOST)) as port:
        yield {"http": httpserver.port, "https": port}


def store(monkeypatch: pytest.MonkeyPatch, folder: Path, address: str, extra: dict[str, Any]) -> bytes:
    """Store a file and return what is stored."""
    connect(monkeypatch, host="http://127.0.0.1:9", extra=extra)
    owner = Owner("p1", datetime.now(UTC) + timedelta(hours=1))
    stored = Storing(QuickRouterHook(), Log(), path=f"file://{folder}").store([address], owner)
    return read(stored[0])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("of", ["connection", "environment"])
def test_a_file_comes_through_the_proxy_which_alone_is_told_the_password(
    files: Files,
    httpserver: HTTPServer,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    of: str,
) -> None:
    proxy = Proxy({FILES: files[scheme]}, credentials="someone:p@ss-of-the-proxy")
    with proxy.running() as url:
        with_user = url.replace("://", f"://someone:{QUOTED}@")
        extra: dict[str, Any] = {"verify": bundle}
        if of == "connection":
            extra["proxies"] = {scheme: with_user}
        else:
            monkeypatch.setenv(f"{scheme}_proxy", with_user)
        assert store(monkeypatch, tmp_path, f"{scheme}://{FILES}/a.png", extra) == image()
    ((request, _),) = httpserver.log
    assert len(proxy.seen) == 1
    assert "Authorization" not in request.headers
    assert "Proxy-Authorization" not in request.headers
    assert KEY not in str(request.headers)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_another_password_is_told_from_the_files_server(
    files: Files, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = Proxy({FILES: files[scheme]}, credentials="someone:another")
    with proxy.running() as url:
        with_user = url.replace("://", f"://someone:{QUOTED}@")
        extra = {"verify": bundle, "proxies": {scheme: with_user}}
        with pytest.raises(errors.InvalidConnectionError) as caught:
            store(monkeypatch, tmp_path, f"{scheme}://{FILES}/a.png", extra)
    assert f"the proxy {url} on the way to {scheme}://{FILES}" in str(caught.value)
    assert "of-the-proxy" not in str(caught.value)
    assert len(proxy.seen) == 1


def test_the_bundle_of_the_environment_holds_for_files(
    files: Files, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    address, extra = f"https://{HOST}:{files['https']}/a.png", {"allow_private_addresses": True}
    assert store(monkeypatch, tmp_path, address, extra) == image()


def test_a_bundle_that_is_missing_here_is_named(
    files: Files, httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    address, extra = f"https://{HOST}:{files['https']}/a.png", {"allow_private_addresses": True}
    with pytest.raises(errors.InvalidConnectionError, match=r"'/nowhere\.pem' on this machine"):
        store(monkeypatch, tmp_path, address, extra)
    assert httpserver.log == []
