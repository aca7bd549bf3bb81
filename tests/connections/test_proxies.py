"""A gateway behind a proxy: all goes through it, and its troubles are told for what they are."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trustme
from airflow.providers.common.compat.sdk import redact

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect
from tests.connections.conftest import NAME, server_context
from tests.connections.senders import Send, both_gets
from tests.connections.servers import HOST, Proxy

Ports = dict[str, int]
PASSWORD = "p@ss:w/rd-long"
QUOTED = "p%40ss%3Aw%2Frd-long"

both_schemes = pytest.mark.parametrize("scheme", ["http", "https"])


def asked(scheme: str, method: str, path: str) -> str:
    """The line by which a proxy is asked."""
    return f"CONNECT {NAME}:443" if scheme == "https" else f"{method} http://{NAME}{path}"


PATH = "/replicate/v1/models/black-forest-labs/flux-kontext-pro/predictions"


@both_schemes
def test_a_create_goes_through_the_proxy_of_the_connection(
    ports: Ports, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send, scheme: str
) -> None:
    proxy = Proxy({NAME: ports[scheme]})
    with proxy.running() as url:
        extra = {"proxies": {scheme: url}, "verify": bundle}
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra=extra)
        assert create().id
    assert proxy.seen == [asked(scheme, "POST", PATH)]
    assert gateway.creates == len(gateway.requests) == 1
    assert all("proxy-authorization" not in request.headers for request in gateway.requests)


@both_schemes
def test_a_proxy_is_told_user_and_password_and_the_gateway_is_not(
    ports: Ports, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send, scheme: str
) -> None:
    proxy = Proxy({NAME: ports[scheme]}, credentials=f"someone:{PASSWORD}")
    with proxy.running() as url:
        with_user = url.replace("://", f"://someone:{QUOTED}@")
        extra = {"proxies": {scheme: with_user}, "verify": bundle}
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra=extra)
        assert create().id
    assert len(proxy.authorizations) == 1
    assert all("proxy-authorization" not in request.headers for request in gateway.requests)


@both_schemes
def test_a_proxy_that_wants_another_password_is_told_from_the_gateway(
    ports: Ports,
    gateway: Sandbox,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    create: Send,
    scheme: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = Proxy({NAME: ports[scheme]}, credentials="someone:another")
    with proxy.running() as url:
        with_user = url.replace("://", f"://someone:{QUOTED}@")
        extra = {"proxies": {scheme: with_user}, "verify": bundle}
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra=extra)
        with pytest.raises(errors.InvalidConnectionError) as caught:
            create()
    said = str(caught.value)
    assert f"the proxy {url} on the way to {scheme}://{NAME} requires another user" in said
    for secret in (PASSWORD, QUOTED, KEY):
        assert secret not in said + repr(caught.value) + caplog.text
    assert gateway.requests == []
    assert len(proxy.seen) == 1


@pytest.mark.parametrize(
    ("trouble", "why"),
    [({"refusal": 403}, "HTTP 403"), ({"refusal": 502}, "HTTP 502"), ({"routes": {}}, "HTTP 502")],
    ids=["403", "502", "no route"],
)
def test_a_create_for_which_a_proxy_opens_no_tunnel_was_not_sent(
    ports: Ports,
    gateway: Sandbox,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
    trouble: dict[str, Any],
    why: str,
) -> None:
    proxy = Proxy(**{"routes": {NAME: ports["https"]}, **trouble})
    with proxy.running() as url:
        extra = {"proxies": {"https": url}, "verify": bundle, "timeout": [0.3, 0.2]}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        with pytest.raises(errors.NotConnectedError) as caught:
            create()
    assert f"no connection to https://{NAME} through the proxy {url} (" in str(caught.value)
    assert why in str(caught.value)
    assert gateway.requests == []


@pytest.mark.parametrize(
    "trouble", [{"hangs": True}, {"drops": True}, {"breaks": True}], ids=["hangs", "drops", "breaks"]
)
def test_a_create_is_uncertain_after_a_proxy_that_neither_opens_nor_refuses_a_tunnel(
    ports: Ports, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send, trouble: dict[str, Any]
) -> None:
    proxy = Proxy(**{"routes": {NAME: ports["https"]}, **trouble})
    with proxy.running() as url:
        extra = {"proxies": {"https": url}, "verify": bundle, "timeout": [0.3, 0.2]}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        with pytest.raises(errors.UncertainCreateError, match=f"through the proxy {url}"):
            create()


@both_gets
@pytest.mark.parametrize("trouble", [{"hangs": True}, {"drops": True}], ids=["hangs", "drops"])
def test_a_question_for_which_a_proxy_opens_no_tunnel_is_told_alike(
    bundle: str, monkeypatch: pytest.MonkeyPatch, get: Send, trouble: dict[str, Any]
) -> None:
    with Proxy(**trouble).running() as url:
        extra = {"proxies": {"https": url}, "verify": bundle, "timeout": [0.3, 0.2]}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        with pytest.raises(errors.ConnectionLostError, match=f"through the proxy {url}"):
            get()


@pytest.mark.parametrize(
    "trouble", [{"refusal": 502}, {"hangs": True}, {"drops": True}], ids=["502", "hangs", "drops"]
)
def test_a_create_that_a_proxy_has_read_is_uncertain(
    monkeypatch: pytest.MonkeyPatch, create: Send, trouble: dict[str, Any]
) -> None:
    proxy = Proxy(**trouble)
    with proxy.running() as url:
        extra = {"proxies": {"http": url}, "timeout": [1, 0.3]}
        connect(monkeypatch, host=f"http://{NAME}", extra=extra)
        with pytest.raises(errors.UncertainCreateError):
            create()
    assert proxy.seen == [asked("http", "POST", PATH)]


@both_schemes
def test_a_dead_proxy_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, create: Send, scheme: str
) -> None:
    with Proxy().running() as url:
        dead = url
    with_user = dead.replace("://", f"://someone:{QUOTED}@")
    connect(monkeypatch, host=f"{scheme}://{NAME}", extra={"proxies": {scheme: with_user}})
    with pytest.raises(errors.NotConnectedError) as caught:
        create()
    assert f"through the proxy {dead} (" in str(caught.value)
    assert "someone" not in str(caught.value)
    assert "rd-long" not in str(caught.value)


@both_gets
@both_schemes
@pytest.mark.parametrize("lower", [True, False], ids=["lower", "upper"])
def test_a_proxy_of_the_environment_is_used_unless_it_is_not_trusted(
    ports: Ports,
    gateway: Sandbox,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    get: Send,
    scheme: str,
    lower: bool,
) -> None:
    proxy = Proxy({NAME: ports[scheme]}, credentials=f"someone:{PASSWORD}")
    with proxy.running() as url:
        with_user = url.replace("://", f"://someone:{QUOTED}@")
        variable = f"{scheme}_proxy"
        monkeypatch.setenv(variable if lower else variable.upper(), with_user)
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra={"verify": bundle})
        with pytest.raises(errors.NotFoundError):
            get()
        assert len(proxy.seen) == len(gateway.requests) == 1
        extra = {"verify": bundle, "trust_env": False}
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra=extra)
        with pytest.raises(errors.NotConnectedError):
            get()
    assert len(proxy.seen) == 1
    said = str(redact(f"{PASSWORD} {with_user}"))
    assert PASSWORD not in said
    assert QUOTED not in said


@both_gets
def test_a_host_of_no_proxy_is_asked_directly_unless_the_connection_names_a_proxy(
    ports: Ports, gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Send
) -> None:
    proxy = Proxy({HOST: ports["http"]})
    with proxy.running() as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("NO_PROXY", f"elsewhere.example,{HOST}")
        with pytest.raises(errors.NotFoundError):
            get()
        assert (proxy.seen, len(gateway.requests)) == ([], 1)
        connect(monkeypatch, host=gateway.url, extra={"proxies": {"http": url}})
        with pytest.raises(errors.NotFoundError):
            get()
    assert len(proxy.seen) == 1


def test_a_proxy_may_speak_tls_itself(
    ports: Ports,
    gateway: Sandbox,
    authority: trustme.CA,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
    create: Send,
) -> None:
    proxy = Proxy({NAME: ports["https"]})
    with proxy.running(server_context(authority, HOST)) as url:
        extra: dict[str, Any] = {"proxies": {"https": url}, "verify": bundle}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        assert create().id
        connect(monkeypatch, host=f"https://{NAME}", extra={"proxies": {"https": url}})
        with pytest.raises(errors.InvalidConnectionError) as caught:
            create()
    assert f"extra.verify: the certificate of the proxy {url} is not trusted" in str(caught.value)
    assert len(proxy.seen) == gateway.creates == 1


@both_schemes
def test_a_password_that_no_proxy_can_be_told_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, create: Send, scheme: str
) -> None:
    proxy = Proxy()
    with proxy.running() as url:
        with_user = url.replace("://", "://someone:%F0%9F%98%80-secret@")
        connect(monkeypatch, host=f"{scheme}://{NAME}", extra={"proxies": {scheme: with_user}})
        with pytest.raises(errors.InvalidConnectionError) as caught:
            create()
    assert "secret" not in str(caught.value)
    assert proxy.seen == []


def test_a_tunnel_that_was_refused_is_tried_again_and_paid_once(
    ports: Ports, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch, create: Send
) -> None:
    proxy = Proxy({NAME: ports["https"]}, refusal=502)
    with proxy.running() as url:
        extra = {"proxies": {"https": url}, "verify": bundle}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        with pytest.raises(errors.NotConnectedError) as caught:
            create()
        assert caught.value.resendable
        proxy.refusal = None
        assert create().id
    assert gateway.creates == 1


def test_each_create_opens_a_tunnel_of_its_own_and_is_uncertain_when_that_breaks(
    ports: Ports, gateway: Sandbox, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy({NAME: ports["https"]})
    with proxy.running() as url:
        extra = {"proxies": {"https": url}, "verify": bundle, "timeout": [1, 0.3]}
        connect(monkeypatch, host=f"https://{NAME}", extra=extra)
        hook = QuickRouterHook()
        first = hook.create_prediction({"prompt": "a"}, model="a/b")
        gateway.set_faults(Faults(hang=1), times=1)
        with pytest.raises(errors.UncertainCreateError):
            hook.create_prediction({"prompt": "b"}, model="a/b")
    assert first.id
    assert len(proxy.seen) == 2
