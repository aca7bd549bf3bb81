"""The JSON of a card, whatever somebody has left in XCom."""

from __future__ import annotations

from ast import literal_eval
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_quickrouter.plugins.cards import Entry, Found, Row, State, card_of

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
ENDED = "2026-05-04T11:30:00+00:00"
URL = "https://replicate.delivery/x/out-0.png"


def card(manifest: dict[str, Any], files: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    place = ("wait", 3)
    entry = Entry("a", [Row(place, "a", "succeeded")])
    found = Found(manifest, {place: files} if files else {}, **more)
    return card_of(entry, State.SUCCEEDED, found, NOW)


def test_addresses_are_shown_while_they_live() -> None:
    made = card({"output": {"images": [URL, {"mask": "https://h/m.mp4?x=1"}]}, "completed_at": ENDED})
    assert made["live"] == [{"url": URL, "kind": "image"}, {"url": "https://h/m.mp4?x=1", "kind": "video"}]
    assert made["expires_at"] == "2026-05-04T12:30:00+00:00"
    assert made["expired"] is None


def test_addresses_that_are_dead_are_not() -> None:
    made = card({"output": [URL], "expires_at": "2026-05-04T11:59:59+00:00"})
    assert (made["live"], made["expired"]) == ([], "2026-05-04T11:59:59+00:00")


def test_what_is_stored_goes_before_what_may_die() -> None:
    file = {"path": "/x/0.png", "size": 5, "sha256": "ab" * 32, "content_type": "image/png"}
    made = card({"output": [URL]}, [file, "odd", {"path": 3}])
    assert made["live"] == []
    assert [stored["n"] for stored in made["stored"]] == [0]
    assert made["stored"][0]["tag"] == "ab" * 8


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//h/x", "ftp://h", 3])
def test_only_web_addresses_become_links(address: Any) -> None:
    made = card({"url": address, "output": [address]})
    assert (made["url"], made["live"]) == (None, [])


def deeply_nested(levels: int) -> list[Any]:
    nested = list[Any]()
    for _ in range(levels):
        nested = [nested]
    return nested


PRIVATE = [
    "http://192.168.0.1/cgi-bin/reboot?x.png",
    "http://10.0.0.7/a.png",
    "http://169.254.169.254/latest/meta-data/a.png",
    "http://[fd00::1]/a.png",
    "http://metadata.internal.:8080/a.png",
    "http://localhost/a.png",
    "http://2130706433/a.png",
    # As browsers read them: the host ends at a backslash, and percent signs are decoded.
    "http://10.0.0.7\\.example.com/a.png",
    "http://%31%30.0.0.7/a.png",
    "http://user@10.0.0.7/a.png",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_browser_is_not_sent_to_addresses_of_a_private_network(address: str) -> None:
    made = card({"output": [address, URL], "url": "https://gateway.example/predictions/a"})
    assert [link["url"] for link in made["live"]] == [URL]
    assert made["private"] == 1


def test_a_gateway_in_a_private_network_shows_its_own_files() -> None:
    output = ["http://10.0.0.7:8080/out-0.png", "http://10.0.0.7:9200/a.png"]
    made = card({"output": output, "url": "http://10.0.0.7:8080/predictions/a"})
    assert [link["url"] for link in made["live"]] == output[:1]


@pytest.mark.parametrize("page", [None, 3, "http://[", ""])
def test_a_page_of_the_prediction_that_is_not_an_address_allows_none(page: Any) -> None:
    assert card({"output": PRIVATE, "url": page})["live"] == []


@pytest.mark.parametrize("output", [None, [], ""])
def test_an_output_that_the_api_had_removed_says_since_when_it_is_gone(output: Any) -> None:
    made = card({"output": output, "data_removed": True, "expires_at": ENDED})
    assert (made["expired"], made["stored"], made["live"]) == (ENDED, [], [])
    assert card({"output": output, "data_removed": True})["expired"] is True
    assert card({"output": output, "expires_at": ENDED})["expired"] is None


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (["a transcript"], "a transcript"),
        (["Seven", " waves"], "Seven waves"),
        ([{"label": "cat"}], '{\n  "label": "cat"\n}'),
        (["[left out of XCom: text of 40000 characters]"], "[left out of XCom: text of 40000 characters]"),
        (["x" * 10_001], "x" * 10_000),
        ([URL], None),
        ([URL, "a caption"], None),
        ([], None),
        (None, None),
        ([10**5000], None),
        (deeply_nested(100_000), None),
    ],
)
def test_an_output_that_is_a_text_or_json_is_shown(output: Any, text: str | None) -> None:
    assert card({"output": output})["text"] == text


def test_a_stored_text_is_shown_instead_of_a_note_of_its_size() -> None:
    file = {"path": "/x/0.txt", "size": 5, "sha256": "ab" * 32, "content_type": "text/plain"}
    note = "[left out of XCom: text of 40000 characters]"
    assert card({"output": [note]}, [file])["text"] is None
    assert card({"output": ["short"]}, [file])["text"] == "short"


@pytest.mark.parametrize(
    ("content_type", "size", "kind", "served"),
    [
        ("image/png", 9, "image", True),
        ("image/heic", 9, "file", True),
        ("image/svg+xml", 9, "file", True),
        ("text/vtt", 9, "text", True),
        ("text/vtt", 0, "text", False),
        ("application/json", 9, "text", True),
        ("video/x-matroska", 2**26 + 1, "file", False),
        ("application/octet-stream", 9, "file", True),
        ("", None, "file", False),
    ],
)
def test_a_stored_file_is_shown_by_its_type_or_offered_as_a_download(
    content_type: str, size: int | None, kind: str, served: bool
) -> None:
    (file,) = card({}, [{"path": "/x/0", "size": size, "content_type": content_type, "key": "vocals"}])[
        "stored"
    ]
    assert (file["kind"], file["served"], file["key"]) == (kind, served, "vocals")


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf"), 2**53])
def test_a_number_that_no_browser_shows_exactly_is_left_out(number: Any) -> None:
    file = {"path": "/x/0.png", "size": number, "sha256": "ab" * 32, "width": number, "height": 1}
    made = card({"metrics": {"predict_time": number}}, [file])
    (stored,) = made["stored"]
    assert (made["run"], stored["size"], stored["width"]) == (None, None, None)


def test_a_whole_input_is_python_that_makes_it_again() -> None:
    given = {"prompt": 'a "cat", ' * 20, "seed": 2**60, "guidance_scale": 7.0, "loras": [None, True]}
    assert literal_eval(card({}, rendered=given)["python"]) == given


@pytest.mark.parametrize("rendered", [None, {}, "Truncated. {'prompt': 'a", {"image": "x" * 10_001}])
def test_an_input_that_is_not_whole_or_too_long_is_no_python(rendered: Any) -> None:
    assert card({}, rendered=rendered)["python"] is None


def test_all_digits_of_a_long_seed_are_shown() -> None:
    assert card({"seed": 2**53 + 1})["seed"] == "9007199254740993"
    assert card({}, rendered="{'seed': 9007199254740993, 'prompt'")["seed"] == "9007199254740993"
    assert card({}, rendered=f"{{'seed': {'9' * 5000}, 'prompt'")["seed"] is None


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://h/a.webp", "image"),
        ("https://h/a", "image"),
        ("https://h/a.MP3#t", "audio"),
        ("https://h/a.b/c.glb?x=.png", "file"),
    ],
)
def test_the_kind_of_an_address_is_that_of_its_name(address: str, kind: str) -> None:
    assert card({"output": address})["live"] == [{"url": address, "kind": kind}]


def test_times_that_make_no_sense_are_left_out_or_nothing() -> None:
    made = card(
        {
            "created_at": "2026-05-04T11:30:00+00:00",
            "started_at": "2026-05-04T11:29:59+00:00",
            "completed_at": "tomorrow",
            "metrics": {"predict_time": -1.5},
        }
    )
    assert (made["queue"], made["run"], made["total"]) == (0.0, 0.0, None)


def test_a_manifest_of_odd_types_is_a_card_all_the_same() -> None:
    names = ("status", "error", "model", "version", "created_at", "metrics", "url", "seed", "output")
    made = card({name: ["odd"] for name in names})
    assert (made["error"], made["model"], made["seed"], made["run"]) == ("", "", None, None)


@pytest.mark.parametrize(
    ("version", "model"), [("owner/name:abc", "owner/name"), ("f" * 64, "f" * 12), (None, "")]
)
def test_without_a_model_the_version_names_it(version: str | None, model: str) -> None:
    assert card({"version": version})["model"] == model
