"""Whole outputs come into storage: every file, once, whatever storage it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter.api.errors import FileRefused, FileUnavailable, InvalidInputError
from airflow_provider_quickrouter.api.prediction import MAX_TEXT
from airflow_provider_quickrouter.api.storable import LONGEST_HEADER, storable_string
from airflow_provider_quickrouter.storage.fetching import Owner
from airflow_provider_quickrouter.storage.record import FOLDER, Keeper
from airflow_provider_quickrouter.storage.store import Storing
from airflow_provider_quickrouter.storage.target import Target
from tests.storage.files import Log, data_uri, image, large_png, read, sha256

OWNER = Owner("p1", datetime.now(UTC) + timedelta(hours=1))
Make = Callable[..., Storing]
MANY = 50


def files_below(folder: str) -> list[str]:
    """The names of all files there but the record."""
    root = ObjectStoragePath(folder)
    root.fs.invalidate_cache()
    start = len(root.path.rstrip("/")) + 1
    names = [str(path)[start:].lstrip("/") for path in root.fs.find(root.path)]
    return sorted(name for name in names if not name.startswith(FOLDER))


def test_fifty_files_of_a_megabyte_arrive_as_they_are(
    folder: str, storing: Make, httpserver: HTTPServer, log: Log
) -> None:
    pictures = [large_png(n) for n in range(MANY)]
    for n, picture in enumerate(pictures):
        httpserver.expect_request(f"/{n}").respond_with_data(picture, content_type="image/png")
    output = [httpserver.url_for(f"/{n}") for n in range(MANY)]
    stored = storing(path=folder).store(output, OWNER)
    assert [file.sha256 for file in stored] == [sha256(picture) for picture in pictures]
    assert [sha256(read(file)) for file in stored] == [file.sha256 for file in stored]
    assert [file.size for file in stored] == [2**20] * MANY
    assert [(file.width, file.height) for file in stored] == [(8 + n, 8) for n in range(MANY)]
    assert [file.path for file in stored] == [f"{folder}/p1/{n}.png" for n in range(MANY)]
    assert files_below(folder) == sorted(f"p1/{n}.png" for n in range(MANY))
    assert "Stored 50 files, 50.0 MiB" in log.infos[-1]


def test_what_is_stored_is_left_alone_also_when_its_url_is_dead(
    folder: str, storing: Make, httpserver: HTTPServer, log: Log
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    output = [httpserver.url_for("/a?signature=1"), data_uri(image("GIF"), "image/gif")]
    first = storing(path=folder).store(output, OWNER)
    place = ObjectStoragePath(first[0].path)
    changed = place.fs.modified(place.path)
    httpserver.clear()
    again = storing(path=folder).store([httpserver.url_for("/a?signature=2"), output[1]], OWNER)
    assert again == first
    assert place.fs.modified(place.path) == changed
    assert "existed already: 2" in log.infos[-1]


def test_a_partly_stored_output_goes_on_with_what_is_missing(storing: Make, httpserver: HTTPServer) -> None:
    good = httpserver.expect_oneshot_request("/good")
    good.respond_with_data(image(), content_type="image/png")
    httpserver.expect_oneshot_request("/late").respond_with_data(
        "no", status=503, headers=[("Retry-After", "900")]
    )
    output = [httpserver.url_for("/good"), httpserver.url_for("/late")]
    with pytest.raises(FileUnavailable) as failed:
        storing().store(output, OWNER)
    assert failed.value.retry_after == 900
    httpserver.expect_oneshot_request("/late").respond_with_data(image(), content_type="image/png")
    assert len(storing().store(output, OWNER)) == 2


def test_a_stored_file_that_was_damaged_is_fetched_again(
    storing: Make, httpserver: HTTPServer, tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    output = [httpserver.url_for("/a")]
    storing().store(output, OWNER)
    kept = tmp_path / "kept" / "p1" / "0.png"
    for damage in (b"x" * kept.stat().st_size, b"x"):
        kept.write_bytes(damage)
        storing().store(output, OWNER)
        assert kept.read_bytes() == image()


def test_a_file_that_lies_there_already_is_not_written_though_the_record_is_lost(
    storing: Make, httpserver: HTTPServer, tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    storing().store([httpserver.url_for("/a")], OWNER)
    kept = tmp_path / "kept" / "p1" / "0.png"
    before = kept.stat()
    (tmp_path / "kept" / FOLDER / "p1.json").unlink()
    storing().store([httpserver.url_for("/a")], OWNER)
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1, "total": 1, "files": {"x": {"n": 0}}}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"version": 1, "total": 1e999, "files": {}}',
    ],
)
def test_a_damaged_record_is_not_used(
    damage: bytes, storing: Make, httpserver: HTTPServer, tmp_path: Path, log: Log
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    record = tmp_path / "kept" / FOLDER / "p1.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(damage)
    storing().store([httpserver.url_for("/a")], OWNER)
    assert (tmp_path / "kept" / "p1" / "0.png").read_bytes() == image()
    assert bool(log.warnings) is bool(damage)


def test_a_record_cannot_name_a_file_elsewhere(storing: Make, httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    storing().store([httpserver.url_for("/a")], OWNER)
    secret = tmp_path / "secret"
    secret.write_bytes(image())
    record = tmp_path / "kept" / FOLDER / "p1.json"
    told = json.loads(record.read_text())
    for entry in told["files"].values():
        entry["path"] = f"file://{secret}"
    record.write_text(json.dumps(told))
    (stored,) = storing().store([httpserver.url_for("/a")], OWNER)
    assert stored.path == f"file://{tmp_path}/kept/p1/0.png"


def test_names_follow_the_template_and_magic_bytes_decide_the_extension(
    storing: Make, httpserver: HTTPServer, tmp_path: Path
) -> None:
    httpserver.expect_request("/a").respond_with_data(image("JPEG"), content_type="image/png")
    output = {"deep": [[{"image": httpserver.url_for("/a")}], "a caption"]}
    (stored,) = storing(name="{prediction_id}-{n:03}-{sha256}.{ext}").store(output, OWNER)
    assert stored.path.endswith(f"/kept/p1-000-{sha256(image('JPEG'))}.jpg")
    assert stored.content_type == "image/jpeg"


def test_an_object_store_is_told_the_content_type(s3: str, storing: Make, tmp_path: Path) -> None:
    (stored,) = storing(path=f"{s3}/{tmp_path.name}").store([data_uri(image("WEBP"), "")], OWNER)
    place = ObjectStoragePath(stored.path)
    assert place.fs.info(place.path)["ContentType"] == "image/webp"


def test_a_plain_path_is_a_local_one(storing: Make, tmp_path: Path) -> None:
    (stored,) = storing(path=f"{tmp_path}/plain/").store([data_uri(image())], OWNER)
    assert (tmp_path / "plain" / "p1" / "0.png").read_bytes() == image() == read(stored)


def test_an_address_with_letters_of_any_alphabet_is_fetched(storing: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/猫.png").respond_with_data(image(), content_type="image/png")
    assert read(storing().store([f"http://127.0.0.1:{httpserver.port}/猫.png"], OWNER)[0]) == image()


def test_a_few_files_have_a_line_each_and_many_do_not(storing: Make, log: Log) -> None:
    storing().store([data_uri(image())] * 2, OWNER)
    assert [line.partition(" to ")[0] for line in log.infos[:1]] == ["Storing 2 files of prediction p1"]
    assert sum("0.png (" in line and "31 x 17)" in line for line in log.infos) == 1
    assert len(log.infos) == 4
    log.infos.clear()
    storing().store([data_uri(image())] * 11, OWNER)
    assert len(log.infos) == 2


def test_files_that_would_get_one_name_are_refused_before_anything_is_fetched(storing: Make) -> None:
    with pytest.raises(InvalidInputError, match="add {n}"):
        storing(name="{prediction_id}.{ext}").store(["https://x.test/1", "https://x.test/2"], OWNER)


@pytest.mark.parametrize(
    ("output", "name", "data"),
    [
        ("Möwen", "0.txt", "Möwen".encode()),
        ("", "0.txt", b""),
        (["Once upon", "", None, " a time"], "0.txt", b"Once upon a time"),
        ("<html><title>a page that a model wrote", "0.txt", b"<html><title>a page that a model wrote"),
        ({"detections": []}, "0.json", b'{"detections": []}'),
        ([{"label": "Möwe"}], "0.json", '{"label": "Möwe"}'.encode()),
        ([[1.5, None], [2, 3]], "0.json", b"[[1.5, null], [2, 3]]"),
        (7, "0.json", b"7"),
        (["a", 7], "0.json", b'["a", 7]'),
    ],
)
def test_an_output_without_files_is_stored_as_text_or_json(
    output: object, name: str, data: bytes, storing: Make, log: Log
) -> None:
    (stored,) = storing().store(output, OWNER)
    assert stored.path.endswith(f"/kept/p1/{name}")
    assert (read(stored), stored.key, stored.index) == (data, None, 0)
    assert stored.content_type == ("text/plain" if name.endswith("txt") else "application/json")
    assert storing().store(output, OWNER) == [stored] == storing().stored_before("p1")
    assert "existed already: 1" in log.infos[-2]
    assert not log.warnings


@pytest.mark.parametrize("output", [None, [], [None, None]])
def test_an_output_that_is_null_stores_nothing(output: object, storing: Make, log: Log) -> None:
    assert storing().store(output, OWNER) == []
    assert "is null: nothing is stored" in log.warnings[0]


def test_a_text_beyond_the_limit_is_refused(storing: Make) -> None:
    with pytest.raises(FileRefused, match=r"File 0 of the output \(its txt\).*max_bytes allows 10 bytes"):
        storing(max_bytes=10).store("a long text", OWNER)


def test_each_file_names_its_key_and_its_index_and_nulls_keep_their_place(storing: Make) -> None:
    output = [
        None,
        data_uri(image()),
        {"stems": {"vocals": data_uri(image()), "drums": None}, "text": "la"},
        [None, [data_uri(image())]],
    ]
    stored = storing().store(output, OWNER)
    assert [(file.key, file.index) for file in stored] == [(None, 1), ("stems.vocals", 2), (None, 3)]
    assert [file.path.rpartition("/")[2] for file in stored] == ["1.png", "2.png", "4.png"]
    assert storing().store(output, OWNER) == stored == storing().stored_before("p1")


def test_what_xcom_cannot_hold_next_to_files_is_stored_as_json(storing: Make) -> None:
    output = {"audio": data_uri(image()), "text": "la " * MAX_TEXT}
    picture, whole = storing().store(output, OWNER)
    assert picture.key == "audio"
    assert (whole.path[-7:], json.loads(read(whole))) == ("/1.json", output)
    assert len(storing().store(output | {"text": "la"}, Owner("p2"))) == 1


def test_a_failed_store_leaves_neither_a_half_file_nor_a_temporary_one(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise OSError("the storage is full")

    monkeypatch.setattr(MemoryFileSystem, "mv", breaks)
    with pytest.raises(FileUnavailable, match=r"the storage is full"):
        storing(path=memory).store([data_uri(image())], OWNER)
    assert MemoryFileSystem.store == {}


def test_an_error_of_the_storage_that_nobody_knows_is_not_hidden(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(MemoryFileSystem, "put_file", breaks)
    with pytest.raises(RuntimeError, match="no credentials"):
        storing(path=memory).store([data_uri(image())], OWNER)


def test_a_connection_that_may_only_write_is_enough(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: object, **more: object) -> None:
        raise PermissionError("Forbidden")  # S3 says so of a missing file, too, without ListBucket

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "size", refuses)
        (stored,) = storing(path=memory).store([data_uri(image())], OWNER)
    assert read(stored) == image()


def test_a_record_that_cannot_be_written_fails_no_files(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise RuntimeError("whatever a client raises")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", breaks)
    (stored,) = storing(path=memory).store([data_uri(image())], OWNER)
    assert read(stored) == image()
    assert "The record of what is stored was not written" in log.warnings[0]


def test_a_folder_that_cannot_be_written_is_named(storing: Make, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(FileUnavailable, match=r"kept/p1/0\.png could not be read or written"):
        storing().store([data_uri(image())], OWNER)


def test_a_folder_under_the_name_of_a_file_is_an_error(storing: Make, tmp_path: Path) -> None:
    place = tmp_path / "kept" / "p1" / "0.png"
    place.mkdir(parents=True)
    with pytest.raises(FileUnavailable, match="IsADirectoryError"):
        storing().store([data_uri(image())], OWNER)
    assert [*place.iterdir()] == []


def test_two_predictions_under_one_name_are_told_as_a_loss(storing: Make, log: Log) -> None:
    name = {"name": "{n}.{ext}"}
    storing(**name).store([data_uri(image())], OWNER)
    storing(**name).store([data_uri(image())], Owner("p2"))
    assert not log.warnings
    storing(**name).store([data_uri(image(size=(5, 5)))], Owner("p3"))
    assert "holds something else" in log.warnings[0]


def test_what_a_storage_says_is_bounded_and_can_be_logged(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise OSError("\0\udcff" * 10_000)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", breaks)  # the record's
    storing(path=memory).store([data_uri(image())], OWNER)
    monkeypatch.setattr(MemoryFileSystem, "put_file", breaks)
    with pytest.raises(FileUnavailable) as failed:
        storing(path=memory).store([data_uri(image()), data_uri(image("GIF"))], Owner("p2"))
    for text in (str(failed.value), log.text):
        assert storable_string(text) == text
        assert len(text) < 3000
    assert failed.value.__cause__ is None


STORED = [data_uri(image()), data_uri(image("GIF"), "image/gif")]


def test_what_was_stored_before_is_returned_without_any_request(
    folder: str, storing: Make, httpserver: HTTPServer, log: Log
) -> None:
    httpserver.expect_request("/a").respond_with_data(image(), content_type="image/png")
    first = storing(path=folder).store([httpserver.url_for("/a"), *STORED], OWNER)
    httpserver.clear()
    assert storing(path=folder).stored_before("p1") == first
    assert log.infos[-1] == "An earlier attempt has stored the output of prediction p1: 3 files"
    assert storing(path=folder).stored_before("p2") == []
    assert httpserver.log == []
    assert not log.warnings


@pytest.mark.parametrize("damage", ["removed", "changed", "cut"])
def test_a_file_that_is_not_as_it_was_stored_is_not_stored(
    damage: str, storing: Make, tmp_path: Path
) -> None:
    storing().store(STORED, OWNER)
    place = tmp_path / "kept" / "p1" / "1.gif"
    if damage == "removed":
        place.unlink()
    else:
        size = place.stat().st_size
        place.write_bytes(b"x" * (size if damage == "changed" else size - 1))
    assert storing().stored_before("p1") == []


def test_an_output_that_is_stored_in_part_is_not_stored(storing: Make, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data("no", status=400)
    with pytest.raises(FileRefused):
        storing().store([*STORED, httpserver.url_for("/a")], OWNER)
    assert storing().stored_before("p1") == []


def test_files_under_other_names_are_not_the_stored_ones(storing: Make) -> None:
    storing().store(STORED, OWNER)
    assert storing(name="{n}.{ext}").stored_before("p1") == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"version": 2, "files": {}}'])
def test_a_record_that_is_missing_or_damaged_names_no_stored_files(
    damage: bytes, storing: Make, tmp_path: Path
) -> None:
    storing().store(STORED, OWNER)
    (tmp_path / "kept" / FOLDER / "p1.json").write_bytes(damage)
    assert storing().stored_before("p1") == []
    (tmp_path / "kept" / FOLDER / "p1.json").unlink()
    assert storing().stored_before("p1") == []


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("no route")])
def test_a_storage_that_cannot_be_read_is_an_error_that_a_retry_may_help_against(
    error: Exception, memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object, **more: object) -> None:
        raise error

    storing(path=memory).store(STORED, OWNER)
    monkeypatch.setattr(MemoryFileSystem, "_open", breaks)
    with pytest.raises(FileUnavailable, match=r"could not be read.*no route") as failed:
        storing(path=memory).stored_before("p1")
    assert failed.value.transient


def test_with_a_connection_that_may_only_write_nothing_is_known_of_stored_files(
    memory: str, storing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*given: object, **more: object) -> None:
        raise PermissionError("Forbidden")

    storing(path=memory).store(STORED, OWNER)
    monkeypatch.setattr(MemoryFileSystem, "_open", refuses)
    assert storing(path=memory).stored_before("p1") == []


def test_addresses_that_differ_at_each_attempt_are_the_same_files(
    storing: Make, httpserver: HTTPServer
) -> None:
    for path in ("/first", "/second"):
        httpserver.expect_request(path).respond_with_data(image(), content_type="image/png")
        stored = storing().store([httpserver.url_for(path)], OWNER)
    assert storing().stored_before("p1") == stored


@pytest.mark.parametrize(
    ("field", "value", "good"),
    [("content_type", "x/\0\udcff" + "x" * 5000, True), ("width", 10**30, False), ("height", 2**64, False)],
)
def test_a_record_puts_nothing_into_xcom_that_cannot_be_stored(
    field: str, value: object, good: bool, storing: Make, tmp_path: Path
) -> None:
    """Whoever can write to the storage can write to the record."""
    storing().store([data_uri(b"bytes", "audio/unknown")], OWNER)
    record = tmp_path / "kept" / FOLDER / "p1.json"
    told = json.loads(record.read_text())
    for entry in told["files"].values():
        entry[field] = value
    record.write_text(json.dumps(told))
    found = storing().stored_before("p1")
    assert bool(found) is good
    for file in found:
        assert storable_string(file.content_type) == file.content_type
        assert len(file.content_type) <= LONGEST_HEADER


def test_a_record_of_very_many_files_is_not_counted_through(storing: Make, tmp_path: Path) -> None:
    storing().store([data_uri(image())], OWNER)
    record = tmp_path / "kept" / FOLDER / "p1.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"total": 10**18}))
    assert storing().stored_before("p1") == []


@pytest.mark.parametrize("path", ["s3://nobody@pictures/x", "s3://user:hush@pictures/x"])
def test_a_connection_that_airflow_does_not_have_is_told(path: str, storing: Make) -> None:
    with pytest.raises(InvalidInputError, match="connection") as failed:
        storing(path=path).store([data_uri(image())], OWNER)
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize("path", ["", "  ", "None", "s3:/pictures", "nosuchscheme://x"])
def test_a_path_that_reaches_no_storage_is_refused(path: str, storing: Make) -> None:
    with pytest.raises(InvalidInputError, match="path:"):
        storing(path=path).store([data_uri(image())], OWNER)


def test_a_file_that_was_stored_just_before_a_kill_is_not_fetched_again(
    folder: str, storing: Make, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_ordered_request("/a").respond_with_data(image(), content_type="image/png")
    output, put = [httpserver.url_for("/a")], Target.put

    def killed(self: Target, local: Path, name: str) -> None:
        put(self, local, name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Target, "put", killed)
        patch.setattr(Keeper, "close", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            storing(path=folder).store(output, OWNER)
    (stored,) = storing(path=folder).store(output, OWNER)
    assert stored.sha256 == sha256(image())
