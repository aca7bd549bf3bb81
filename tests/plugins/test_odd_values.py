"""What somebody may try in each parameter: 404 or 422, never a file, never a stack trace."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import requests

from dev.gallery_server import GalleryServer
from tests.plugins.conftest import Ask

PATHS = [
    "../../../../etc/passwd",
    "..",
    ".",
    "/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f",
    "....//....//etc/passwd",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "motley/../secret",
    "\0",
    "a\nb",
    "'; drop table xcom; --",
    "' or '1'='1",
    "{DAG_ID}",
    "~",
    "*",
    "%",
    "<script>alert(1)</script>",
    "\u202e\u0661",
    "x" * 5000,
    "",
]
NUMBERS = ["-2", "2147483648", "99999999999999999999", "1.5", "0x1", "1e3", "NaN", "", *PATHS]
GONE = {400, 404, 422}


@pytest.mark.parametrize("value", PATHS)
@pytest.mark.parametrize("name", ["run_id", "task_id"])
def test_of_a_file(file: Ask, name: str, value: str) -> None:
    assert file(**{name: value}).status_code in GONE


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("name", ["map_index", "n", "size"])
def test_of_a_file_where_numbers_and_words_are_known(file: Ask, name: str, value: str) -> None:
    assert file(**{name: value}).status_code in GONE


@pytest.mark.parametrize("value", ["-1", "1", "100000"])
def test_a_number_of_no_file(file: Ask, value: str) -> None:
    assert file(n=value).status_code in GONE


@pytest.mark.parametrize("value", PATHS)
def test_of_a_run(pictures: Ask, value: str) -> None:
    assert pictures(value).status_code in GONE


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("name", ["map_index", "offset", "limit", "state"])
def test_of_a_page(pictures: Ask, name: str, value: str) -> None:
    assert pictures("motley", task_id="wait", **{name: value}).status_code in GONE


@pytest.mark.parametrize("value", [path for path in PATHS if path.isprintable() and path][:-1])
def test_a_task_that_is_not_there_has_no_pictures(pictures: Ask, value: str) -> None:
    answer = pictures("motley", task_id=value)
    assert answer.status_code == 200
    assert answer.json()["cards"] == []


@pytest.mark.parametrize("value", PATHS)
@pytest.mark.parametrize("ending", ["pictures", "file"])
def test_of_the_dag_sent_as_it_is(
    server: GalleryServer, tokens: dict[str, str], value: str, ending: str
) -> None:
    """Neither this client nor Airflow may put it right on the way."""
    for sent in {quote(value, safe=""), quote(value, safe="/%")}:
        request = requests.Request("GET", f"{server.url}/").prepare()
        request.url = f"{server.url}/quickrouter/api/dags/{sent}/{ending}?run_id=motley&task_id=wait&n=0"
        request.headers["Authorization"] = f"Bearer {tokens['admin']}"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.send(request, timeout=30, allow_redirects=False)
        assert answer.status_code in GONE
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "static/../app.py",
        "static/..%2fapp.py",
        "static/tag/..%2f..%2fapp.py",
        "static//etc/passwd",
        "app.py",
        "docs",
        "openapi.json",
    ],
)
def test_no_other_file_of_the_plugin_is_served(server: GalleryServer, path: str) -> None:
    page = requests.get(f"{server.url}/quickrouter/gallery", timeout=30).text
    tag = page.split("static/")[1].split("/")[0]
    request = requests.Request("GET", f"{server.url}/").prepare()
    request.url = f"{server.url}/quickrouter/{path.replace('tag', tag)}"
    with requests.Session() as session:
        assert session.send(request, timeout=30).status_code == 404
