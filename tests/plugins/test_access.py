"""Who may see pictures: over real HTTP, with the users of a running API server."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from dev.gallery_runs import DAG_ID
from dev.gallery_server import GalleryServer
from tests.plugins.conftest import Ask
from tests.plugins.denying import SECRET_DAG

BOTH: list[tuple[str, dict[str, Any]]] = [
    ("pictures", {"run_id": "secret"}),
    ("file", {"run_id": "secret", "task_id": "submit", "n": 0}),
    ("file", {"run_id": "secret", "task_id": "submit", "n": 0, "size": "thumb"}),
    ("file", {"run_id": "secret", "task_id": "submit", "n": 0, "download": "true"}),
]


@pytest.mark.parametrize(("name", "query"), BOTH)
def test_nobody_gets_401(ask: Ask, name: str, query: dict[str, Any]) -> None:
    answer = ask(f"api/dags/{SECRET_DAG}/{name}", user=None, **query)
    assert answer.status_code == 401
    assert "secret" not in answer.text


@pytest.mark.parametrize(("name", "query"), BOTH)
def test_a_made_up_token_gets_403(server: GalleryServer, name: str, query: dict[str, Any]) -> None:
    address = f"{server.url}/quickrouter/api/dags/{SECRET_DAG}/{name}"
    headers = {"Authorization": "Bearer made.up.token"}
    answer = requests.get(address, params=query, headers=headers, timeout=30)
    assert answer.status_code == 403


@pytest.mark.parametrize(("name", "query"), BOTH)
def test_a_user_without_the_dag_gets_403_and_no_picture(ask: Ask, name: str, query: dict[str, Any]) -> None:
    answer = ask(f"api/dags/{SECRET_DAG}/{name}", user="outsider", **query)
    assert answer.status_code == 403
    assert answer.json().keys() == {"detail"}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("user", ["without_xcoms", "without_tasks"])
@pytest.mark.parametrize(("name", "query"), BOTH)
def test_a_user_who_may_not_read_a_part_of_it_gets_403(
    ask: Ask, user: str, name: str, query: dict[str, Any]
) -> None:
    assert ask(f"api/dags/{SECRET_DAG}/{name}", user=user, **query).status_code == 403


@pytest.mark.parametrize("user", ["admin", "viewer"])
@pytest.mark.parametrize(("name", "query"), BOTH)
def test_a_user_with_the_dag_gets_it(ask: Ask, user: str, name: str, query: dict[str, Any]) -> None:
    assert ask(f"api/dags/{SECRET_DAG}/{name}", user=user, **query).status_code == 200


def test_the_right_to_one_dag_opens_no_other(ask: Ask) -> None:
    """The dag_id of the path counts, whatever else is sent."""
    path = f"api/dags/{SECRET_DAG}/pictures"
    answer = ask(path, user="outsider", run_id="secret", dag_id=DAG_ID)
    assert answer.status_code == 403
    assert ask(f"api/dags/{DAG_ID}/pictures", user="outsider", run_id="secret").status_code == 404


def test_a_picture_within_a_page_is_let_in_by_the_cookie(
    server: GalleryServer, tokens: dict[str, str]
) -> None:
    address = f"{server.url}/quickrouter/api/dags/{SECRET_DAG}/file"
    query = {"run_id": "secret", "task_id": "submit", "n": "0"}
    seen = requests.get(address, params=query, cookies={"_token": tokens["viewer"]}, timeout=30)
    assert (seen.status_code, seen.headers["content-type"]) == (200, "image/png")
    denied = requests.get(address, params=query, cookies={"_token": tokens["outsider"]}, timeout=30)
    assert denied.status_code == 403


def test_the_page_itself_tells_nothing(ask: Ask) -> None:
    answer = ask("gallery", user=None, dag_id=SECRET_DAG, run_id="secret")
    assert answer.status_code == 200
    assert "secret" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(server: GalleryServer, tokens: dict[str, str], method: str) -> None:
    address = f"{server.url}/quickrouter/api/dags/{SECRET_DAG}/pictures"
    headers = {"Authorization": f"Bearer {tokens['admin']}"}
    answer = requests.request(method, address, params={"run_id": "secret"}, headers=headers, timeout=30)
    assert answer.status_code == 405
