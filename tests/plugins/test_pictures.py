"""What the page of a run says of its predictions."""

from __future__ import annotations

from typing import Any

from dev.gallery_runs import prompt
from tests.plugins.conftest import Ask
from tests.plugins.files_run import RUN


def cards(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    return list(answer.json()["cards"])


def test_the_tasks_of_a_prediction_share_one_card_in_their_order(pictures: Ask) -> None:
    shown = cards(pictures("motley"))
    assert [card["map_index"] for card in shown] == [*range(10), 11]
    assert len({card["id"] for card in shown}) == 11
    first = shown[0]
    assert (first["task_id"], first["label"], first["state"]) == ("submit", "study 1", "succeeded")
    assert (first["prompt"], first["seed"]) == (prompt(0), 1000)
    assert (first["queue"], first["run"], first["total"]) == (0.4, 3.2, 3.6)
    assert first["inputs"] == {"width": "1024", "height": "1024"}
    (file,) = first["stored"]
    assert (file["task_id"], file["map_index"], file["n"], file["kind"]) == ("wait", 0, 0, "image")


def test_a_prediction_may_have_many_pictures(pictures: Ask) -> None:
    assert [len(card["stored"]) for card in cards(pictures("motley"))][2] == 4


def test_a_failed_prediction_says_why(pictures: Ask) -> None:
    (card,) = cards(pictures("motley", state="failed"))
    assert card["error"] == "NSFW content detected"
    assert card["stored"] == card["live"] == []


def test_an_output_that_is_gone_says_since_when(pictures: Ask) -> None:
    card = cards(pictures("motley"))[9]
    assert card["expired"]
    assert card["live"] == []


def test_every_state_is_told_and_counted(pictures: Ask) -> None:
    answer = pictures("states").json()
    states = ["succeeded", "running", "running", "failed", "canceled", "canceled", "lost"]
    assert [card["state"] for card in answer["cards"]] == states
    assert answer["cards"][-1]["task_state"] == "failed"
    assert answer["counts"] == {
        "succeeded": 1, "running": 2, "failed": 1, "canceled": 2, "lost": 1
    }  # fmt: skip
    assert (answer["all"], answer["over"], answer["coming"]) == (7, 5, 1)
    assert answer["live"]


def test_tasks_that_failed_before_a_prediction_are_named(pictures: Ask) -> None:
    answer = pictures("states").json()
    assert (answer["failed_tasks"], answer["failed_named"]) == (1, [["submit", 7]])


def test_a_run_that_is_over_is_not_asked_about_again(pictures: Ask) -> None:
    assert not pictures("motley").json()["live"]


def test_a_task_instance_shows_its_own_prediction_with_what_others_know_of_it(pictures: Ask) -> None:
    for task_id in ("submit", "wait"):
        (card,) = cards(pictures("motley", task_id=task_id, map_index=2))
        assert card["map_index"] == 2
        assert card["state"] == "succeeded"
        assert len(card["stored"]) == 4
    assert cards(pictures("motley", task_id="wait")) == []


def test_pages_are_cut_in_order(pictures: Ask) -> None:
    answer = pictures("motley", offset=4, limit=3)
    assert [card["map_index"] for card in cards(answer)] == [4, 5, 6]
    assert answer.json()["total"] == 11
    assert cards(pictures("motley", offset=400)) == []


def test_the_search_is_for_prompts_in_any_case(pictures: Ask) -> None:
    found = pictures("motley", q="LIGHTHOUSE")
    assert [card["map_index"] for card in cards(found)] == [0, 8]
    assert found.json()["counts"] == {"succeeded": 1, "failed": 1}
    assert cards(pictures("motley", q="%")) == []


def test_what_other_tasks_leave_under_these_keys_is_no_card(pictures: Ask) -> None:
    shown = cards(pictures(RUN))
    assert [(card["task_id"], card["map_index"]) for card in shown] == [("wait", 0), ("wait", 5)]


def test_files_that_were_stored_without_a_prediction_are_a_card(pictures: Ask) -> None:
    card = cards(pictures(RUN))[1]
    assert (card["id"], card["state"], card["model"]) == (None, "succeeded", "")
    assert len(card["stored"]) == 1


def test_a_run_without_predictions_has_no_cards(pictures: Ask) -> None:
    answer = pictures("empty").json()
    assert (answer["all"], answer["cards"], answer["live"]) == (0, [], False)


def test_an_unknown_run_or_dag_is_404(pictures: Ask) -> None:
    assert pictures("none").status_code == 404
    assert pictures("motley", dag_id="none").status_code == 404


def test_the_page_may_load_nothing_but_its_own(ask: Ask) -> None:
    answer = ask("gallery", user=None)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    for name in ("js/main.js", "css/base.css"):
        address = answer.text.split(f'/{name}"')[0].rpartition('"')[2]
        kept = ask(f"{address}/{name}", user=None)
        assert kept.status_code == 200
        assert "immutable" in kept.headers["cache-control"]


def test_with_an_xcom_backend_there_are_pictures_or_a_reason_why_not(pictures: Ask) -> None:
    answer = pictures("elsewhere", task_id="wait", map_index=1)
    assert answer.status_code == 200
    assert answer.json()["cards"] or "backend" in answer.text.casefold()


def test_tasks_whose_xcoms_cannot_be_read_are_counted_and_have_not_failed_to_create(pictures: Ask) -> None:
    answer = pictures("elsewhere").json()
    assert [card["map_index"] for card in answer["cards"]] == [0, 4]
    assert answer["unreadable"]["tasks"] == 4
    assert answer["failed_tasks"] == 0
    assert pictures("motley").json()["unreadable"] is None


def test_what_a_task_left_that_ended_in_the_triggerer_is_read_too(pictures: Ask) -> None:
    shown = cards(pictures("as_text"))
    assert [(card["map_index"], card["state"]) for card in shown] == [(0, "succeeded"), (7, "succeeded")]
    assert shown[0]["prompt"] == "a very long on"
