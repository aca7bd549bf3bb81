from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.storage.names import (
    DEFAULT_NAME,
    MAX_PART,
    check_distinct,
    check_name,
    file_name,
    safe_name,
)

HASH = "ab" * 32


def name(template: str, prediction_id: str = "p1", n: int = 7, ext: str = "png") -> str:
    return file_name(template, prediction_id=prediction_id, n=n, ext=ext, sha256=HASH)


@pytest.mark.parametrize(
    ("template", "named"),
    [
        (DEFAULT_NAME, "p1/7.png"),
        ("{n:03}.{ext}", "007.png"),
        ("{n:4d}", "7"),
        ("cats/{sha256}.{ext}", f"cats/{HASH}.png"),
        ("2026-11-23T00:00:00+00:00/{n}.{ext}", "2026-11-23T00_00_00+00_00/7.png"),
        ("day=2026/a b/猫?.{ext}", "day=2026/a b/猫_.png"),
        ("{{n}}.{ext}", "_n_.png"),
        ("plain", "plain"),
    ],
)
def test_a_template_becomes_a_name(template: str, named: str) -> None:
    assert name(check_name(template)) == named


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "must be a string"),
        (None, "must be a string"),
        (7, "must be a string"),
        ("/{n}.{ext}", "one that is empty"),
        ("a//{n}", "one that is empty"),
        ("{n}/", "one that is empty"),
        ("a/ /{n}", "one that is empty"),
        ("../{n}", "starts with a dot"),
        ("a/../../{n}", "starts with a dot"),
        (".hidden/{n}", "starts with a dot"),
        (".quickrouter/{n}", "starts with a dot"),
        ("a\\{n}", "a backslash or a control character"),
        ("a\n{n}", "a backslash or a control character"),
        ("a\0{n}", "a backslash or a control character"),
        ("{n}" + "/{n}" * 16, "more than 16 parts"),
        ("{model}.{ext}", "unknown field {model}"),
        ("{0}", "unknown field {0}"),
        ("{}", "unknown field {}"),
        ("{n.__class__}", "unknown field"),
        ("{ext[0]}", "unknown field"),
        ("{n!r}", "unknown field"),
        ("{n:0900000000}", "unknown field"),
        ("{n:{ext}}", "unknown field"),
        ("{ext:>9}", "unknown field"),
        ("{n", "an unmatched brace"),
        ("n}", "an unmatched brace"),
    ],
)
def test_a_bad_template_is_refused_with_the_remedy(template: Any, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        check_name(template)
    assert str(refused.value).startswith("name: ")
    assert says in str(refused.value)
    remedies = "Give a relative path", "the fields are {prediction_id}"
    assert any(remedy in str(refused.value) for remedy in remedies)


def test_several_files_need_names_of_their_own() -> None:
    check_distinct("{prediction_id}.{ext}", 1)
    check_distinct("{sha256}", 9)
    check_distinct("{n:03}", 9)
    with pytest.raises(InvalidInputError, match=r"9 files by one name; add \{n\}"):
        check_distinct("{prediction_id}.{ext}", 9)


@pytest.mark.parametrize("hostile", ["..", "../../etc/passwd", "/etc", "a\\b", "a\0b", ".", "", " "])
def test_an_id_from_outside_stays_one_part_of_the_name(hostile: str) -> None:
    made = name("x/{prediction_id}/{n}.{ext}", hostile)
    assert made.startswith("x/")
    assert len(made.split("/")) == 3
    assert "/" not in safe_name(hostile)


def test_long_parts_are_shortened_and_stay_different() -> None:
    one, other = (name(f"{'x' * 300}{end}/{{n}}.{{ext}}") for end in "ab")
    assert one != other
    long = name("{prediction_id}" * 5 + "{n}.{ext}", "é" * 160)
    assert long.endswith(".png")
    assert len(long.encode()) <= MAX_PART
    assert len(name("x" * 200 + "." + "y" * 200).encode()) <= MAX_PART


@given(st.text(), st.text(), st.integers(0, 10**6), st.text())
def test_a_name_never_leads_out_of_its_folder(template: str, given: str, n: int, ext: str) -> None:
    for one in (template, f"{template}/{{prediction_id}}/{{n}}.{{ext}}"):
        try:
            made = name(one, given, n, ext)
        except InvalidInputError:
            continue
        parts = made.split("/")
        assert not PurePosixPath(made).is_absolute()
        assert all(part and part[0] != "." and part.strip() == part for part in parts)
        assert all(len(part.encode()) <= MAX_PART for part in parts)
        assert made.isprintable()
        assert "\\" not in made
