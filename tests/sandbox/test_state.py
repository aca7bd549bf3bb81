from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sandbox.store import StateError

from .client import KEY, PROMPT, Client
from .process import started

CREATE = "/replicate/v1/models/a/b/predictions"
SLOW = {"processing": 60}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.jsonl"


@contextmanager
def running(state: Path, **settings: Any) -> Iterator[Client]:
    with Sandbox(state=state, **settings) as sandbox, requests.Session() as session:
        yield Client(sandbox, session)


@contextmanager
def killed_at_the_end(state: Path, *options: str) -> Iterator[str]:
    with started("--state", str(state), *options) as (process, url):
        yield url
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def create(url: str, prompt: str, **own_faults: Any) -> dict[str, Any]:
    body = {"input": {"prompt": prompt, "sandbox": own_faults}}
    answer = requests.post(url + CREATE, json=body, headers=KEY, timeout=10)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def create_until_it_dies(url: str, seen: list[str], who: int) -> None:
    for number in count():
        try:
            seen.append(create(url, f"{who}/{number}")["id"])
        except requests.RequestException:
            return


def get(url: str, path: str) -> Any:
    return requests.get(url + path, headers=KEY, timeout=10).json()


def cancel(url: str, prediction_id: str) -> None:
    path = f"/replicate/v1/predictions/{prediction_id}/cancel"
    assert requests.post(url + path, headers=KEY, timeout=10).status_code == 200


def test_what_was_accepted_outlives_a_kill(state: Path) -> None:
    with killed_at_the_end(state, "--starting", "0") as url:
        running = create(url, "runs", **SLOW)
        failing = create(url, "fails", fail="NSFW content detected", processing=0)
        create(url, "is cancelled", **SLOW)
        cancel(url, get(url, "/sandbox/predictions")[2]["id"])
        before = get(url, "/sandbox/predictions")
    with killed_at_the_end(state, "--starting", "9", "--processing", "99") as url:
        after = get(url, "/sandbox/predictions")
        assert get(url, f"/replicate/v1/predictions/{running['id']}")["status"] == "processing"
    lasting = ("id", "status", "input", "created_at", "completed_at", "error", "output", "cancels")
    assert [[body[name] for name in lasting] for body in after] == [
        [body[name] for name in lasting] for body in before
    ]
    assert [body["id"] for body in after][:2] == [running["id"], failing["id"]]
    assert [body["status"] for body in after] == ["processing", "failed", "canceled"]


def test_counting_goes_on_after_a_kill(state: Path) -> None:
    with killed_at_the_end(state) as url:
        create(url, "one")
    with killed_at_the_end(state) as url:
        create(url, "two")
        assert get(url, "/sandbox/requests")["creates"] == 2
        assert len(get(url, "/sandbox/requests")["requests"]) == 1
        told = get(url, "/sandbox/counts")
    counted = {"starts": 2, "creates": 2, "requests": {"create": 2}, "peak_per_minute": 0, "cost": 0.0}
    assert told == counted


def test_no_answered_create_is_lost_by_a_kill_in_the_midst_of_them(state: Path) -> None:
    seen: list[str] = []
    with ThreadPoolExecutor(8) as clients, killed_at_the_end(state) as url:
        for who in range(8):
            clients.submit(create_until_it_dies, url, seen, who)
        while len(seen) < 100:
            get(url, "/sandbox/counts")
    with killed_at_the_end(state) as url:
        known = [body["id"] for body in get(url, "/sandbox/predictions")]
        assert get(url, "/sandbox/counts")["creates"] == len(known)
    assert set(seen) <= set(known)
    assert len(known) == len(set(known))


def test_it_comes_back_on_its_old_port(state: Path) -> None:
    with killed_at_the_end(state) as url:
        port = url.rpartition(":")[2]
        create(url, PROMPT)
    with killed_at_the_end(state, "--port", port) as again:
        assert again == url
        assert len(get(url, "/sandbox/predictions")) == 1


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_does_not_hinder_the_start(state: Path, cut: int) -> None:
    with running(state) as client:
        client.create()
    whole = state.read_bytes()
    state.write_bytes(whole + b'{"event": "create", "record": {"id": "aaaaaaaaaa'[:cut])
    with running(state) as client:
        client.create()
        assert client.sandbox.creates == 2
    with running(state) as client:
        assert client.sandbox.creates == 2


def test_a_line_that_is_no_event_is_an_error_that_names_file_and_line(state: Path) -> None:
    state.write_text('{"event": "start"}\n{"event": "create"}\n')
    sandbox = Sandbox(state=state)
    wording = re.escape(f"{state} is not a state file: line 2: KeyError('record')")
    with pytest.raises(StateError, match=wording), sandbox:
        pass


def test_a_prediction_keeps_every_fault_and_every_deadline(state: Path) -> None:
    own = {"output": None, "status_word": {"succeeded": "DONE"}, "expire_after": 0.0, "latency": 0}
    given = {"sandbox": own, "text": "line\nbreak ☃ \x7f", "seed": 5}
    with running(state, starting=0.0, processing=0.0) as client:
        client.create(given, headers={"Cancel-After": "1h"})
        (before,) = client.sandbox.predictions
    with running(state, starting=50.0) as client:
        assert client.sandbox.predictions == [before]
    assert before["status"] == "DONE"
    assert before["input"] == {"prompt": PROMPT, **given}


def test_the_ledger_tells_how_many_cancels_came_and_whether_one_took_effect(state: Path) -> None:
    with running(state, processing=0.0) as client:
        over, stopped, left = client.create_id(), client.create_id(**SLOW), client.create_id()
        client.wait(over)
        for prediction_id in (over, stopped, stopped):
            cancel(client.sandbox.url, prediction_id)
    with running(state) as client:
        told = client.send("GET", "/sandbox/predictions").json()
    assert [(p["id"], p["status"], p["canceled"], p["cancels"]) for p in told] == [
        (over, "succeeded", False, 1),
        (stopped, "canceled", True, 2),
        (left, "succeeded", False, 0),
    ]


def test_a_cancel_that_is_refused_is_not_counted(client: Client) -> None:
    prediction_id = client.create_id(no_cancel=405)
    client.send("POST", f"/replicate/v1/predictions/{prediction_id}/cancel")
    assert client.sandbox.predictions[0]["cancels"] == 0


def test_every_request_to_cancel_is_listed_with_its_id_also_after_a_restart(state: Path) -> None:
    path = "/replicate/v1/predictions/{}/cancel"
    with running(state) as client:
        done, refused = client.create_id(), client.create_id(no_cancel=405)
        for prediction_id in (done, refused, "unknown"):
            client.send("POST", path.format(prediction_id))
        client.send("POST", path.format(done), faults={"status": 502})
        with pytest.raises(requests.ConnectionError):
            client.send("POST", path.format(done), faults={"drop": "before"})
        client.get(done)
        requests_seen = client.sandbox.cancel_requests
    with running(state) as client:
        again = client.send("GET", "/sandbox/cancels").json()
        assert again == requests_seen
        assert [request["id"] for request in requests_seen] == [done, refused, "unknown", done, done]
        instants = [request["at"] for request in requests_seen]
        assert instants == sorted(instants)
        client.send("DELETE", "/sandbox/requests")
        assert client.sandbox.cancel_requests == []
    with running(state) as client:
        assert client.sandbox.cancel_requests == []


def test_the_ledger_keeps_the_input_that_the_api_deletes(client: Client) -> None:
    prediction_id = client.create_id(expire_after=0)
    assert client.wait(prediction_id)["input"] == {}
    (told,) = client.send("GET", "/sandbox/predictions").json()
    assert (told["data_removed"], told["input"]["prompt"]) == (True, PROMPT)


def test_an_end_in_order_keeps_the_count_of_every_request(state: Path) -> None:
    with running(state) as client:
        prediction_id = client.create_id()
        for _ in range(5):
            client.get(prediction_id)
        client.create(faults={"status": 500})
        client.send("GET", "/v1/models")
        by_kind = {"create": 2, "get": 5, "other": 1}
        counted = {"starts": 1, "creates": 1, "requests": by_kind, "peak_per_minute": 6, "cost": 0.0}
        assert client.sandbox.counts == client.send("GET", "/sandbox/counts").json() == counted
    with running(state) as client:
        assert client.sandbox.counts == {**counted, "starts": 2}


def test_a_file_from_before_there_was_a_peak_is_read(state: Path) -> None:
    state.write_text('{"event": "counts", "requests": {"get": 3}}\n')
    with running(state) as client:
        assert client.sandbox.counts["requests"] == {"get": 3}
        assert client.sandbox.peak_per_minute == 0


def test_clearing_clears_the_file_too(state: Path) -> None:
    with running(state) as client:
        client.create()
        client.sandbox.clear()
        assert [json.loads(line) for line in state.read_text().splitlines()] == [{"event": "start"}]
        client.create()
    with running(state) as client:
        assert (client.sandbox.creates, len(client.sandbox.predictions)) == (1, 1)


def test_clearing_the_list_of_requests_holds_for_the_next_start(state: Path) -> None:
    with running(state) as client:
        client.create()
        client.send("DELETE", "/sandbox/requests")
    with running(state) as client:
        assert (client.sandbox.creates, len(client.sandbox.predictions)) == (0, 1)


def test_the_same_sandbox_may_be_started_again_with_its_file(state: Path) -> None:
    sandbox = Sandbox(state=state)
    for accepted in (1, 2):
        with sandbox, requests.Session() as session:
            Client(sandbox, session).create()
        assert (sandbox.creates, len(sandbox.predictions)) == (accepted, accepted)


def test_what_cannot_be_written_is_not_accepted(state: Path) -> None:
    with running(state) as client:
        state.unlink()
        state.mkdir()
        assert client.create().status_code == 500
        assert (client.sandbox.creates, client.sandbox.predictions) == (0, [])
