"""Which texts can be the folder that files are stored in."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_quickrouter.api.attachments import connection_in
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.storage.names import check_folder


@pytest.mark.parametrize(
    "path",
    [
        "s3://bucket",
        "s3://aws_default@bucket/a b/ü",
        "file:///data/pictures",
        "memory://pictures",
        "/data/pictures",
        "file://{{ var.value.folder }}",
        "{{ var.value.folder }}/today",
        "s3://{{ var.value.bucket }}/{{ ds }}",
        "{% if ds %}\n{{ ds }}{% endif %}",
        "s3://bucket/my folder {{ ds }}",
        "s3://bucket/10:30",
    ],
)
def test_a_folder_is_taken_as_it_is(path: str) -> None:
    assert check_folder("path", path) == path


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (None, "is empty"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("None", "is empty"),
        (" s3://bucket", "blank"),
        ("s3://bucket/x\n", "line break"),
        ("s3://bucket/x\ny", "line break"),
        ("s3:/bucket/x", "no two slashes"),
        ("file:pictures", "no two slashes"),
        ("s3://", "names no place"),
        ("s3://aws_default@", "names no place"),
        ("s3://aws_default@/x", "names no place"),
        ("pictures/today", "is a relative path, which is another folder on each worker"),
        ("pictures/{{ ds }}", "is a relative path"),
        ("~/pictures", "is a relative path"),
        ("file://pictures/today", "is a relative path"),
        ("s3://bucket/{ ds }", "has single braces; a template has two, {{ ds }}"),
        ("s3://bucket/{prediction_id}", "has single braces"),
    ],
)
def test_what_can_be_no_folder_is_refused_with_the_remedy(path: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^output_path: .*give a folder") as failed:
        check_folder("output_path", path)
    assert says in str(failed.value)


def test_a_password_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidInputError, match="holds no password") as failed:
        check_folder("path", "s3://user:hush@bucket/x")
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize(
    ("location", "conn_id"), [("s3://aws@b/x@y", "aws"), ("s3://b/x@y", ""), ("/a@b", ""), ("file:///a", "")]
)
def test_a_path_may_name_a_connection(location: str, conn_id: str) -> None:
    assert connection_in(location) == conn_id
