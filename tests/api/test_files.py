from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api import files
from airflow_provider_quickrouter.api.errors import FileRefused, InvalidInputError
from airflow_provider_quickrouter.api.files import (
    MAX_KEY,
    Source,
    StoredFile,
    check_complete,
    decode,
    digest_of,
    find_files,
    is_file,
    parse_rendered,
    readable_size,
)
from airflow_provider_quickrouter.api.prediction import LEFT_OUT
from airflow_provider_quickrouter.storage.record import Inventory

URL = "https://replicate.delivery/a/out-0.png"
DATA = "data:image/png;base64,AAAA"
STORED = StoredFile("s3://c@b/x/0.png", 4, "a" * 64, "image/png", 31, 17, "image", 2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.sampled_from([URL, DATA]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (URL, [URL]),
        ([URL, DATA], [URL, DATA]),
        ([{"file": URL}, {"image": DATA}], [URL, DATA]),
        ([[[DATA], URL]], [DATA, URL]),
        ({"b": DATA, "a": {"c": [URL]}}, [DATA, URL]),
        ((f" {URL}\n",), [URL]),
        ([URL, URL], [URL, URL]),
        (["HTTPS://X.TEST/A", "http://x.test/b"], ["HTTPS://X.TEST/A", "http://x.test/b"]),
        (["a cat", " sat", None, 7, True, {}, [], ""], []),
        (None, []),
    ],
)
def test_files_are_found_in_any_nesting_in_their_order(output: Any, found: list[str]) -> None:
    sources = find_files(output)
    assert [source.url for source in sources] == found
    assert [source.n for source in sources] == [*range(len(found))]


def test_a_key_of_any_depth_and_length_stays_short() -> None:
    deep: Any = URL
    for _ in range(1000):
        deep = {"x" * 1000: deep}
    (source,) = find_files([deep])
    assert len(source.key or "") == MAX_KEY


def test_files_are_found_however_deep_they_lie() -> None:
    deep: Any = URL
    for _ in range(50_000):
        deep = [deep]
    assert [source.url for source in find_files(deep)] == [URL]


def test_more_files_than_anybody_stores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 3)
    assert len(find_files([URL] * 3)) == 3
    with pytest.raises(FileRefused, match="more than 3 files"):
        find_files([URL] * 4)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("https://x.test is a good site", False),
        ("https://", False),
        ("https:// x", False),
        ("http://[bad", False),
        ("https://x.test/\x00", False),
        ("ftp://x.test/a", False),
        ("s3://bucket/a.png", False),
        ("data: what we know of cats, in short", False),
        ("data:text/plain,hello", True),
        ("data:,hello", True),
        ("DATA:image/png;BASE64,AAAA", True),
        ("data:image/png;name=a.png;charset=utf-8;base64,AAAA", True),
        ("data:image/png;base64", True),
        ("data:" + "x" * 10_000, False),
        ("data:image/svg+xml;utf8,<svg/>", True),
        ("https://x.test/my cat (1).png", True),
        ("https://x.test/my cats/1.png?X-Signature=a.b", True),
        ("https://x.test/my cat", False),
        ("https://x.test/a.png https://x.test/b", False),
        ("https://x.test/a is a good page.", False),
        ("https://x.test/a is\na page.txt", False),
        ("https://x.test /a b.png", False),
    ],
)
def test_text_is_told_from_addresses(text: str, file: bool) -> None:
    assert is_file(text) is file


@pytest.mark.parametrize(
    ("uri", "content_type", "data"),
    [
        ("data:image/png;base64,AAEC", "image/png", b"\0\1\2"),
        ("data:image/png;base64,AA%2BC", "image/png", base64.b64decode("AA+C")),
        ("data:image/png;base64,_-8", "image/png", base64.b64decode("/+8=")),
        ("data:image/png;base64,AA\n EC", "image/png", b"\0\1\2"),
        ("data:,a%20b", "text/plain", b"a b"),
        ("data:text/csv;charset=utf-8,a", "text/csv", b"a"),
        ("data:image/svg+xml;utf8,<svg width='9%'/>", "image/svg+xml", b"<svg width='9%'/>"),
        ("data:text/plain;utf8;base64,AAEC", "text/plain", b"\0\1\2"),
    ],
)
def test_a_data_uri_is_decoded(uri: str, content_type: str, data: bytes) -> None:
    assert decode(uri, 100) == (content_type, data)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("data:image/png;base64,A", "not valid base64"),
        ("data:image/png;base64,AA!A", "not valid base64"),
        ("data:image/png;base64,", "is empty"),
        ("data:,", "is empty"),
        ("data:image/png;base64", "is malformed"),
        ("data:," + "x" * 101, "max_bytes allows 100 bytes"),
        ("data:," + "x" * 400, "max_bytes allows 100 bytes"),
    ],
)
def test_a_damaged_data_uri_is_refused(uri: str, says: str) -> None:
    with pytest.raises(FileRefused, match=says):
        decode(uri, 100)


@given(st.text())
def test_a_data_uri_is_decoded_or_refused(text: str) -> None:
    for uri in (f"data:{text}", f"data:;base64,{text}"):
        try:
            content_type, data = decode(uri, 1000)
        except FileRefused:
            continue
        assert 0 < len(data) <= 1000
        assert content_type


@given(JSON)
def test_every_file_that_is_found_was_in_the_output(output: Any) -> None:
    found = [source.url for source in find_files(output)]
    assert sorted(found) == sorted(text.strip() for text in texts(output) if is_file(text.strip()))
    assert digest_of(output) == digest_of(json.loads(json.dumps(output)))


def texts(output: Any) -> list[str]:
    if isinstance(output, str):
        return [output]
    inner = output.values() if isinstance(output, dict) else output
    return [t for one in inner for t in texts(one)] if isinstance(output, dict | list) else []


def test_a_new_signature_makes_no_new_file_but_another_number_or_path_does() -> None:
    one = Source(0, f"{URL}?X-Signature=1")
    assert one.digest == Source(0, f"{URL}?X-Signature=2").digest
    others = [Source(1, one.url), Source(0, f"{URL}x"), Source(0, DATA), Source(0, f"{DATA}?1")]
    assert len({source.digest for source in [one, *others]}) == 5
    assert Source(0, "https://x.test/\ud800").digest


def test_an_output_with_a_note_is_not_whole() -> None:
    check_complete([URL, "text"])
    with pytest.raises(InvalidInputError, match="Pass prediction_id= instead"):
        check_complete([{"image": f"{LEFT_OUT}data: URI of 9 characters]"}])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f'["{URL}", null]', [URL, None]),
        (f"['{URL}', None]", [URL, None]),
        (" {'a': 1}", {"a": 1}),
        ("[1", "[1"),
        ("[a, b]", "[a, b]"),
        ("[" * 100_000, "[" * 100_000),
        (URL, URL),
        (7, 7),
    ],
)
def test_what_a_template_made_text_of_is_read_again(text: Any, value: Any) -> None:
    assert parse_rendered(text) == value


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1, "1 byte"),
        (2048, "2.0 KiB"),
        (3 * 2**20, "3.0 MiB"),
        (2**31, "2.0 GiB"),
    ],
)
def test_a_size_is_told_to_people(size: int, words: str) -> None:
    assert readable_size(size) == words


def test_a_stored_file_is_the_same_after_json() -> None:
    unknown = StoredFile("memory://x/0.bin", 0, "b" * 64, "application/octet-stream")
    for file in (STORED, unknown):
        assert StoredFile.from_json(json.loads(json.dumps(file.to_json()))) == file
    assert str(STORED) == "s3://c@b/x/0.png (4 bytes, 31 x 17)"
    assert str(unknown) == "memory://x/0.bin (0 bytes)"


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"size": -1},
        {"size": True},
        {"size": "4"},
        {"sha256": "A" * 64},
        {"sha256": 7},
        {"content_type": None},
        {"width": -1},
        {"height": 1.5},
        {"key": 7},
        {"index": -1},
        {"index": "0"},
    ],
)
def test_what_is_no_stored_file_is_not_taken_for_one(wrong: dict[str, Any]) -> None:
    odd: list[Any] = [STORED.to_json() | wrong, None, []]
    for one in odd:
        with pytest.raises(ValueError, match="not a stored file"):
            StoredFile.from_json(one)


def inventory(*numbers: int, total: int) -> Inventory:
    return Inventory(total, {Source(n, f"{URL}{n}").digest: (n, STORED) for n in numbers})


def test_a_record_is_the_same_after_it_was_written() -> None:
    made = inventory(0, 1, total=3)
    read = Inventory.read(made.to_bytes())
    assert read == made
    assert read.find(Source(1, f"{URL}1?signature")) == STORED
    assert read.find(Source(2, f"{URL}2")) is None


def test_a_record_is_whole_when_it_has_all_files() -> None:
    assert inventory(1, 0, total=2).complete() == [(0, STORED), (1, STORED)]
    assert inventory(2, 0, total=2).complete() == [(0, STORED), (2, STORED)]
    assert inventory(0, total=2).complete() == []
    assert inventory(0, 1, 2, total=2).complete() == []
    assert inventory(total=0).complete() == []


@given(JSON | st.binary())
def test_a_record_is_read_or_refused(given: Any) -> None:
    data = given if isinstance(given, bytes) else json.dumps(given).encode()
    wrapped = json.dumps({"version": 1, "total": 1, "files": given if data != given else {}})
    for one in (data, wrapped.encode()):
        try:
            Inventory.read(one)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "wrong", [{"version": 2}, {"files": dict.fromkeys(map(str, range(10_001)))}, {"total": None}]
)
def test_a_record_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    whole = {"version": 1, "total": 0, "files": {}} | wrong
    with pytest.raises(ValueError, match=r"not a record of files|another version"):
        Inventory.read(json.dumps(whole).encode())
