"""Passwords of proxies, and answers of 407: who is told what, and what goes on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.transport import Route
from tests.conftest import connect
from tests.connections.conftest import NAME, server_context
from tests.connections.senders import Send, both_gets
from tests.connections.servers import HOST, Proxy
from tests.connections.test_after_sending import accepting
from tests.connections.test_storing import store


@pytest.mark.parametrize("given", ["someone:se-cret@{}", "http://someone:se-cret@{}"])
def test_a_proxy_of_the_environment_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, create: Send, given: str
) -> None:
    with Proxy().running() as url:
        dead = url.removeprefix("http://")
    monkeypatch.setenv("http_proxy", given.format(dead))
    connect(monkeypatch, host=f"http://{NAME}")
    with pytest.raises(errors.NotConnectedError, match=rf"through the proxy {url} ") as caught:
        create()
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["http://u:12/cret@{}", "http://u:12?cret@{}", "http://u:p[cret]x@{}", "http://u:p[cret@{}"]
)
def test_a_password_that_is_not_encoded_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch, create: Send, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy.format(f"{HOST}:9"))
    connect(monkeypatch, host=f"http://{NAME}")
    with pytest.raises((errors.InvalidConnectionError, errors.NotConnectedError)) as caught:
        create()
    assert "cret" not in str(caught.value)


@both_gets
def test_a_proxy_without_a_scheme_is_used_with_its_password(
    gateway: Any, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch, get: Send
) -> None:
    proxy = Proxy({NAME: ports["http"]}, credentials="someone:se-cret")
    with proxy.running() as url:
        monkeypatch.setenv("http_proxy", url.replace("http://", "someone:se-cret@"))
        connect(monkeypatch, host=f"http://{NAME}")
        with pytest.raises(errors.NotFoundError):
            get()
    assert len(gateway.requests) == 1


def test_the_way_is_not_shown_with_a_password() -> None:
    assert "secret" not in repr(Route("https://a", "http://someone:secret@proxy:3128"))


@both_gets
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_407_of_the_gateway_itself_is_not_the_proxys(
    authority: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch, get: Send, scheme: str
) -> None:
    def refuse(stream: socket.socket, _bare: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")

    context = server_context(authority, NAME, HOST) if scheme == "https" else None
    with accepting(refuse, context=context) as (port, _), Proxy({NAME: port}).running() as url:
        extra = {"verify": bundle, "proxies": {"https": url}}
        host = NAME if scheme == "https" else f"{HOST}:{port}"
        connect(monkeypatch, host=f"{scheme}://{host}", extra=extra)
        with pytest.raises(errors.InvalidRequestError):
            get()


@both_gets
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wait_that_is_paid_for_goes_on_after_a_proxy_has_refused_its_user(
    monkeypatch: pytest.MonkeyPatch, get: Send, scheme: str
) -> None:
    with Proxy(refusal=407).running() as url:
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra={"proxies": {scheme: url}})
        with pytest.raises(errors.InvalidConnectionError) as caught:
            get()
    assert caught.value.transient


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_create_whose_proxy_refuses_its_user_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, create: Send, scheme: str
) -> None:
    with Proxy(refusal=407).running() as url:
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra={"proxies": {scheme: url}})
        with pytest.raises(errors.InvalidConnectionError) as caught:
            create()
    assert not caught.value.transient


def test_a_407_of_a_files_server_is_about_that_file(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/a.png").respond_with_data("no", status=407)
    extra = {"allow_private_addresses": True}
    with pytest.raises(errors.FileError):
        store(monkeypatch, tmp_path, httpserver.url_for("/a.png"), extra)
