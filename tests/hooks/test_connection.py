"""The connection as people meet it: the test button, the form, the environment, the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import redact
from pytest_httpserver import HTTPServer

from airflow_provider_quickrouter import get_provider_info
from airflow_provider_quickrouter.api.errors import InvalidConnectionError
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.hooks.transport import BearerAuth
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.hooks.test_hook import unused_port


def test_a_good_key_passes_with_one_free_request(gateway: Sandbox) -> None:
    assert QuickRouterHook().test_connection() == (True, f"{gateway.url} accepts the key.")
    (request,) = gateway.requests
    assert (request.method, request.path) == ("GET", "/v1/models")
    assert gateway.creates == 0


def test_a_bad_key_is_told_from_an_unreachable_host(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    good, text = QuickRouterHook().test_connection()
    assert not good
    assert "Check the API key in the connection's password" in text
    connect(monkeypatch, host=f"http://127.0.0.1:{unused_port()}")
    good, text = QuickRouterHook().test_connection()
    assert not good
    assert "no connection to http://127.0.0.1" in text


def test_a_web_page_instead_of_the_api_fails_the_test(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(body="html"))
    good, text = QuickRouterHook().test_connection()
    assert not good
    assert "an HTML page instead of JSON" in text


def test_a_connection_without_a_key_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, password="")
    assert QuickRouterHook().test_connection() == (False, "password: is empty; put the API key there.")


@pytest.mark.parametrize(
    "value",
    [
        '{{"conn_type": "quickrouter", "password": "{key}", "host": "{url}", "extra": {{"timeout": 30}}}}',
        "quickrouter://:{key}@{quoted}/?timeout=30",
    ],
    ids=["JSON", "URI"],
)
def test_a_connection_comes_from_an_environment_variable(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    quoted = gateway.url.replace(":", "%3A").replace("/", "%2F")
    text = value.format(key=KEY, url=gateway.url, quoted=quoted)
    monkeypatch.setenv("AIRFLOW_CONN_IMAGES", text)
    hook = QuickRouterHook("images")
    assert hook.test_connection()[0]
    assert hook.settings.timeout == (30, 30)


def test_the_key_and_a_proxys_password_are_masked_in_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = {"https": "http://user:hunter2-long@proxy:3128"}
    connect(monkeypatch, host="https://gateway.example", extra={"proxies": proxies})
    settings = QuickRouterHook().settings
    assert settings.api_key == KEY
    assert KEY not in str(redact(f"the key is {KEY}"))
    assert "hunter2-long" not in str(redact(f"through {proxies['https']}"))


def test_the_key_is_in_no_log_line_of_a_failing_request(
    gateway: Sandbox, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway.set_faults(Faults(rate_limit="bare"), times=1)
    hook = QuickRouterHook()
    hook.create_prediction({}, model="a/b")
    said = caplog.text + capsys.readouterr().out
    assert "Not accepted, sending again in 1 s" in said
    assert KEY not in said + repr(hook) + repr(hook.settings)


def test_a_netrc_file_does_not_replace_the_key(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert QuickRouterHook().test_connection()[0]


def test_the_general_run_of_the_http_provider_works_with_the_same_settings(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/api/usage/token/").respond_with_json({"left": 7})
    connect(monkeypatch, host=httpserver.url_for(""), extra={"path_prefix": "/v1", "timeout": 5})
    hook = QuickRouterHook()
    hook.method = "GET"
    assert hook.run("/api/usage/token/", headers={"X-Mine": "1"}).json() == {"left": 7}
    ((request, _),) = httpserver.log
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-Mine"] == "1"
    assert "Path_prefix" not in request.headers
    assert hook.merged_extra["allow_redirects"] is False


def test_a_wrong_field_of_the_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, extra={"timeout": "soon"})
    with pytest.raises(InvalidConnectionError, match=r"extra\.timeout"):
        QuickRouterHook().get_prediction("x")


def test_the_form_of_older_airflows_is_that_of_the_provider_info() -> None:
    form = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
    assert QuickRouterHook.get_ui_field_behaviour() == {
        "hidden_fields": form["hidden-fields"],
        "relabeling": form["relabeling"],
        "placeholders": form["placeholders"],
    }


def test_the_auth_object_does_not_show_the_key() -> None:
    assert KEY not in repr(BearerAuth(KEY))
