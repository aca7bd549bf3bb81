"""Files of an input in real storages: what is sent of them, and what is said if that fails."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import store
from airflow.sdk.io.fs import _register_filesystems
from airflow.sdk.io.store import ObjectStore
from blockbuster import BlockBuster
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import SD_IMG2IMG
from airflow_provider_quickrouter.hooks.input_files import LARGEST_FILE, read_files
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.storage.target import Target
from tests.s3 import s3_server

PNG = b"\x89PNG\r\n\x1a\n a picture"
URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


def read(image: Any, **more: Any) -> Any:
    return read_files({"image": image, **more}, version=SD_IMG2IMG, model=None)["image"]


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    return path


class Storage(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A storage in memory that counts bytes, or is in trouble."""

    store: ClassVar[dict[str, Any]] = {}
    trouble: Exception | None = None
    size_known = True
    taken = 0

    def info(self, path: str, **kwargs: Any) -> Any:
        if self.trouble:
            raise self.trouble
        about = dict(super().info(path, **kwargs))
        return about if self.size_known else {**about, "size": None}

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


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, _no_blocking_on_the_event_loop: BlockBuster) -> Iterator[str]:
    """A bucket of a real S3 server, behind the connection ``aws_pictures``."""
    _no_blocking_on_the_event_loop.deactivate()  # S3's client blocks a loop of its own
    with s3_server("bucket") as address:
        connection = {
            "conn_type": "aws",
            "login": "a",
            "password": "an-s3-secret",
            "extra": {"endpoint_url": address, "region_name": "us-east-1"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_AWS_PICTURES", json.dumps(connection))
        yield "s3://aws_pictures@bucket"
    store._STORE_CACHE.pop("s3-aws_pictures")


def test_a_file_becomes_a_data_uri_by_its_text_and_as_an_object(cat: Path) -> None:
    assert read(f"file://{cat}") == URI
    assert read(ObjectStoragePath(f"file://{cat}")) == URI
    assert read(ObjectStoragePath(str(cat))) == URI


def test_a_file_of_s3_is_read_with_its_connection(s3: str) -> None:
    path = ObjectStoragePath(f"{s3}/cats/cat.png")
    path.write_bytes(PNG)
    assert read(str(path)) == read(path) == URI
    with pytest.raises(errors.InvalidInputError, match=f"{s3}/cats/dog.png is not there"):
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
    storage.pipe_file("/b/large.png", PNG.ljust(2 * LARGEST_FILE, b"\0"))
    with pytest.raises(errors.InvalidInputError, match=r"has 383,964 bytes\. .*a presigned one"):
        read("memory://stored@b/large.png")
    assert storage.taken == 0
    storage.size_known = False
    with pytest.raises(errors.InvalidInputError, match="has 191,983 bytes"):
        read("memory://stored@b/large.png")
    assert storage.taken == LARGEST_FILE + 1


def test_a_file_that_is_not_there_is_named_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"^input\.image: file:///.* is not there;"):
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
    with pytest.raises(errors.InvalidInputError, match="neither picture, video nor audio"):
        QuickRouterHook().create_prediction(given, version=SD_IMG2IMG)
    assert gateway.requests == []


def test_a_file_that_may_not_be_read_is_refused_with_the_remedy(storage: Storage) -> None:
    storage.trouble = PermissionError("Access Denied")
    with pytest.raises(errors.InvalidInputError, match="may not be read; give its connection the"):
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
