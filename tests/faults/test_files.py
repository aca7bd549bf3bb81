"""Files of an output, as servers really send them, and how they are stored."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_quickrouter.api.errors import FileError, FileUnavailable
from tests.faults.clock import Clock
from tests.faults.dags import worker_and_deferred
from tests.faults.files import (
    bytes_of,
    file,
    instant,
    picture,
    run_and_store,
    stored_in,
    storing_run,
    wav,
    zipped,
)
from tests.faults.gateway import Gateway, connect, for_seconds
from tests.faults.responses import Hang, Header, Response, html_page, json_response, plain_text
from tests.faults.running import TaskInstance, failure_of, run_task

PNG = picture()
ERRORS = {
    "json": json_response({"error": "file expired"}),
    "json of a gateway": json_response({"code": "file_not_found", "message": "文件不存在", "data": None}),
    "xml": file(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>', "application/xml"
    ),
    "text": plain_text(200, "upstream error"),
}


@pytest.mark.parametrize("body", ERRORS.values(), ids=ERRORS)
def test_an_error_under_200_is_requested_again_until_the_picture_comes(
    body: Response, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.routes["GET /out-0.png"] = [body, body, file(PNG)]
    (stored,) = run_and_store(gateway, tmp_path, [f"{gateway.url}/out-0.png"])
    assert bytes_of(stored) == PNG


@pytest.mark.parametrize("body", ERRORS.values(), ids=ERRORS)
def test_an_error_under_200_that_stays_is_a_file_error_and_is_not_stored(
    body: Response, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.routes["GET /out-0.png"] = body
    gateway.result["output"] = [f"{gateway.url}/out-0.png"]
    error = failure_of(storing_run(tmp_path))
    assert isinstance(error, FileError)
    assert stored_in(tmp_path) == []


def test_one_refused_file_does_not_cost_the_others(gateway: Gateway, fast: Clock, tmp_path: Path) -> None:
    gateway.routes["GET /page.png"] = html_page(200, "Sign in")
    gateway.routes |= {f"GET /{n}.png": file(PNG) for n in range(20)}
    gateway.result["output"] = [f"{gateway.url}/page.png", *(f"{gateway.url}/{n}.png" for n in range(20))]
    assert isinstance(failure_of(storing_run(tmp_path)), FileError)
    assert len(stored_in(tmp_path)) == 20


CHUNKED: tuple[Header, ...] = (("Content-Encoding", "aws-chunked"),)


@pytest.mark.parametrize("declared_size", [0xFFFFFFFF, 0x7FFFFFFF])
@pytest.mark.parametrize(
    ("headers", "with_length"), [((), False), (CHUNKED, True)], ids=["no length", "aws-chunked"]
)
def test_a_sound_that_was_streamed_is_complete(
    declared_size: int, headers: Any, with_length: bool, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.routes["GET /speech.wav"] = file(
        wav(declared_size), "audio/wav", *headers, with_length=with_length
    )
    (stored,) = run_and_store(gateway, tmp_path, f"{gateway.url}/speech.wav")
    assert bytes_of(stored) == wav(declared_size)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_with_something_behind_its_end_is_complete(
    form: str, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    data = picture(form) + bytes(10_000)
    gateway.routes["GET /0"] = file(data, f"image/{form.lower()}", with_length=False)
    (stored,) = run_and_store(gateway, tmp_path, f"{gateway.url}/0")
    assert bytes_of(stored) == data


def test_half_a_gif_without_a_length_is_not_taken_for_the_whole(
    gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gif = picture("GIF", (300, 300))
    gateway.routes["GET /0.gif"] = [
        file(gif[: len(gif) // 2], "image/gif", with_length=False),
        file(gif, "image/gif", with_length=False),
    ]
    (stored,) = run_and_store(gateway, tmp_path, f"{gateway.url}/0.gif")
    assert bytes_of(stored) == gif


LATE = {
    "404": plain_text(404, "Not Found"),
    "403": file(b"<Error><Code>AccessDenied</Code></Error>", "application/xml", status=403),
    "page": html_page(200, "Please wait"),
}
TIMES: dict[str, Any] = {
    "reports no times": lambda: {"created_at": None, "started_at": None, "completed_at": None},
    "reports the zero time": lambda: {"completed_at": "0001-01-01T00:00:00Z"},
    "reports the zero time of a zone": lambda: {"completed_at": "0001-01-01T00:00:00+05:00"},
    "is two hours behind": lambda: {
        "created_at": instant(-7202),
        "started_at": instant(-7201),
        "completed_at": instant(-7200),
    },
    "is two hours ahead": lambda: {
        "created_at": instant(7198),
        "started_at": instant(7199),
        "completed_at": instant(7200),
    },
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
def test_a_file_that_is_there_three_seconds_late_is_waited_for_when_the_gateway(
    late: Response, times: Any, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect(monkeypatch, gateway.url, timeout=300)
    Clock(monkeypatch, 10.0)
    gateway.routes["GET /0.png"] = for_seconds(3.0, late, file(PNG))
    (stored,) = run_and_store(gateway, tmp_path, [f"{gateway.url}/0.png"], **times())
    assert bytes_of(stored) == PNG
    assert len(gateway.creates) == 1


@worker_and_deferred
def test_what_this_task_saw_succeed_is_not_expired_though_the_gateway_is_two_hours_behind(
    deferrable: bool, gateway: Gateway, fast: Clock, tmp_path: Path
) -> None:
    gateway.routes["GET /0.png"] = LATE["404"]
    gateway.result |= {"output": [f"{gateway.url}/0.png"]} | TIMES["is two hours behind"]()
    assert isinstance(failure_of(storing_run(tmp_path, deferrable=deferrable)), FileUnavailable)


KINDS = {
    "mesh.obj": (b"# made by a program\nv 0 0 0\nv 1 0 0\nf 1 2 3\n", "application/octet-stream"),
    "mesh.stl": (b"solid x\nfacet normal 0 0 0\n", "model/stl"),
    "mesh.usdz": (zipped("model.usdc"), "model/vnd.usdz+zip"),
    "scene.gltf": (b'{"asset":{"version":"2.0"}}', "application/json"),
    "report.md": (b"# Report\n", "text/markdown"),
    "song.mid": (b"MThd\0\0\0\6\0\1\0\1\0`", "audio/midi"),
    "depth.npz": (zipped("arr_0.npy"), "application/octet-stream"),
    "speech.srt": (b"1\n00:00:00,000 --> 00:00:01,000\nhi\n", "text/plain"),
    "trained_model.tar.gz": (gzip.compress(b"x" * 600), "application/x-gzip"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_extension_of_the_address_is_kept_where_the_bytes_show_less(
    name: str, gateway: Gateway, tmp_path: Path
) -> None:
    data, content_type = KINDS[name]
    gateway.routes[f"GET /{name}"] = file(data, content_type)
    (stored,) = run_and_store(gateway, tmp_path, [f"{gateway.url}/{name}?sig=a.b"])
    assert stored["path"].endswith("/0." + name.partition(".")[2])


def test_a_data_uri_of_plain_svg_is_stored(gateway: Gateway, tmp_path: Path) -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><path d='M 0 0 L 9 9'/></svg>"
    (stored,) = run_and_store(gateway, tmp_path, [f"data:image/svg+xml;utf8,{svg}"])
    assert (bytes_of(stored), stored["path"][-4:]) == (svg.encode(), ".svg")


def test_an_address_with_blanks_in_it_is_a_file(gateway: Gateway, tmp_path: Path) -> None:
    gateway.routes["GET /my%20lighthouse%20(1).png"] = file(PNG)
    (stored,) = run_and_store(gateway, tmp_path, [f"{gateway.url}/my lighthouse (1).png"])
    assert bytes_of(stored) == PNG


def test_an_empty_transcript_is_an_empty_file(gateway: Gateway, fast: Clock, tmp_path: Path) -> None:
    gateway.routes["GET /speech.srt"] = file(b"", "text/plain")
    (stored,) = run_and_store(gateway, tmp_path, {"srt": f"{gateway.url}/speech.srt"})
    assert bytes_of(stored) == b""


STORE = """
import sys, tempfile
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.faults.dags import in_dag
from tests.faults.running import run_task
tempfile.tempdir = sys.argv[1]
arguments = {"path": "file://" + sys.argv[2], "output": [sys.argv[3]]}
run_task(in_dag(lambda: QuickRouterToObjectStorageOperator(task_id="run", **arguments)))
"""


class Endless:
    """The beginning of a long film, and then nothing more."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 99999999\r\n\r\n"
        connection.sendall(head + b"\0\0\0\x18ftypisom")
        for _ in range(8):
            connection.sendall(bytes(2**20))
            self.sent += 2**20
        Hang(20).send(connection)


def test_what_a_killed_process_left_is_removed_by_a_later_one(gateway: Gateway, tmp_path: Path) -> None:
    film, temporary, folder = Endless(), tmp_path / "tmp", tmp_path / "stored"
    temporary.mkdir()
    gateway.routes |= {"GET /v.mp4": film, "GET /0.png": file(PNG)}
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", STORE, str(temporary), str(folder), f"{gateway.url}/{name}"]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    killed = start("v.mp4")
    until = time.monotonic() + 60
    while film.sent < 4 * 2**20 and time.monotonic() < until:
        time.sleep(0.1)
    assert film.sent >= 4 * 2**20
    time.sleep(0.5)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    for path in [*tmp_path.rglob("*"), temporary]:
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    assert start("0.png").wait(60) == 0
    assert len(stored_in(folder)) == 1
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_a_long_transcript_is_stored_as_a_text_file(gateway: Gateway, tmp_path: Path) -> None:
    transcript = "Möwen über dem Leuchtturm. " * 1500
    (stored,) = run_and_store(gateway, tmp_path, transcript)
    assert stored["path"].endswith("/0.txt")
    assert bytes_of(stored).decode() == transcript


def test_the_tokens_of_a_language_model_are_stored_as_one_text(gateway: Gateway, tmp_path: Path) -> None:
    tokens = [f" word{n}" + "\n" * (n % 9 == 0) for n in range(900)]
    (stored,) = run_and_store(gateway, tmp_path, tokens)
    assert stored["path"].endswith("/0.txt")
    assert bytes_of(stored).decode() == "".join(tokens)


def test_each_file_of_an_object_names_its_key(gateway: Gateway, tmp_path: Path) -> None:
    gateway.routes |= {f"GET /{name}.png": file(picture()) for name in "abc"}
    output = {
        "image": f"{gateway.url}/a.png",
        "mask": f"{gateway.url}/b.png",
        "depth": f"{gateway.url}/c.png",
    }
    stored = run_and_store(gateway, tmp_path, output)
    assert [entry.get("key") for entry in stored] == ["image", "mask", "depth"]


def test_a_retry_an_hour_after_all_files_were_stored_does_not_pay_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(monkeypatch)
    gateway.routes["GET /0.png"] = file(PNG)
    gateway.result |= {"output": [f"{gateway.url}/0.png"], "completed_at": instant()}

    class Away(TaskInstance):
        def xcom_push(self, key: str, value: Any, **_: Any) -> None:
            if key == "files":
                raise ConnectionError("Airflow's API server is away")
            super().xcom_push(key, value)

    first = Away()
    with pytest.raises(ConnectionError):
        run_task(storing_run(tmp_path), first)
    assert len(stored_in(tmp_path)) == 1
    clock.jump(3700)
    gateway.result |= {"output": None, "data_removed": True}
    gateway.routes["GET /0.png"] = plain_text(404, "Not Found")
    second = TaskInstance()
    second.store, second.try_number = first.store, 2
    run_task(storing_run(tmp_path), second)
    assert len(gateway.creates) == 1
    assert [bytes_of(entry) for entry in second.xcoms["files"]] == [PNG]
