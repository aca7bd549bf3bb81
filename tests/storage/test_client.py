"""Where files may be fetched from, and what goes along: nothing that is ours."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.hooks.quickrouter import USER_AGENT, QuickRouterHook
from airflow_provider_quickrouter.storage.download import NotPublicError, PublicResolver
from airflow_provider_quickrouter.storage.fetching import MAX_REDIRECTS, Owner
from airflow_provider_quickrouter.storage.store import Storing
from tests.conftest import KEY, connect
from tests.storage.files import Log, image, read
from tests.storage.raw import Dripping, answering, http

LIVING = Owner("p1", datetime.now(UTC) + timedelta(hours=1))
Make = Callable[..., Storing]
HOST = "files.example.org"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch, log: Log, tmp_path: Path) -> Callable[[dict[str, Any]], Storing]:
    """Make what stores over a connection that allows public addresses only."""

    def make(extra: dict[str, Any]) -> Storing:
        connect(monkeypatch, host="http://127.0.0.1:9", extra=extra)
        return Storing(QuickRouterHook(), log, path=f"file://{tmp_path}/kept")

    return make


def refused(storing: Storing, url: str) -> str:
    with pytest.raises(FileRefused) as failed:
        storing.store([url], LIVING)
    return str(failed.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "localhost",
        "metadata.google.internal",
    ],
)
def test_an_address_of_the_private_network_is_refused(host: str, strict: Any) -> None:
    said = refused(strict({}), f"http://{host}/latest/meta-data?token=hush")
    assert "is not a public address" in said
    assert "allow_private_addresses" in said
    assert "hush" not in said


def test_no_server_of_the_private_network_is_asked(strict: Any, httpserver: HTTPServer) -> None:
    refused(strict({}), httpserver.url_for("/a"))
    assert httpserver.log == []


def test_a_name_of_the_private_network_is_refused_where_the_connection_is_made(
    strict: Any, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DNS answers with another address the second time; what it says then is what counts."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *given: Any, **more: Any) -> Any:
        return real(next(answers) if host == HOST else host, port, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert socket.getaddrinfo(HOST, 80)[0][4][0] == "93.184.215.14"
    assert f"{HOST} is not a public address" in refused(strict({}), f"http://{HOST}:{httpserver.port}/a")
    assert httpserver.log == []


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:10.0.0.1]/",
        "//127.0.0.1/a",
        "http://2130706433/",
    ],
)
def test_a_redirect_to_the_private_network_is_refused(
    target: str, strict: Any, httpserver: HTTPServer
) -> None:
    """The server of the test is the proxy, so that the first address can be a public one."""
    moved = {"Location": target}
    httpserver.expect_request("/a").respond_with_data("", status=302, headers=moved)
    proxied = strict({"proxies": {"http": httpserver.url_for("")}})
    assert "is not a public address" in refused(proxied, f"http://{HOST}/a")
    assert len(httpserver.log) == 1


async def test_public_names_are_resolved_and_others_are_not() -> None:
    resolver = PublicResolver()
    assert (await resolver.resolve("8.8.8.8", 80))[0]["host"] == "8.8.8.8"
    with pytest.raises(NotPublicError):
        await resolver.resolve("127.0.0.1", 80)
    await resolver.close()


def test_an_address_in_an_odd_spelling_is_refused_also_where_private_ones_are_allowed(
    storing: Make, httpserver: HTTPServer
) -> None:
    assert "cannot be read" in refused(storing(), f"http://127.1:{httpserver.port}/a")


def test_a_public_file_comes_through_the_connections_proxy(strict: Any, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    proxied = strict({"proxies": {"http": httpserver.url_for("")}})
    (stored,) = proxied.store([f"http://{HOST}/a"], LIVING)
    assert read(stored) == image()
    assert httpserver.log[0][0].headers["Host"] == HOST


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int, storing: Make, httpserver: HTTPServer) -> None:
    moved = {"Location": "/b?%2Fsigned=a%20b"}
    httpserver.expect_request("/a").respond_with_data("", status=status, headers=moved)
    httpserver.expect_request("/b").respond_with_data(image(), content_type="image/png")
    assert read(storing().store([httpserver.url_for("/a")], LIVING)[0]) == image()
    assert httpserver.log[1][0].query_string == b"%2Fsigned=a%20b"


def test_redirects_in_a_circle_end(storing: Make, httpserver: HTTPServer) -> None:
    moved = {"Location": "/a"}
    httpserver.expect_request("/a").respond_with_data("", status=302, headers=moved)
    assert "more than 5 times" in refused(storing(), httpserver.url_for("/a"))
    assert len(httpserver.log) == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "not an http or https URL"),
        ("data:image/png;base64,AAAA", "not an http or https URL"),
        ("http://user:hush@127.0.0.1/", "names a user"),
        ("http://[bad", "cannot be read"),
        ("http://127.0.0.1:99999/", "cannot be read"),
        ("/a\x0bX-Injected: 1", "cannot be read"),
        ("/a\x7f", "cannot be read"),
        ("/\udcff", "cannot be read"),
        ("http://\udcff/", "cannot be read"),
    ],
)
def test_a_redirect_to_what_is_no_file_is_refused(target: str, says: str, storing: Make) -> None:
    with answering(http(b"", f"Location: {target}", status=302)) as (url, _):
        said = refused(storing(), url)
    assert says in said
    assert "hush" not in said


def test_a_redirect_to_an_address_with_a_blank_asks_for_one_address(storing: Make) -> None:
    there = http(b"", "Location: /a b HTTP/1.1", status=302)
    with answering(there, http(image())) as (url, asked):
        storing().store([url], LIVING)
    assert asked[1].startswith(b"GET /a%20b%20HTTP/1.1 HTTP/1.1\r\n")


def test_a_redirect_without_an_address_is_an_error(storing: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data("", status=302)
    assert "HTTP 302" in refused(storing(), httpserver.url_for("/a"))


def test_an_address_with_a_user_is_refused(storing: Make, httpserver: HTTPServer) -> None:
    said = refused(storing(), f"http://user:hush@127.0.0.1:{httpserver.port}/a")
    assert "names a user" in said
    assert "hush" not in said


def test_neither_key_nor_cookie_goes_along(storing: Make, httpserver: HTTPServer) -> None:
    cookies = {"Set-Cookie": "session=1; Path=/", "Location": "/b"}
    httpserver.expect_request("/a").respond_with_data("", status=302, headers=cookies)
    httpserver.expect_request("/b").respond_with_data(image(), content_type="image/png")
    storing().store([httpserver.url_for("/a")], LIVING)
    for request, _ in httpserver.log:
        assert {name.lower() for name, _ in request.headers} == {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
        }
        assert request.headers["User-Agent"] == USER_AGENT
        assert KEY not in str(request.headers)


def test_a_server_that_drips_its_headers_holds_a_try_no_longer_than_its_timeouts(strict: Any) -> None:
    endless = Dripping(http(b"", "X-Padding: " + "x" * 1000))
    quick = strict({"timeout": 0.5, "allow_private_addresses": True})
    with answering(endless, http(image())) as (url, asked):
        assert read(quick.store([url], LIVING)[0]) == image()
    assert len(asked) == 2


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture
def tls(authority: trustme.CA) -> Any:
    """A server of files with a certificate of its own authority."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        yield server


def test_the_connections_authorities_hold_for_files(tls: HTTPServer, bundle: str, strict: Any) -> None:
    tls.expect_request("/a").respond_with_data(image(), content_type="image/png")
    trusting = strict({"verify": bundle, "allow_private_addresses": True})
    assert read(trusting.store([tls.url_for("/a")], LIVING)[0]) == image()


def test_a_server_that_is_not_trusted_is_refused(tls: HTTPServer, strict: Any) -> None:
    said = refused(strict({"allow_private_addresses": True}), tls.url_for("/a"))
    assert "certificate of its server is not trusted" in said


def test_a_redirect_out_of_tls_is_refused(tls: HTTPServer, bundle: str, strict: Any) -> None:
    moved = {"Location": "http://127.0.0.1/a"}
    tls.expect_request("/a").respond_with_data("", status=302, headers=moved)
    trusting = strict({"verify": bundle, "allow_private_addresses": True})
    assert "redirected from https to http" in refused(trusting, tls.url_for("/a"))
