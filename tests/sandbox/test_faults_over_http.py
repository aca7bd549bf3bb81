from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from airflow_provider_quickrouter.sandbox.faults import FaultError, Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import Client

QUOTA = Faults(quota=True)


def is_html(answer: requests.Response) -> bool:
    return answer.headers["content-type"].startswith("text/html")


def test_a_status_is_answered_and_nothing_is_accepted(client: Client) -> None:
    answer = client.create(faults={"status": 502})
    assert (answer.status_code, is_html(answer)) == (502, True)
    assert client.sandbox.creates == 0


def test_a_create_can_be_accepted_behind_a_bad_status(client: Client) -> None:
    answer = client.create(faults={"accepted_status": 504})
    assert (answer.status_code, is_html(answer)) == (504, True)
    assert client.sandbox.creates == 1
    assert client.sandbox.requests[-1].prediction_id == client.sandbox.predictions[0]["id"]


def test_an_accepted_status_does_not_touch_a_get(client: Client) -> None:
    assert client.get(client.create_id(), {"accepted_status": 504}).status_code == 200


@pytest.mark.parametrize(("when", "creates"), [("before", 0), ("after", 1)])
def test_a_connection_is_dropped(client: Client, when: str, creates: int) -> None:
    with pytest.raises(requests.ConnectionError):
        client.create(faults={"drop": when})
    assert client.sandbox.creates == creates
    assert client.sandbox.requests[-1].status is None
    assert client.create().status_code == 201


def test_a_latency_comes_before_the_request_is_handled(client: Client) -> None:
    with pytest.raises(requests.ReadTimeout):
        client.create(faults={"latency": 0.4}, timeout=0.1)
    assert client.sandbox.creates == 0


def test_a_held_answer_comes_after_the_request_is_handled(client: Client) -> None:
    with pytest.raises(requests.ReadTimeout):
        client.create(faults={"hang": 0.4}, timeout=0.1)
    assert client.sandbox.creates == 1


def test_a_rate_limit_tells_the_wait_by_header(client: Client) -> None:
    answer = client.create(faults={"rate_limit": "header", "retry_after": 7})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_a_rate_limit_tells_the_wait_by_date(client: Client) -> None:
    answer = client.create(faults={"rate_limit": "date", "retry_after": 60})
    wait = parsedate_to_datetime(answer.headers["retry-after"]).timestamp() - time.time()
    assert answer.status_code == 429
    assert 55 < wait <= 61


def test_a_rate_limit_tells_the_wait_by_body(client: Client) -> None:
    answer = client.create(faults={"rate_limit": "body", "retry_after": 2.5})
    assert (answer.status_code, answer.json()["retry_after"]) == (429, 2.5)
    assert "retry-after" not in answer.headers


def test_a_rate_limit_tells_the_wait_by_text(client: Client) -> None:
    answer = client.create(faults={"rate_limit": "text", "retry_after": 30})
    assert "resets in ~30s" in answer.json()["detail"]
    assert "retry-after" not in answer.headers


def test_a_bare_rate_limit_tells_no_wait(client: Client) -> None:
    answer = client.create(faults={"rate_limit": "bare"})
    assert answer.status_code == 429
    assert answer.json()["error"]["message"].startswith("Current group upstream load is saturated")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("quota", 403, "insufficient_user_quota"), ("no_channel", 503, "model_not_found")],
)
def test_the_gateway_refuses_with_a_code(client: Client, fault: str, status: int, code: str) -> None:
    answer = client.create(faults={fault: True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert client.sandbox.creates == 0


def test_an_error_comes_dressed_as_a_success(client: Client) -> None:
    answer = client.create(faults={"dressed": True})
    assert (answer.status_code, answer.json()["success"]) == (200, False)


def test_a_good_answer_has_a_broken_body(client: Client) -> None:
    prediction_id = client.create_id()
    assert is_html(client.get(prediction_id, {"body": "html"}))
    assert client.get(prediction_id, {"body": "empty"}).content == b""
    cut = client.get(prediction_id, {"body": "cut"})
    assert (cut.status_code, cut.text[0]) == (200, "{")
    with pytest.raises(requests.JSONDecodeError):
        cut.json()


def test_a_good_answer_is_sparse_as_the_gateway_s_own_page_shows_it(client: Client) -> None:
    assert set(client.create(faults={"body": "sparse"}).json()) == {"id", "status", "output"}


def test_a_create_is_accepted_with_another_good_status(client: Client) -> None:
    answer = client.create(faults={"accepted_status": 202})
    assert (answer.status_code, answer.json()["status"]) == (202, "starting")


def test_a_slow_prediction_is_slow_to_show_itself_too(client: Client) -> None:
    prediction_id = client.create_id(latency=0.5)
    with pytest.raises(requests.ReadTimeout):
        client.send("GET", f"/replicate/v1/predictions/{prediction_id}", timeout=0.1)


def test_a_redirect_leads_where_it_is_told_to(client: Client) -> None:
    answer = client.get("any", {"redirect": "http://127.0.0.1:9/elsewhere"})
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize("status", [404, 405, 501])
def test_the_cancel_route_may_not_exist(client: Client, status: int) -> None:
    prediction_id = client.create_id(no_cancel=status, never=True)
    answer = client.send("POST", f"/replicate/v1/predictions/{prediction_id}/cancel")
    assert answer.status_code == status
    assert client.get(prediction_id).json()["status"] == "processing"


def test_a_prediction_fails_with_the_text_it_was_told(client: Client) -> None:
    body = client.wait(client.create_id(fail="NSFW content detected"))
    assert (body["status"], body["error"]) == ("failed", "NSFW content detected")
    assert body["output"] is None


@pytest.mark.parametrize(
    "output", [None, [], [None], "", "text", ["a", ["b"]], {"image": "u"}, "data:image/png;base64,AA=="]
)
def test_an_output_is_any_json(client: Client, output: Any) -> None:
    body = client.wait(client.create_id(output=output))
    assert (body["status"], body["output"]) == ("succeeded", output)
    assert client.send("GET", f"/files/{body['id']}/out-0.png").status_code == 404


def test_states_have_other_words(client: Client) -> None:
    words = {"starting": "QUEUED", "processing": "IN_PROGRESS", "succeeded": "SUCCESS"}
    prediction_id = client.create_id(status_word=words)
    assert client.sandbox.requests[-1].status == 201
    assert client.wait(prediction_id)["status"] == "SUCCESS"
    assert client.wait(client.create_id(status_word="completed"))["status"] == "completed"


def test_a_prediction_is_not_found_at_first(client: Client) -> None:
    prediction_id = client.create_id(not_found_for=0.3)
    assert client.get(prediction_id).status_code == 404
    time.sleep(0.3)
    assert client.get(prediction_id).status_code == 200


def test_urls_name_the_host_they_are_told_to(client: Client) -> None:
    prediction_id = client.create_id(evil_urls="evil.example")
    get = client.get(prediction_id).json()["urls"]["get"]
    assert get == f"https://evil.example/v1/predictions/{prediction_id}"
    urls = client.get(prediction_id, {"evil_urls": "http://127.0.0.1:9/"}).json()["urls"]
    assert urls["cancel"] == f"http://127.0.0.1:9/v1/predictions/{prediction_id}/cancel"


def test_data_and_files_expire(client: Client) -> None:
    body = client.wait(client.create_id(expire_after=0.2))
    assert body["data_removed"] is False
    assert client.session.get(body["output"][0], timeout=10).status_code == 200
    time.sleep(0.25)
    later = client.get(body["id"]).json()
    assert (later["data_removed"], later["output"]) == (True, None)
    assert client.session.get(body["output"][0], timeout=10).status_code == 404


def test_the_faults_of_one_prediction_do_not_touch_another(client: Client) -> None:
    failing, good = client.create_id(fail="E1001"), client.create_id()
    assert client.wait(failing)["status"] == "failed"
    assert client.wait(good)["status"] == "succeeded"


def test_the_header_of_one_request_does_not_touch_the_next(client: Client) -> None:
    prediction_id = client.create_id()
    assert client.get(prediction_id, {"status": 500}).status_code == 500
    assert client.get(prediction_id).status_code == 200


def test_faults_are_scheduled_over_http(client: Client) -> None:
    prediction_id = client.create_id()
    entry = {"faults": {"status": 503}, "times": 2, "method": "GET"}
    assert client.send("POST", "/sandbox/faults", entry).status_code == 204
    assert [client.get(prediction_id).status_code for _ in range(3)] == [503, 503, 200]


def test_scheduled_faults_are_cleared_over_http(client: Client) -> None:
    client.sandbox.set_faults(QUOTA)
    assert client.create().status_code == 403
    assert client.send("DELETE", "/sandbox/faults").status_code == 204
    assert client.create().status_code == 201


def test_faults_are_scheduled_in_process(client: Client) -> None:
    client.sandbox.set_faults(QUOTA, times=1, method="POST", seconds=60)
    assert [client.create().status_code for _ in range(2)] == [403, 201]
    client.sandbox.set_faults(QUOTA)
    client.sandbox.set_faults(None)
    assert client.create().status_code == 201


def test_a_schedule_that_cannot_be_is_refused_in_process(client: Client) -> None:
    with pytest.raises(FaultError, match="'method' must be GET, POST"):
        client.sandbox.set_faults(QUOTA, method="get")
    with pytest.raises(FaultError, match="'times' must be an integer"):
        client.sandbox.set_faults(QUOTA, times=0)


def test_a_lasting_fault_of_a_scheduled_create_stays_with_its_prediction(client: Client) -> None:
    entry = {"faults": {"fail": "E6716"}, "times": 1, "method": "POST"}
    client.send("POST", "/sandbox/faults", entry)
    first, second = client.create_id(), client.create_id()
    assert (client.wait(first)["status"], client.wait(second)["status"]) == ("failed", "succeeded")


def test_a_sandbox_has_faults_all_the_time() -> None:
    with Sandbox(faults=QUOTA) as sandbox, requests.Session() as session:
        client = Client(sandbox, session)
        assert [client.create().status_code for _ in range(2)] == [403, 403]
        sandbox.clear()
        assert client.create().status_code == 403


def test_a_wrong_fault_is_a_bad_request_that_names_it(client: Client) -> None:
    answers = [
        client.create({"sandbox": {"fial": "x"}}),
        client.create(faults={"fial": "x"}),
        client.create(headers={"X-Sandbox-Faults": "{not json"}),
        client.create(headers={"X-Sandbox-Faults": '{"latency": NaN}'}),
        client.send("POST", "/sandbox/faults", {"faults": {"fial": "x"}}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 5
    assert "unknown fault 'fial'; choose from: latency" in answers[0].json()["error"]["message"]
    assert client.sandbox.creates == 0
