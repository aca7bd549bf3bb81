"""Files of an input in real storages: what is sent of them, and what is said if that fails."""

from __future__ import annotations

import base64
import json
import logging
import math
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from airflow.providers.common.compat.sdk import BaseHook, redact
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import store
from airflow.sdk.io.fs import _register_filesystems
from airflow.sdk.io.store import ObjectStore
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SD_IMG2IMG
from airflow_provider_quickrouter.api.protocol import create
from airflow_provider_quickrouter.hooks.input_files import LARGEST_FILE, InputFiles
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage.target import Target
from airflow_provider_quickrouter.submission.record import fingerprint

PNG = b"\x89PNG\r\n\x1a\n a picture"
LARGE = PNG.ljust(2 * LARGEST_FILE, b"\0")
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


def read(image: Any, **more: Any) -> Any:
    return InputFiles().read({"image": image, **more}, version=SD_IMG2IMG, model=None)["image"]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    return path


class Storage(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A storage in memory that counts bytes, or is in trouble."""

    store: ClassVar[dict[str, Any]] = {}
    trouble: Exception | None = None
    sign_trouble: Exception | None = None
    size_known = True
    taken = 0
    signed_for: int | None = None

    def sign(self, path: str, expiration: int = 100, **kwargs: Any) -> Any:
        if self.sign_trouble:
            raise self.sign_trouble
        self.signed_for = expiration
        return f"https://storage.example{path}?X-Goog-Expires={expiration}&X-Goog-Signature=0f1e2d"

    def info(self, path: str, **kwargs: Any) -> Any:
        if self.trouble:
            raise self.trouble
        about = dict(super().info(path, **kwargs))
        return about if self.size_known else {**about, "size": None}

    def cat_file(self, path: str, **kwargs: Any) -> bytes:
        data: bytes = super().cat_file(path, **kwargs)
        self.taken += len(data)
        return data

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        file, whole = super().open(path, mode, **kwargs), self

        class Counted:
            def read(self, size: int = -1) -> bytes:
                data: bytes = file.read(size)
                whole.taken += len(data)
                return data

            def __enter__(self) -> Counted:
                return self

            def __exit__(self, *exc: object) -> None:
                file.close()

        return Counted()


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """What lies behind ``memory://stored@...``."""
    monkeypatch.setattr(Storage, "store", {})
    storage = Storage(skip_instance_cache=True)
    stored = ObjectStore(protocol="memory", conn_id="stored", fs=storage)
    monkeypatch.setitem(store._STORE_CACHE, "memory-stored", stored)
    monkeypatch.setenv("AIRFLOW_CONN_STORED", json.dumps({"conn_type": "generic"}))
    return storage


def test_a_file_becomes_a_data_uri_by_its_text_and_as_an_object(cat: Path) -> None:
    assert read(f"file://{cat}") == URI
    assert read(ObjectStoragePath(f"file://{cat}")) == URI
    assert read(ObjectStoragePath(str(cat))) == URI


def test_a_file_of_s3_is_read_with_its_connection(s3: str) -> None:
    path = ObjectStoragePath(f"{s3}/cats/cat.png")
    path.write_bytes(PNG)
    assert read(str(path)) == read(path) == URI
    with pytest.raises(errors.InvalidInputError, match=f"{s3}/cats/dog.png does not exist"):
        read(f"{s3}/cats/dog.png")
    with pytest.raises(errors.InvalidInputError, match=f"{s3}/cats is a folder"):
        read(f"{s3}/cats")


def test_the_hook_sends_the_files_content(gateway: Sandbox, cat: Path) -> None:
    given = {"image": f"file://{cat}", "prompt": "file:///etc/passwd"}
    QuickRouterHook().create_prediction(given, version=SD_IMG2IMG)
    assert gateway.predictions[0]["input"] == {**given, "image": URI}


def test_an_input_without_files_stays_as_it_is() -> None:
    assert read("https://example.com/cat.png") == "https://example.com/cat.png"


def test_no_more_is_read_than_tells_that_a_file_is_too_large(storage: Storage) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    storage.sign_trouble = NotImplementedError()
    with pytest.raises(errors.InvalidInputError, match=r"has 383,964 bytes\. .*Store the file in S3, Goog"):
        read("memory://stored@b/large.png")
    assert storage.taken == 0
    storage.size_known = False
    with pytest.raises(errors.InvalidInputError, match="has 191,983 bytes"):
        read("memory://stored@b/large.png")
    assert storage.taken == LARGEST_FILE + 1


def test_a_file_that_is_not_there_is_named_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"^input\.image: file:///.* does not exist;"):
        read(f"file://{tmp_path}/dog.png")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match="is a folder; give the path of one file"):
        read(f"file://{tmp_path}")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(errors.InvalidInputError, match="is empty"):
        read(f"file://{tmp_path}/empty.png")


def test_what_is_no_picture_never_leaves_the_machine(gateway: Sandbox) -> None:
    given = {"image": "file:///etc/passwd"}
    with pytest.raises(errors.InvalidInputError, match="not those of a picture, video, audio, PDF"):
        QuickRouterHook().create_prediction(given, version=SD_IMG2IMG)
    assert gateway.requests == []


def test_a_file_that_may_not_be_read_is_refused_with_the_remedy(storage: Storage) -> None:
    storage.trouble = PermissionError("Access Denied")
    with pytest.raises(errors.InvalidInputError, match="cannot be read: its connection has no permission"):
        read("memory://stored@b/cat.png")


@pytest.mark.parametrize("scheme", ["gs", "nosuch"])
def test_a_storage_that_is_not_installed_is_named(scheme: str) -> None:
    with pytest.raises(errors.InvalidInputError, match=f"needs a filesystem for '{scheme}'; inst"):
        read(f"{scheme}://bucket/cat.png")


def test_a_connection_that_airflow_does_not_have_is_named() -> None:
    with pytest.raises(errors.InvalidInputError, match="the connection 'nowhere', which Airflow"):
        read("s3://nowhere@bucket/cat.png")


def test_a_connection_that_a_storage_takes_by_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(conn_id: str | None, options: dict[str, str]) -> Any:
        return BaseHook.get_connection(conn_id or "nowhere_default")

    monkeypatch.setitem(_register_filesystems(), "gs", made)
    with pytest.raises(errors.InvalidInputError, match="nowhere_default"):
        read("gs://bucket/cat.png")
    with pytest.raises(errors.InvalidInputError, match="nowhere_default"):
        Target("gs://bucket")


def test_trouble_that_may_pass_is_retriable_and_its_text_is_kept_out(storage: Storage) -> None:
    storage.trouble = TimeoutError("signed with an-s3-secret")
    with pytest.raises(errors.FileUnavailable) as caught:
        read("memory://stored@b/cat.png")
    assert caught.value.transient
    assert str(caught.value) == (
        "input.image: memory://stored@b/cat.png could not be read (TimeoutError). Nothing was sent."
    )


def test_a_file_of_s3_that_is_too_large_for_a_data_uri_is_sent_as_a_presigned_url(s3: str) -> None:
    path = ObjectStoragePath(f"{s3}/cats/a cat.png")
    path.write_bytes(LARGE)
    url = read(str(path))
    assert "Signature=" in url
    assert "an-s3-secret" not in url
    assert requests.get(url, timeout=5).content == LARGE


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ((), 7_500),
        ((None, math.inf), 7_500),
        ((600, 900.5), 1_200),
        ((math.inf, timedelta(hours=3)), 11_100),
        ((30 * 86_400,), 7 * 86_400),
    ],
)
def test_a_presigned_url_is_valid_for_as_long_as_the_prediction_may_take(
    storage: Storage, limits: Any, seconds: int
) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    files = InputFiles(*limits)
    files.read({"image": "memory://stored@b/large.png"}, version=SD_IMG2IMG, model=None)
    assert storage.signed_for == seconds


def test_of_a_large_file_only_the_first_bytes_are_read(storage: Storage) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    read("memory://stored@b/large.png")
    assert storage.taken == 4_096


def test_a_data_uri_that_just_does_not_fit_is_a_presigned_url(storage: Storage) -> None:
    storage.pipe_file("/b/film.mov", b"\0\0\0\x20ftypqt  ".ljust(LARGEST_FILE, b"\0"))
    assert read("memory://stored@b/film.mov").startswith("https://storage.example/b/film.mov?")


def test_a_large_file_that_no_model_takes_is_not_sent(storage: Storage) -> None:
    storage.pipe_file("/b/passwd", b"root:x:0:0\n" * 30_000)
    with pytest.raises(errors.InvalidInputError, match="not those of a picture") as refused:
        read("memory://stored@b/passwd")
    assert "0f1e2d" not in str(refused.value)


@pytest.mark.parametrize(
    "trouble",
    [
        NotImplementedError(),
        AttributeError("needs the private key 4711"),
        ValueError("no key"),
        ImportError(),
    ],
    ids=["file system", "Google", "Azure", "package"],
)
def test_where_no_url_can_be_presigned_the_error_names_what_to_do(storage: Storage, trouble: Any) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    storage.sign_trouble = trouble
    with pytest.raises(errors.InvalidInputError) as refused:
        read("memory://stored@b/large.png")
    assert str(refused.value) == (
        "input.image: memory://stored@b/large.png has 383,964 bytes. A data URI may have 256,000 "
        "characters, which is 191,982 bytes in base64, and the storage made no presigned URL "
        f"({type(trouble).__name__}). Store the file in S3, Google Cloud Storage or Azure, with a connection "
        "that has a key to sign with; or make it smaller; or give an https URL, such as the URL in the "
        "output of the task that created the file."
    )


def test_a_large_local_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(LARGE)
    with pytest.raises(errors.InvalidInputError, match=r"NotImplementedError\)\. Store the file in S3"):
        read(f"file://{tmp_path}/large.png")


def test_an_outage_while_a_url_is_presigned_is_left_to_a_retry(storage: Storage) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    storage.sign_trouble = TimeoutError()
    with pytest.raises(errors.FileUnavailable):
        read("memory://stored@b/large.png")


def test_a_presigned_url_is_masked_and_only_the_path_is_logged(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.pipe_file("/b/large.png", LARGE)
    with caplog.at_level(logging.DEBUG):
        url = read("memory://stored@b/large.png")
    assert "input.image: sending memory://stored@b/large.png as a URL valid for 7500 s" in caplog.text
    assert "0f1e2d" not in caplog.text
    assert redact(f"see {url}") == "see ***"


def test_not_even_at_the_level_debug_is_a_signature_of_s3_logged(
    s3: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_PICTURES"])
    connection["extra"]["config_kwargs"] = {"signature_version": "s3v4"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PICTURES", json.dumps(connection))
    path = ObjectStoragePath(f"{s3}/cat.png")
    path.write_bytes(LARGE)
    with caplog.at_level(logging.DEBUG):
        (signature,) = parse_qs(urlsplit(read(path)).query)["X-Amz-Signature"]
    assert signature not in caplog.text


def test_another_signature_is_the_same_input_and_other_bytes_are_another_one(s3: str) -> None:
    path = ObjectStoragePath(f"{s3}/cat.png")

    def sent(limit: float) -> tuple[str, str]:
        files = InputFiles(limit)
        given = files.read({"image": path, "mask": "https://x/y.png"}, version="a/b", model=None)
        request = replace(create(given, version="a/b"), signed=files.signed)
        assert given["image"] not in repr(request)
        return given["image"], fingerprint(request)

    path.write_bytes(LARGE)
    (first, one), (second, same) = sent(600), sent(700)
    path.write_bytes(LARGE + b"!")
    _, other = sent(600)
    assert first != second
    assert one == same != other
