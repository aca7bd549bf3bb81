"""Which stored files are served, and how."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path

import pytest
import requests
from PIL import Image

from airflow_provider_quickrouter.api.files import StoredFile
from airflow_provider_quickrouter.plugins.stored import download_name
from airflow_provider_quickrouter.storage.media import Kind
from dev.gallery_runs import manifest
from dev.gallery_server import GalleryServer, UserRest
from tests.plugins.conftest import Ask
from tests.plugins.files_run import RUN, TEXT, entries, png

NAMES = list(entries(Path("/tmp")))
DOWNLOADS = {
    "svg": "odd-picture.svg", "text": "odd-0.txt", "json": "odd-0.json", "archive": "odd-0.tar.gz",
    "mesh": "odd-0.obj",
}  # fmt: skip
SERVED = {"good", "odd name", *DOWNLOADS}


@pytest.mark.parametrize("size", ["thumb", "full"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in SERVED])
def test_a_file_that_is_not_what_was_stored_is_not_served(file: Ask, name: str, size: str) -> None:
    answer = file(run_id=RUN, n=NAMES.index(name), size=size)
    assert answer.status_code == (502 if name == "unknown connection" else 404)
    assert answer.json().keys() == {"detail"}
    assert "/" not in answer.text


@pytest.mark.parametrize("index", range(1, 5))
def test_an_xcom_that_is_no_list_of_files_serves_none(file: Ask, index: int) -> None:
    assert file(run_id=RUN, map_index=index).status_code == 404


def test_a_stored_file_is_served_as_it_is_and_cannot_run_anything(file: Ask) -> None:
    answer = file(run_id=RUN)
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"] == 'inline; filename="odd-good.png"'


@pytest.mark.parametrize("name", DOWNLOADS)
def test_another_file_is_a_download_that_no_browser_opens(file: Ask, name: str) -> None:
    answer = file(run_id=RUN, n=NAMES.index(name))
    assert hashlib.sha256(answer.content).hexdigest() == answer.headers["etag"].strip('"').partition("-")[0]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == f'attachment; filename="{DOWNLOADS[name]}"'


def test_of_a_text_a_card_loads_the_beginning(file: Ask) -> None:
    answer = file(run_id=RUN, n=NAMES.index("text"), size="thumb")
    assert answer.content == TEXT[:1000]


def test_a_download_has_a_name_that_is_safe_everywhere(file: Ask) -> None:
    answer = file(run_id=RUN, n=NAMES.index("odd name"), download="true")
    assert answer.content == png(2)
    assert answer.headers["content-disposition"] == 'attachment; filename="odd-a_b.png"'


def test_downloads_of_two_predictions_have_two_names(file: Ask) -> None:
    said = [file(map_index=n).headers["content-disposition"] for n in (1, 2)]
    assert said == [f'inline; filename="{_id_of(n)}-0.png"' for n in (1, 2)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s3://store@pictures/0.png", "pictures-0.webp"),
        ("s3://store@pictures/a/b/0.png", "b-0.webp"),
        ("file:///0", "0.webp"),
        ("/x/" + "y" * 200 + "/12.png", "y" * 97 + "-12.webp"),
    ],
)
def test_a_name_holds_the_last_folder_but_no_connection(path: str, name: str) -> None:
    kind = Kind("image/webp", "webp")
    assert download_name(StoredFile(path, 1, "0" * 64, "image/png"), kind) == name


def test_a_thumbnail_is_small(file: Ask) -> None:
    answer = file(run_id=RUN, size="thumb")
    assert answer.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(answer.content)).size == (320, 240)
    assert len(answer.content) < len(png()) / 5


def test_a_browser_may_keep_it_but_nobody_on_the_way(file: Ask) -> None:
    answer = file(run_id=RUN, size="thumb")
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["etag"]


def test_what_a_browser_has_already_is_not_sent_again(file: Ask, tokens: dict[str, str]) -> None:
    first = file(run_id=RUN)
    headers = {"Authorization": f"Bearer {tokens['viewer']}", "If-None-Match": first.headers["etag"]}
    again = requests.get(first.url, headers=headers, timeout=30)
    assert (again.status_code, again.content) == (304, b"")
    headers["Authorization"] = f"Bearer {tokens['without_xcoms']}"
    assert requests.get(first.url, headers=headers, timeout=30).status_code == 403


def test_a_file_that_was_replaced_is_served_no_more(file: Ask, server: GalleryServer) -> None:
    answer = file(map_index=6)
    assert answer.status_code == 200
    (stored,) = server.home.glob(f"files/motley/{_id_of(6)}/0.png")
    stored.write_bytes(png(9))
    assert file(map_index=6).status_code == 404


def _id_of(number: int) -> str:
    return str(manifest(number)["id"])


def test_a_bucket_is_opened_by_a_connection_of_airflow(server: GalleryServer, file: Ask, bucket: str) -> None:
    query = {"run_id": "bucket", "size": "thumb"}
    assert file(**query).status_code == 502
    fields = {
        "connection_id": "store",
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": json.dumps({"endpoint_url": bucket, "region_name": "us-east-1"}),
    }
    UserRest(server.url, "admin").call("POST", "/connections", json=fields)
    answer = file(**query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
