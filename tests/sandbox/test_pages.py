from __future__ import annotations

import pytest

from .client import PROMPT, Client

SCRIPT = "<script>alert('x')</script>"
NO_KEY: dict[str, str | None] = {"Authorization": None, "User-Agent": None}


def page(client: Client, path: str) -> str:
    answer = client.send("GET", path, headers=NO_KEY)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return answer.text


def test_an_empty_sandbox_says_what_to_do(client: Client) -> None:
    assert "POST to /replicate/v1/predictions" in page(client, "/")


def test_the_index_shows_thumbnails_newest_first(client: Client) -> None:
    ids = [client.create_id() for _ in range(2)]
    for prediction_id in ids:
        client.wait(prediction_id)
    text = page(client, "/")
    assert text.index(f"/files/{ids[1]}/out-0.png") < text.index(f"/files/{ids[0]}/out-0.png")
    assert PROMPT in text
    assert 'http-equiv="refresh"' not in text


def test_a_page_loads_itself_again_while_something_runs(client: Client) -> None:
    prediction_id = client.create_id(never=True)
    for path in ("/", f"/predictions/{prediction_id}"):
        assert 'http-equiv="refresh"' in page(client, path)


def test_a_page_shows_a_prediction_with_pictures_timings_and_logs(client: Client) -> None:
    body = client.wait(client.create({"num_outputs": 2}).json()["id"])
    text = page(client, f"/predictions/{body['id']}")
    for part in (PROMPT, "out-0.png", "out-1.png", "Using seed", "50/50", body["completed_at"]):
        assert part in text


def test_a_page_shows_the_error(client: Client) -> None:
    prediction_id = client.create_id(fail="NSFW content detected")
    client.wait(prediction_id)
    assert "NSFW content detected" in page(client, f"/predictions/{prediction_id}")


@pytest.mark.parametrize("where", ["prompt", "fail"])
def test_text_from_outside_is_escaped(client: Client, where: str) -> None:
    given = {"prompt": SCRIPT} if where == "prompt" else {"sandbox": {"fail": SCRIPT}}
    prediction_id = client.create(given).json()["id"]
    client.wait(prediction_id)
    for path in ("/", f"/predictions/{prediction_id}"):
        assert "<script" not in page(client, path)


def test_a_prompt_with_a_dollar_sign_is_only_text(client: Client) -> None:
    client.create({"prompt": "cost: $5 ${id} $$"})
    assert "cost: $5 ${id} $$" in page(client, "/")


def test_an_unknown_prediction_has_a_page_that_says_why_and_leads_back(client: Client) -> None:
    answer = client.send("GET", "/predictions/nothing", headers=NO_KEY)
    assert answer.status_code == 404
    assert "deletes all predictions when it ends" in answer.text
    assert 'href="/"' in answer.text


def test_a_failed_prediction_shows_its_reason_and_its_input(client: Client) -> None:
    prediction_id = client.create_id(fail="no memory")
    client.wait(prediction_id)
    assert "failed: no memory" in page(client, "/")
    text = page(client, f"/predictions/{prediction_id}")
    assert "failed: no memory" in text
    assert "&quot;fail&quot;: &quot;no memory&quot;" in text


def test_a_browsers_question_for_an_icon_is_not_in_the_journal(client: Client) -> None:
    assert client.send("GET", "/favicon.ico", headers=NO_KEY).status_code == 204
    assert client.sandbox.requests == []
