"""Files come from servers that fail, lie or lead elsewhere: each is told, none is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api.errors import (
    FileError,
    FileRefused,
    FileUnavailable,
    PredictionExpired,
)
from airflow_provider_quickrouter.api.storable import storable_string
from airflow_provider_quickrouter.storage import download
from airflow_provider_quickrouter.storage.fetching import PATIENCE, Owner
from airflow_provider_quickrouter.storage.store import Storing
from tests.storage.files import Log, data_uri, image, read
from tests.storage.raw import answering, http

Make = Callable[..., Storing]
LIVING = Owner("p1", datetime.now(UTC) + timedelta(hours=1))
DEAD = Owner("p1", datetime.now(UTC) - timedelta(minutes=5))
PAGE = "<!DOCTYPE html><html><title>Sign in</title></html>"
SIGNED = "X-Signature=hush"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let pauses pass at once; their seconds, one after the other."""
    seen: list[float] = []
    began = time.time()

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    def clock() -> float:
        return began + sum(seen)

    quick = SimpleNamespace(**vars(asyncio) | {"sleep": sleep})
    monkeypatch.setattr(download, "asyncio", quick)
    monkeypatch.setattr(download, "time", SimpleNamespace(time=clock, monotonic=clock))
    return seen


def nothing_below(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


def refused(storing: Storing, *output: str, owner: Owner = LIVING) -> str:
    with pytest.raises(FileRefused) as failed:
        storing.store(list(output), owner)
    assert not failed.value.transient
    return str(failed.value)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 524, 429, 408])
def test_trouble_is_asked_again(
    status: int, storing: Make, httpserver: HTTPServer, pauses: list[float], log: Log
) -> None:
    httpserver.expect_oneshot_request("/a").respond_with_data("later", status=status)
    httpserver.expect_oneshot_request("/a").respond_with_data(image(), content_type="image/png")
    (stored,) = storing().store([httpserver.url_for(f"/a?{SIGNED}")], LIVING)
    assert read(stored) == image()
    assert pauses == [0.5]
    assert f"HTTP {status}; again in 0.5 s" in log.text
    assert "hush" not in log.text


def test_a_503_and_then_a_200_in_real_time(storing: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_oneshot_request("/a").respond_with_data("later", status=503)
    httpserver.expect_oneshot_request("/a").respond_with_data(image(), content_type="image/png")
    (stored,) = storing().store([httpserver.url_for("/a")], LIVING)
    assert read(stored) == image()


def test_the_pause_that_a_server_asks_for_is_kept(
    storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    wait = {"Retry-After": "7"}
    httpserver.expect_oneshot_request("/a").respond_with_data("x", status=429, headers=wait)
    httpserver.expect_oneshot_request("/a").respond_with_data(image(), content_type="image/png")
    storing().store([httpserver.url_for("/a")], LIVING)
    assert pauses == [7]


def test_trouble_that_lasts_is_given_up_after_two_minutes(
    storing: Make, httpserver: HTTPServer, pauses: list[float], tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data("no", status=503)
    with pytest.raises(FileUnavailable, match=r"File 0 .*/a\).*HTTP 503, after \d+ attempts") as failed:
        storing().store([httpserver.url_for(f"/a?{SIGNED}")], LIVING)
    assert failed.value.transient
    assert "hush" not in str(failed.value)
    assert PATIENCE / 2 < sum(pauses) <= PATIENCE
    assert nothing_below(tmp_path / "kept")


def test_files_that_fail_cost_no_other_and_are_retried_if_that_may_help(
    storing: Make, httpserver: HTTPServer, pauses: list[float], log: Log, tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    httpserver.expect_request("/b").respond_with_data("no", status=503)
    httpserver.expect_request("/c").respond_with_data("no", status=400)
    output = [httpserver.url_for(path) for path in ["/c"] * 9 + ["/b"] + ["/a"] * 20]
    with pytest.raises(FileUnavailable, match="File 9 of the output"):
        storing().store(output, LIVING)
    assert len([*(tmp_path / "kept" / "p1").iterdir()]) == 20
    assert "File 0 of the output" in log.text
    assert "Stored 20 files" in log.text


def test_a_server_that_is_down_is_waited_for_once_and_not_for_each_file(
    storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    httpserver.expect_request("/b").respond_with_data("no", status=503)
    with pytest.raises(FileUnavailable):
        storing().store([httpserver.url_for("/b")] * 30, LIVING)
    # The clock of this test adds up the pauses of six downloads at once.
    assert sum(pauses) < 2 * PATIENCE + 30 * (0.5 + 1 + 2)


@pytest.mark.parametrize("status", [400, 401, 405, 451, 304])
def test_an_answer_that_would_stay_the_same_is_not_asked_for_again(
    status: int, storing: Make, httpserver: HTTPServer
) -> None:
    httpserver.expect_oneshot_request("/a").respond_with_data("no", status=status)
    assert f"HTTP {status}" in refused(storing(), httpserver.url_for("/a"))


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "image/png", ""])
def test_an_html_page_is_no_file(
    content_type: str, storing: Make, httpserver: HTTPServer, pauses: list[float], tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data(PAGE, content_type=content_type)
    assert "an HTML page instead of a file" in refused(storing(), httpserver.url_for("/a"))
    assert nothing_below(tmp_path / "kept")


def test_bytes_that_are_no_picture_though_they_are_said_to_be_are_refused(
    storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    httpserver.expect_request("/a").respond_with_data("upstream error", content_type="image/png")
    said = refused(storing(), httpserver.url_for("/a"))
    assert "content type is image/png, but its bytes are not" in said


@pytest.mark.parametrize("declared", [True, False])
def test_a_file_over_the_limit_is_refused(declared: bool, storing: Make, tmp_path: Path) -> None:
    body = image() + bytes(4950)
    length = [f"Content-Length: {len(body)}"] if declared else []
    with answering(http(body, *length)) as (url, _):
        said = refused(storing(max_bytes=4000), url)
    assert "max_bytes allows 3.9 KiB; set a larger max_bytes" in said
    assert nothing_below(tmp_path / "kept")


def test_a_file_of_just_the_limit_is_taken(storing: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    limit = len(image())
    assert storing(max_bytes=limit).store([httpserver.url_for("/a")], LIVING)[0].size == limit


def test_a_body_that_breaks_off_is_fetched_again(storing: Make, pauses: list[float]) -> None:
    length = f"Content-Length: {len(image())}"
    with answering(http(image()[:-9], length), http(image(), length)) as (url, asked):
        (stored,) = storing().store([url], LIVING)
    assert read(stored) == image()
    assert (len(asked), len(pauses)) == (2, 1)


def test_a_body_that_always_breaks_off_is_never_stored(
    storing: Make, pauses: list[float], tmp_path: Path
) -> None:
    with (
        answering(http(image()[:-9], f"Content-Length: {len(image())}")) as (url, _),
        pytest.raises(FileUnavailable, match=r"broke off \(ClientPayloadError\)"),
    ):
        storing().store([url], LIVING)
    assert nothing_below(tmp_path / "kept")


@pytest.mark.parametrize(
    "half",
    [http(image()[:-20]), http(gzip.compress(image())[:40], "Content-Encoding: gzip", "Content-Length: 40")],
    ids=["no length", "compressed"],
)
def test_half_a_picture_is_noticed_where_its_length_is_not_told(
    half: bytes, storing: Make, pauses: list[float]
) -> None:
    with answering(half, http(image())) as (url, asked):
        (stored,) = storing().store([url], LIVING)
    assert (read(stored), len(asked)) == (image(), 2)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", http(b"", "Content-Length: 0")])
def test_no_answer_at_all_is_trouble(answer: bytes, storing: Make, pauses: list[float]) -> None:
    with answering(answer, http(image())) as (url, asked):
        (stored,) = storing().store([url], LIVING)
    assert (read(stored), len(asked)) == (image(), 2)


def test_a_server_that_cannot_be_reached_is_trouble(storing: Make, pauses: list[float]) -> None:
    with answering(b"") as (url, _):
        pass
    with pytest.raises(FileUnavailable, match="ClientConnectorError"):
        storing().store([url], LIVING)


def test_a_name_that_the_dns_does_not_know_is_trouble(
    storing: Make, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*given: Any, **more: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(FileUnavailable, match="ClientConnectorDNSError"):
        storing().store(["https://files.example.org/a"], LIVING)
    assert pauses


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_file_is_told_with_its_hour_and_what_to_do(
    status: int, storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    httpserver.expect_request("/a").respond_with_data("gone", status=status)
    with pytest.raises(PredictionExpired) as failed:
        storing().store([httpserver.url_for("/a")] * 20, DEAD)
    assert DEAD.expires_at is not None
    said = str(failed.value)
    assert f"prediction p1 expired at {DEAD.expires_at.isoformat(timespec='seconds')}" in said
    assert "stores files for one hour" in said
    assert "output_path=" in said
    assert failed.value.prediction_id == "p1"


@pytest.mark.parametrize(
    ("status", "kind"), [(404, PredictionExpired), (410, PredictionExpired), (403, FileRefused)]
)
def test_a_file_that_is_gone_is_told_if_its_hour_is_not_known(
    status: int, kind: type[Exception], storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    httpserver.expect_request("/a").respond_with_data("gone", status=status)
    with pytest.raises(kind, match="stores files for one hour"):
        storing().store([httpserver.url_for("/a")], Owner("digest", known=False))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_yet_is_requested_for_two_minutes(
    status: int, storing: Make, httpserver: HTTPServer, pauses: list[float]
) -> None:
    httpserver.expect_request("/a").respond_with_data("gone", status=status)
    with pytest.raises(FileUnavailable, match=f"HTTP {status}, after \\d+ attempts"):
        storing().store([httpserver.url_for("/a")], LIVING)
    assert PATIENCE / 2 < sum(pauses) <= PATIENCE


@pytest.mark.parametrize(
    ("name", "headers"),
    [("a.png", ["Content-Length: 0"]), ("a.srt", []), ("a", ["Content-Length: 0"])],
    ids=["picture", "no length", "unknown"],
)
def test_an_empty_file_that_should_not_be_empty_is_an_error(
    name: str, headers: list[str], storing: Make, pauses: list[float], tmp_path: Path
) -> None:
    with answering(http(b"", *headers)) as (url, _), pytest.raises(FileError):
        storing().store([f"{url}/{name}"], LIVING)
    assert nothing_below(tmp_path / "kept")


def test_a_data_uri_becomes_a_file(storing: Make) -> None:
    (stored,) = storing().store({"image": data_uri(image("WEBP"), "image/webp")}, LIVING)
    assert read(stored) == image("WEBP")
    assert (stored.content_type, stored.width, stored.height) == ("image/webp", 31, 17)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("data:image/png;base64,iVBORw0KGgo$", "not valid base64"),
        ("data:image/png;base64,iVBOR", "not valid base64"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64", "begins like a data: URI"),
        (data_uri(PAGE.encode(), "text/html"), "an HTML page"),
        (data_uri(b"text", "image/png"), "its bytes are not"),
    ],
)
def test_a_damaged_data_uri_is_refused(uri: str, says: str, storing: Make, tmp_path: Path) -> None:
    said = refused(storing(), uri)
    assert says in said
    assert "File 0 of the output (a data: URI)" in said
    assert nothing_below(tmp_path / "kept")


@pytest.mark.parametrize("uri", [data_uri(bytes(5000)), "data:text/plain," + "x" * 1500])
def test_a_data_uri_over_the_limit_is_refused(uri: str, storing: Make) -> None:
    assert "set a larger max_bytes" in refused(storing(max_bytes=1000), uri)


ODD = "\udcff" + "x" * 5000
"""A header's value with a byte that is not UTF-8, as the servers of the tests send it."""


def test_headers_that_cannot_be_decoded_reach_neither_xcom_nor_log(
    storing: Make, pauses: list[float], log: Log
) -> None:
    late = http(b"", f"Retry-After: {ODD}", "Content-Length: 0", status=503)
    found = http(b"bytes", f"Content-Type: audio/{ODD}", f"Content-Disposition: {ODD}")
    with answering(late, found) as (url, _):
        (stored,) = storing().store([url], LIVING)
    assert (stored.content_type, stored.path[-4:]) == ("application/octet-stream", ".bin")
    assert pauses == [0.5]
    for text in (log.text, json.dumps(stored.to_json(), ensure_ascii=False)):
        assert storable_string(text) == text
        assert len(text) < 1000


def test_an_error_does_not_quote_headers_that_cannot_be_decoded(storing: Make, pauses: list[float]) -> None:
    page = http(PAGE.encode(), f"Content-Type: text/html; charset={ODD}", f"Server: {ODD}")
    with answering(page) as (url, _):
        said = refused(storing(), url)
    assert storable_string(said) == said
    assert len(said) < 1000


def test_a_full_disk_of_this_machine_is_told(
    storing: Make, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(FileUnavailable, match="disk does not take it .*No space left"):
        storing().store([httpserver.url_for("/a")], LIVING)
