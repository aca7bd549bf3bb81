from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.chaos import of_prediction, of_request
from airflow_provider_quickrouter.sandbox.faults import NONE, Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import KEY, Client
from .process import started

SEED = 7
PROMPTS = [f"prompt {number}" for number in range(20_000)]
KINDS = ("create", "get", "cancel")
CALM = {"latency": 0}
"""A fault that asks for nothing, and so for no chaos."""

Outcome = tuple[Any, ...]


def first(kind: str, **faults: Any) -> str:
    """Return a prompt of which only the first request of a kind goes wrong, and in this way."""
    return next(
        prompt
        for prompt in PROMPTS
        if of_request(SEED, 1, kind, prompt, 0).given() == faults
        and all(calm(other, prompt) for other in KINDS if other != kind)
        and of_prediction(SEED, prompt, 0) == NONE
    )


def failing() -> tuple[str, str]:
    """Return a prompt of which only the first prediction goes wrong, by failing; and its error."""
    for prompt in PROMPTS:
        fate, again = of_prediction(SEED, prompt, 0), of_prediction(SEED, prompt, 1)
        only_fails = fate.fail is not None and set(fate.given()) == {"fail"}
        if only_fails and again == NONE and all(calm(kind, prompt) for kind in KINDS):
            return prompt, str(fate.fail)
    raise AssertionError


def calm(kind: str, prompt: str, start: int = 1) -> bool:
    return of_request(SEED, start, kind, prompt, 0) == NONE


@pytest.fixture
def chaotic() -> Iterator[Client]:
    with Sandbox(chaos=SEED, processing=0.0) as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


def outcome(client: Client, prompt: str) -> Outcome:
    """Create and read until both have succeeded; return everything that came of it."""
    seen: list[str] = []
    prediction_id = tried(seen, lambda: client.create({"prompt": prompt}))["id"]
    body = tried(seen, lambda: client.get(prediction_id))
    return (*seen, body["error"])


def tried(seen: list[str], send: Any) -> dict[str, Any]:
    while True:
        try:
            answer = send()
            seen.append(str(answer.status_code))
            if answer.ok:
                return dict(answer.json())
        except requests.RequestException as error:
            seen.append(type(error).__name__)


def outcomes(prompts: list[str]) -> dict[str, Outcome]:
    with Sandbox(chaos=3, processing=0.0) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        return {prompt: outcome(client, prompt) for prompt in prompts}


def depends_on_time(prompt: str) -> bool:
    """Return whether one of a prompt's first predictions has odd or held responses for a time."""
    fates = [of_prediction(3, prompt, nth) for nth in range(5)]
    return any(fate.odd_gets is not None or fate.hung_gets is not None for fate in fates)


def test_two_sandboxes_with_a_seed_do_the_same_in_another_order() -> None:
    prompts = [prompt for prompt in PROMPTS[:200] if not depends_on_time(prompt)]
    there, back = outcomes(prompts), outcomes(prompts[::-1])
    assert there == back
    assert len({words for words in there.values() if len(words) > 3}) > 3


def test_a_request_meets_the_fault_that_is_planned_for_it(chaotic: Client) -> None:
    prompt = first("create", status=503)
    assert chaotic.create({"prompt": prompt}).status_code == 503
    assert chaotic.sandbox.creates == 0
    prompt = first("create", accepted_status=504)
    assert chaotic.create({"prompt": prompt}).status_code == 504
    assert chaotic.sandbox.creates == 1


def test_a_status_request_and_a_cancel_are_planned_by_the_prompt(chaotic: Client) -> None:
    prompt = first("get", rate_limit="header", retry_after=1.0)
    prediction_id = chaotic.create({"prompt": prompt}).json()["id"]
    assert chaotic.get(prediction_id).status_code == 429
    prompt = first("cancel", status=502)
    prediction_id = chaotic.create({"prompt": prompt}).json()["id"]
    path = f"/v1/predictions/{prediction_id}/cancel"
    assert chaotic.send("POST", path).status_code == 502
    assert chaotic.sandbox.predictions[-1]["cancels"] == 0


def test_a_prediction_meets_its_fate_and_the_next_one_of_its_prompt_another(chaotic: Client) -> None:
    prompt, error = failing()
    for _ in range(2):
        chaotic.create({"prompt": prompt}, faults=CALM)
    last = chaotic.sandbox.predictions[-1]["id"]
    assert chaotic.send("GET", f"/v1/predictions/{last}", faults=CALM).ok
    told = [body["error"] for body in ended(chaotic)]
    assert told == [error, None]


def odd(response: str) -> str:
    """Return a prompt whose first prediction goes wrong only so: its first GETs are odd."""
    for prompt in PROMPTS:
        fate = of_prediction(SEED, prompt, 0)
        episode = fate.odd_gets or {}
        early = episode.get("response") == response and "after" not in episode
        if early and set(fate.given()) == {"odd_gets"} and all(calm(k, prompt) for k in KINDS):
            return prompt
    raise AssertionError


def test_the_gets_of_a_prediction_meet_the_episode_that_is_planned_for_it(chaotic: Client) -> None:
    prediction_id = chaotic.create({"prompt": odd("not_found_text")}).json()["id"]
    response = chaotic.get(prediction_id)
    assert (response.status_code, response.text) == (404, "404 page not found\n")


def test_an_episode_leaves_cancels_and_the_list_of_predictions_alone(chaotic: Client) -> None:
    prediction_id = chaotic.create({"prompt": odd("challenge_page")}).json()["id"]
    assert chaotic.get(prediction_id).status_code == 403
    assert chaotic.send("GET", "/v1/predictions").json()["results"][0]["id"] == prediction_id
    assert chaotic.send("POST", f"/v1/predictions/{prediction_id}/cancel").status_code == 200


def ended(client: Client) -> list[dict[str, Any]]:
    while any(body["completed_at"] is None for body in client.sandbox.predictions):
        client.send("GET", "/v1/models")
    return client.sandbox.predictions


def test_a_refused_create_does_not_use_up_a_fate(chaotic: Client) -> None:
    prompt, error = failing()
    chaotic.create({"prompt": prompt, "width": 1}, faults=CALM)
    chaotic.create({"prompt": prompt}, faults={"status": 500})
    chaotic.create({"prompt": prompt}, faults=CALM)
    assert [body["error"] for body in ended(chaotic)] == [error]


@pytest.mark.parametrize("way", ["header", "schedule", "input"])
def test_faults_of_an_answer_that_are_asked_for_win(chaotic: Client, way: str) -> None:
    prompt = first("create", drop="before")
    asked: dict[str, Any] = {"prompt": prompt}
    if way == "schedule":
        entry = {"faults": {"quota": True}, "times": 1}
        chaotic.send("POST", "/sandbox/faults", entry)
    if way == "input":
        asked["sandbox"] = {"quota": True}
    header = {"quota": True} if way == "header" else None
    assert chaotic.create(asked, faults=header).status_code == 403


@pytest.mark.parametrize("way", ["header", "schedule", "input"])
def test_faults_of_a_prediction_that_are_asked_for_win(chaotic: Client, way: str) -> None:
    prompt, _ = failing()
    asked: dict[str, Any] = {"prompt": prompt}
    if way == "schedule":
        entry = {"faults": {"output": "mine"}, "times": 1}
        chaotic.send("POST", "/sandbox/faults", entry)
    if way == "input":
        asked["sandbox"] = {"output": "mine"}
    chaotic.create(asked, faults={"output": "mine"} if way == "header" else None)
    assert [(body["error"], body["output"]) for body in ended(chaotic)] == [(None, "mine")]


def test_faults_of_a_prediction_leave_those_of_its_requests(chaotic: Client) -> None:
    prompt = first("create", status=503)
    assert chaotic.create({"prompt": prompt, "sandbox": {"never": True}}).status_code == 503


def test_faults_that_hold_all_the_time_lie_under_chaos() -> None:
    prompt = first("create", status=503)
    doomed, error = failing()
    always = Faults(latency=0.01, processing=0.0)
    with Sandbox(chaos=SEED, faults=always) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        assert client.create({"prompt": prompt}).status_code == 503
        client.create({"prompt": doomed})
        assert [body["error"] for body in ended(client)] == [error]


def test_calls_that_are_about_no_prediction_have_no_chaos(chaotic: Client) -> None:
    prediction_id = chaotic.create({"prompt": first("get", body="html")}).json()["id"]
    free = ("/v1/models", "/api/usage/token/", "/v1/predictions", "/", "/sandbox/counts")
    people = (f"/predictions/{prediction_id}", "/sandbox/predictions", "/sandbox/requests")
    statuses = {chaotic.send("GET", path).status_code for path in (*free, *people) * 20}
    assert statuses == {200}
    unknown = {chaotic.get("unknown").status_code for _ in range(50)}
    nothing = {chaotic.send("POST", "/v1/predictions").status_code for _ in range(50)}
    assert (unknown, nothing) == ({404}, {400})


def test_clearing_begins_the_plan_again(chaotic: Client) -> None:
    prompt = first("create", status=503)
    assert chaotic.create({"prompt": prompt}).status_code == 503
    chaotic.sandbox.clear()
    assert chaotic.create({"prompt": prompt}).status_code == 503


def stuck() -> str:
    """Return a prompt whose first status request is refused in the first start only."""
    return next(
        prompt
        for prompt in PROMPTS
        if of_request(SEED, 1, "get", prompt, 0).status is not None
        and calm("create", prompt)
        and calm("get", prompt, start=2)
    )


def test_a_sandbox_that_was_killed_does_not_repeat_its_faults(tmp_path: Path) -> None:
    prompt, options = stuck(), ("--chaos", str(SEED), "--state", str(tmp_path / "state"))
    with started(*options) as (process, url):
        body = {"version": "a/b", "input": {"prompt": prompt}}
        created = requests.post(f"{url}/v1/predictions", json=body, headers=KEY, timeout=5)
        path = f"/v1/predictions/{created.json()['id']}"
        assert requests.get(url + path, headers=KEY, timeout=5).status_code >= 500
        process.kill()
        process.wait(10)
    with started(*options) as (_, url):
        assert requests.get(url + path, headers=KEY, timeout=5).status_code == 200


def test_the_fates_of_predictions_go_on_after_a_restart(tmp_path: Path) -> None:
    prompt, error = failing()
    for _ in range(2):
        sandbox = Sandbox(chaos=SEED, processing=0.0, state=tmp_path / "state")
        with sandbox, requests.Session() as session:
            client = Client(sandbox, session)
            client.create({"prompt": prompt}, faults=CALM)
            told = [body["error"] for body in ended(client)]
    assert told == [error, None]
