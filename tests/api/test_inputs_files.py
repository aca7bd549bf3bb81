"""Which parts of an input are files of a storage, and what is sent in their place."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_quickrouter.api import models
from airflow_provider_quickrouter.api.attachments import (
    is_location,
    is_template,
    read_later,
    takes_file,
    with_paths,
)
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.inputs import check_input, with_files
from airflow_provider_quickrouter.api.model_inputs import file_fields
from airflow_provider_quickrouter.api.models import INPUTS, SD_IMG2IMG, SDXL, SDImg2ImgInput
from airflow_provider_quickrouter.hooks.input_files import DATA_URI_LIMIT, LARGEST_FILE, data_uri

PNG = b"\x89PNG\r\n\x1a\n"
UNKNOWN = "someone/something"
CAT = "s3://bucket/cat.png"


@dataclass(frozen=True)
class StoragePath:
    """What an ``ObjectStoragePath`` looks like to code that does not know Airflow.

    Only from Airflow 3.2 on does it have a ``conn_id``.
    """

    text: str
    protocol: str = "s3"
    path: str = ""

    def __str__(self) -> str:
        return self.text

    def samestore(self) -> None:
        raise NotImplementedError

    def resolve(self) -> None:
        raise NotImplementedError


def found(input: Any, reference: str) -> list[tuple[str, str]]:
    """The fields and locations of the files in an input."""
    seen: list[tuple[str, str]] = []

    def read(field: str, location: str) -> str:
        seen.append((field, location))
        return "data:,"

    with_files(input, reference, read)
    return seen


@pytest.mark.parametrize("reference", INPUTS)
def test_of_the_known_models_fields_the_same_take_files_by_page_and_by_name(reference: str) -> None:
    assert {name: takes_file(name) for name in file_fields(reference)} == file_fields(reference)


@pytest.mark.parametrize(
    "name",
    [
        *("image", "mask", "video", "audio", "file", "frame", "photo", "img", "Image"),
        *("input_image", "image_1", "input_image_2", "image2", "start_image", "last_frame"),
        *("images", "reference_images", "image_prompt", "image_input", "image_url", "mask_urls"),
        *("document", "pdf", "input_zip", "csv_file", "mesh"),
    ],
)
def test_names_that_take_a_file(name: str) -> None:
    assert takes_file(name)


@pytest.mark.parametrize(
    "name",
    [
        *("prompt", "image_size", "num_images_per_prompt", "imagery", "profile", "num_frames"),
        *("frame_rate", "video_length", "output_format", "filename", "prompt_image_text", "lora_weights", ""),
    ],
)
def test_names_that_take_none(name: str) -> None:
    assert not takes_file(name)


@pytest.mark.parametrize("text", [CAT, "s3://conn@bucket/key", "file:///tmp/x.png", "GS://b/k"])
def test_a_text_with_a_scheme_is_a_location(text: str) -> None:
    assert is_location(text)


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.com/a.png", "HTTP://example.com", "data:image/png;base64,AAAA"),
        *("data://x", "/tmp/x.png", "C:\\x.png", "a picture of s3://bucket", "://x", ""),
    ],
)
def test_other_texts_are_none(text: str) -> None:
    assert not is_location(text)


def test_files_are_found_in_fields_that_take_them_and_nowhere_else() -> None:
    given = {
        "prompt": CAT,
        "image": CAT,
        "images": [CAT, "https://example.com/dog.png", {"mask": CAT, "caption": CAT}],
        "seed": 1,
        "more": {"start_image": CAT, "style": CAT},
    }
    assert [field for field, _ in found(given, UNKNOWN)] == [
        "image",
        "images[0]",
        "images[2].mask",
        "more.start_image",
    ]


def test_a_path_object_is_a_file_in_any_field_of_an_unknown_model() -> None:
    given = {"weights": StoragePath(CAT), "extra": [{"x": StoragePath("/tmp/a.png")}]}
    assert found(given, UNKNOWN) == [("weights", CAT), ("extra[0].x", "file:///tmp/a.png")]


def test_a_path_object_is_no_text_of_a_known_model() -> None:
    given = {"prompt": StoragePath(CAT), "image": CAT}
    assert found(given, SD_IMG2IMG) == [("image", CAT)]
    with pytest.raises(InvalidInputError, match=r"input\.prompt: .*valid string"):
        check_input(given, SD_IMG2IMG, read=read_later)


def test_a_field_that_a_known_models_page_does_not_list_goes_by_its_name() -> None:
    assert found({"prompt": "x", "mask_image": CAT, "lora": CAT}, SDXL) == [("mask_image", CAT)]


def test_what_is_found_is_replaced_and_the_input_that_was_given_stays() -> None:
    given = {"images": (CAT, "https://x/y.png"), "prompt": "a cat"}
    sent = with_files(given, UNKNOWN, lambda field, location: f"{field} {location}")
    assert sent == {"images": [f"images[0] {CAT}", "https://x/y.png"], "prompt": "a cat"}
    assert given["images"] == (CAT, "https://x/y.png")


def test_a_models_input_takes_a_path_object_and_shows_its_text() -> None:
    given: Any = StoragePath("s3://conn@bucket/cat.png")
    made = SDImg2ImgInput(image=given)
    assert check_input(made, SD_IMG2IMG, read=read_later) == {"image": "s3://conn@bucket/cat.png"}


def test_objects_become_texts_where_the_name_says_that_a_file_is_meant() -> None:
    cat = StoragePath(CAT)
    assert with_paths({"image": cat, "images": [cat], "weights": cat}) == {
        "image": CAT,
        "images": [CAT],
        "weights": cat,
    }


@pytest.mark.parametrize("reference", [SD_IMG2IMG, UNKNOWN])
def test_a_file_that_nobody_reads_is_not_sent(reference: str) -> None:
    with pytest.raises(InvalidInputError, match=r"input\.image: s3://.* not read here; give an ht"):
        check_input({"image": CAT}, reference)


def test_a_plain_local_path_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidInputError, match=r"input\.image: '/tmp/x\.png': .*file:///tmp"):
        check_input({"image": "/tmp/x.png"}, models.SD_IMG2IMG, read=read_later)


def test_a_password_in_a_path_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_later("image", "sftp://me:hunter2@host/cat.png")
    assert "hunter2" not in str(refused.value)
    assert "give the id of an Airflow connection, as in sftp://conn_id@..." in str(refused.value)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (PNG + b"x", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"glTF\2\0\0\0", "model/gltf-binary"),
        (b'\x80\0\0\0\0\0\0\0{"weight":{}}', "application/x-safetensors"),
    ],
)
def test_the_first_bytes_say_what_is_sent(data: bytes, content_type: str) -> None:
    head, _, body = data_uri(data).partition(",")
    assert head == f"data:{content_type};base64"
    assert base64.b64decode(body) == data


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("s3://b/people.csv", "text/csv"), ("NOTES.TXT", "text/plain")],
)
def test_csv_and_txt_are_known_by_their_names(name: str, content_type: str) -> None:
    assert data_uri(b"a,b\n1,2\n", name).startswith(f"data:{content_type};base64,")
    assert data_uri(PNG, name).startswith("data:image/png;"), "magic bytes count more"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"root:x:0:0:root:/root:/bin/bash\n", "/etc/passwd"),
        (b"key = 1", "settings.py"),
        (b"\x7fELF", "program"),
        (b"\x7fELF\0", "program.txt"),
        (b"<html>", "page.html"),
    ],
)
def test_what_no_model_takes_is_not_sent(data: bytes, name: str) -> None:
    with pytest.raises(InvalidInputError, match="not those of a picture, video, audio, PDF, ZIP") as refused:
        data_uri(data, name)
    assert "root:x" not in str(refused.value)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="^is empty"):
        data_uri(b"")


def test_the_limit_counts_the_whole_data_uri() -> None:
    largest = PNG.ljust(LARGEST_FILE, b"\0")
    assert DATA_URI_LIMIT - 4 < len(data_uri(largest)) <= DATA_URI_LIMIT
    assert len(data_uri(largest + b"\0")) > DATA_URI_LIMIT


class Later:
    """What an ``XComArg`` looks like."""

    def resolve(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("s3://bucket/{{ ds }}", True),
        ("{% if ds %}a{% endif %}", True),
        ({"a": ["b", "{{ ds }}"]}, True),
        (Later(), True),
        (StoragePath("s3://bucket/{{ ds }}"), True),
        (StoragePath(CAT), False),
        ({"a": ["b"]}, False),
        (None, False),
    ],
)
def test_what_airflow_will_put_something_else_into_is_a_template(value: Any, expected: bool) -> None:
    assert is_template(value) is expected
