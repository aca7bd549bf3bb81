from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from urllib3.exceptions import InsecureRequestWarning
from werkzeug import Request as WebRequest
from werkzeug import Response

from airflow_provider_quickrouter import __version__
from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.models import FLUX_KONTEXT_PRO, STABLE_DIFFUSION
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.sandbox.faults import Faults
from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY, connect

PROMPT = {"prompt": "an astronaut riding a horse on mars, hd, dramatic lighting"}
ID = "qpt5jq1fssrmc0cmd5hvy31mdg"

Get = Callable[[str], Prediction]


def get_with_requests(prediction_id: str) -> Prediction:
    return QuickRouterHook().get_prediction(prediction_id)


def get_with_aiohttp(prediction_id: str) -> Prediction:
    async def get() -> Prediction:
        async with QuickRouterHook() as hook:
            return await hook.aget_prediction(prediction_id)

    return asyncio.run(get())


both_senders = pytest.mark.parametrize("get", [get_with_requests, get_with_aiohttp])


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def create(**options: Any) -> Prediction:
    return QuickRouterHook().create_prediction(PROMPT, version=STABLE_DIFFUSION, **options)


def test_a_create_is_one_request_with_the_body_of_quickrouters_page(gateway: Sandbox) -> None:
    prediction = create()
    (request,) = gateway.requests
    assert (request.method, request.path) == ("POST", "/replicate/v1/predictions")
    assert request.body == {"version": STABLE_DIFFUSION, "input": PROMPT}
    assert request.headers["authorization"] == "Bearer ***"
    assert request.headers["content-type"] == "application/json"
    assert prediction.status is PredictionStatus.STARTING


def test_a_create_by_model_takes_the_models_route(gateway: Sandbox) -> None:
    QuickRouterHook().create_prediction(PROMPT, model=FLUX_KONTEXT_PRO, cancel_after=90)
    (request,) = gateway.requests
    assert request.path == f"/replicate/v1/models/{FLUX_KONTEXT_PRO}/predictions"
    assert request.headers["cancel-after"] == "90s"


def test_a_wrong_input_is_refused_before_anything_is_sent(gateway: Sandbox) -> None:
    with pytest.raises(errors.InvalidInputError, match=r"input\.width: 700"):
        QuickRouterHook().create_prediction({"width": 700}, version=STABLE_DIFFUSION)
    assert gateway.requests == []


def test_the_server_may_hold_its_answer_for_the_result(gateway: Sandbox) -> None:
    assert create(wait=5).status is PredictionStatus.SUCCEEDED


@both_senders
def test_both_senders_send_the_same_request(gateway: Sandbox, get: Get) -> None:
    prediction = create()
    assert get(prediction.id).id == prediction.id
    request = gateway.requests[-1]
    assert (request.method, request.path) == ("GET", f"/replicate/v1/predictions/{prediction.id}")
    assert request.headers["authorization"] == "Bearer ***"
    assert request.headers["user-agent"].startswith(f"airflow-provider-quickrouter/{__version__} Airflow/")


def test_both_senders_can_cancel(gateway: Sandbox) -> None:
    gateway.set_faults(Faults(never=True), times=2, method="POST")
    first, second = create(), create()

    async def cancel() -> Prediction:
        return await QuickRouterHook().acancel_prediction(second.id)

    assert QuickRouterHook().cancel_prediction(first.id).status.terminal
    assert asyncio.run(cancel()).status.terminal


@both_senders
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Faults(status=503), errors.UpstreamError),
        (Faults(status=500), errors.UpstreamError),
        (Faults(body="html"), errors.UpstreamError),
        (Faults(body="cut"), errors.UpstreamError),
        (Faults(body="empty"), errors.UpstreamError),
        (Faults(dressed=True), errors.UpstreamError),
        (Faults(quota=True), errors.QuotaError),
        (Faults(no_channel=True), errors.NoChannelError),
        (Faults(rate_limit="header", retry_after=3), errors.RateLimitError),
        (Faults(rate_limit="date", retry_after=3), errors.RateLimitError),
        (Faults(rate_limit="body", retry_after=3), errors.RateLimitError),
        (Faults(rate_limit="text", retry_after=3), errors.RateLimitError),
        (Faults(rate_limit="bare"), errors.RateLimitError),
        (Faults(drop="after"), errors.ConnectionLostError),
    ],
)
def test_both_senders_end_in_the_same_error(
    gateway: Sandbox, get: Get, fault: Faults, kind: type[errors.APIError]
) -> None:
    prediction = create()
    gateway.set_faults(fault)
    with pytest.raises(errors.APIError) as caught:
        get(prediction.id)
    assert type(caught.value) is kind
    if fault.rate_limit and fault.rate_limit != "bare":
        assert caught.value.retry_after == pytest.approx(3, abs=1.1)


@both_senders
def test_an_unknown_id_is_not_found_and_a_wrong_key_is_refused(
    gateway: Sandbox, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.NotFoundError):
        get(ID)
    connect(monkeypatch, host=gateway.url, password="qr-another-key")
    with pytest.raises(errors.AuthenticationError, match="API key in the connection's password"):
        get(ID)


@both_senders
def test_a_closed_port_or_an_unknown_host_means_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    for host in (f"http://127.0.0.1:{unused_port()}", "http://nobody.invalid"):
        connect(monkeypatch, host=host)
        with pytest.raises(errors.NotConnectedError, match="Nothing was sent"):
            get(ID)


@both_senders
def test_a_silent_server_is_left_after_the_read_timeout(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    prediction = create()
    connect(monkeypatch, host=gateway.url, extra={"timeout": [5, 0.2]})
    gateway.set_faults(Faults(hang=2), times=1)
    with pytest.raises(errors.ConnectionLostError):
        get(prediction.id)


@both_senders
def test_an_id_from_outside_never_changes_the_path(gateway: Sandbox, get: Get) -> None:
    with pytest.raises(errors.InvalidInputError):
        get("../../v1/models")
    assert gateway.requests == []


@both_senders
def test_a_redirect_to_another_host_is_not_followed(
    gateway: Sandbox, httpserver: HTTPServer, get: Get
) -> None:
    prediction = create()
    gateway.set_faults(Faults(redirect=httpserver.url_for("/stolen")), times=1)
    with pytest.raises(errors.RedirectError):
        get(prediction.id)
    assert httpserver.log == []


@both_senders
def test_urls_in_an_answer_are_never_followed(gateway: Sandbox, httpserver: HTTPServer, get: Get) -> None:
    gateway.set_faults(Faults(evil_urls=httpserver.url_for("")))
    prediction = create()
    get(prediction.id)
    QuickRouterHook().cancel_prediction(prediction.id)
    assert httpserver.log == []


@both_senders
def test_a_key_that_the_gateway_echoes_is_not_in_the_error(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    def echo(request: WebRequest) -> Response:
        return Response(f'{{"detail": "bad key: {request.headers["Authorization"]}"}}', 401)

    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_handler(echo)
    connect(monkeypatch, host=httpserver.url_for(""))
    with pytest.raises(errors.AuthenticationError, match=r"bad key: Bearer \*\*\*"):
        get(ID)


@both_senders
def test_a_key_that_a_model_echoes_is_not_in_the_prediction(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    body = {"id": ID, "status": "failed", "error": f"Incorrect API key: {KEY}", "logs": KEY}
    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json(body)
    connect(monkeypatch, host=httpserver.url_for(""))
    seen = get(ID)
    assert seen.error == "Incorrect API key: ***"
    assert KEY not in repr(seen)


@both_senders
def test_a_key_at_the_place_where_a_text_is_cut_is_not_in_the_error(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_data("x" * 190 + KEY, 500)
    connect(monkeypatch, host=httpserver.url_for(""))
    with pytest.raises(errors.UpstreamError) as caught:
        get(ID)
    assert KEY[:8] not in str(caught.value)


@both_senders
def test_https_to_a_port_that_speaks_http_says_what_to_do(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    connect(monkeypatch, host=gateway.url.replace("http://", "https://"))
    with pytest.raises(errors.InvalidConnectionError, match="does not use TLS"):
        get(ID)


@both_senders
def test_a_host_name_that_cannot_be_one_is_an_error_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    connect(monkeypatch, host="http://a..b")
    with pytest.raises(errors.InvalidConnectionError):
        get(ID)


@both_senders
def test_a_proxy_of_the_connection_is_used(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json(
        {"id": ID, "status": "starting"}
    )
    proxies = {"http": httpserver.url_for("")}
    connect(monkeypatch, host="http://gateway.invalid", extra={"proxies": proxies})
    assert get(ID).id == ID
    ((request, _),) = httpserver.log
    assert request.host == "gateway.invalid"


@both_senders
def test_a_proxy_of_the_environment_is_used_unless_it_is_not_trusted(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json(
        {"id": ID, "status": "starting"}
    )
    monkeypatch.setenv("http_proxy", httpserver.url_for(""))
    connect(monkeypatch, host="http://gateway.invalid")
    assert get(ID).id == ID
    connect(monkeypatch, host="http://gateway.invalid", extra={"trust_env": False})
    with pytest.raises(errors.NotConnectedError):
        get(ID)


@both_senders
def test_a_proxy_without_a_scheme_is_an_http_proxy(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    httpserver.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json({"id": ID})
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{httpserver.port}")
    connect(monkeypatch, host="http://gateway.invalid")
    assert get(ID).id == ID


@both_senders
def test_a_socks_proxy_of_the_environment_is_refused_without_sending_anything(
    monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.1)
        monkeypatch.setenv("http_proxy", f"socks5://127.0.0.1:{proxy.getsockname()[1]}")
        connect(monkeypatch, host="http://gateway.invalid")
        with pytest.raises(errors.InvalidConnectionError):
            get(ID)
        with pytest.raises(TimeoutError):
            proxy.accept()


@both_senders
@pytest.mark.parametrize("host", ["http://gateway.invalid", "https://gateway.invalid"])
def test_a_dead_proxy_means_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, get: Get, host: str
) -> None:
    proxy = f"http://127.0.0.1:{unused_port()}"
    connect(monkeypatch, host=host, extra={"proxies": {"http": proxy, "https": proxy}})
    with pytest.raises(errors.NotConnectedError):
        get(ID)


@both_senders
def test_a_proxy_that_refuses_the_tunnel_means_that_nothing_was_sent(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    proxies = {"https": httpserver.url_for("")}
    connect(monkeypatch, host="https://gateway.invalid", extra={"proxies": proxies})
    with pytest.raises(errors.NotConnectedError):
        get(ID)


@both_senders
def test_a_file_that_is_no_certificate_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, get: Get
) -> None:
    odd = tmp_path / "odd.pem"
    odd.write_text("no certificate")
    connect(monkeypatch, host=f"https://127.0.0.1:{unused_port()}", extra={"verify": str(odd)})
    with pytest.raises(errors.InvalidConnectionError, match="verify"):
        get(ID)


@both_senders
def test_an_answer_that_drips_is_left_after_the_timeout(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    with dripping_server() as port:
        host = f"http://127.0.0.1:{port}"
        connect(monkeypatch, host=host, extra={"timeout": [0.2, 0.4]})
        with pytest.raises(errors.ConnectionLostError):
            get(ID)


@both_senders
def test_an_endless_answer_is_left_when_it_is_too_large(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    prediction = create()
    monkeypatch.setattr("airflow_provider_quickrouter.hooks.transport.MAX_BODY", 100)
    with pytest.raises(errors.ConnectionLostError):
        get(prediction.id)


@both_senders
def test_a_large_answer_is_read(gateway: Sandbox, get: Get) -> None:
    uri = "data:image/png;base64," + "A" * 2**20
    body = {"prompt": "x", "sandbox": {"output": [uri], "processing": 0}}
    prediction = QuickRouterHook().create_prediction(body, version=STABLE_DIFFUSION)
    assert get(prediction.id).items == [uri]


@both_senders
def test_a_short_key_does_not_change_what_is_read(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    with Sandbox(processing=0) as open_gateway:
        connect(monkeypatch, host=open_gateway.url, password="id")
        prediction = create()
        assert get(prediction.id).items[0].endswith("/out-0.png")


def test_questions_without_a_block_each_have_their_own_session(gateway: Sandbox) -> None:
    prediction = create()

    async def ask() -> list[Prediction]:
        hook = QuickRouterHook()
        return await asyncio.gather(*[hook.aget_prediction(prediction.id) for _ in range(3)])

    assert {seen.id for seen in asyncio.run(ask())} == {prediction.id}


@contextmanager
def dripping_server() -> Iterator[int]:
    """A server that sends its answer a byte at a time, for ever."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            while not stop.wait(0.1):
                with suppress(OSError):
                    connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join(5)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        server.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json(
            {"id": ID, "status": "starting"}
        )
        yield server


@both_senders
def test_a_private_authority_is_trusted_when_the_connection_names_it(
    tls_server: HTTPServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    host = tls_server.url_for("")
    connect(monkeypatch, host=host)
    with pytest.raises(errors.InvalidConnectionError, match=r"extra\.verify: the certificate of"):
        get(ID)
    with authority.cert_pem.tempfile() as bundle:
        connect(monkeypatch, host=host, extra={"verify": bundle})
        assert get(ID).id == ID
    connect(monkeypatch, host=host, extra={"verify": False})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        assert get(ID).id == ID


@both_senders
def test_only_the_named_authority_is_trusted_not_those_of_the_system_too(
    tls_server: HTTPServer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    with authority.cert_pem.tempfile() as system, trustme.CA().cert_pem.tempfile() as other:
        monkeypatch.setenv("SSL_CERT_FILE", system)
        connect(monkeypatch, host=tls_server.url_for(""), extra={"verify": other})
        with pytest.raises(errors.InvalidConnectionError, match="is not trusted"):
            get(ID)


@both_senders
def test_the_client_certificate_of_the_connection_is_shown(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, get: Get
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("client@example.org").private_key_and_cert_chain_pem
    with (
        HTTPServer(host="127.0.0.1", ssl_context=context) as server,
        authority.cert_pem.tempfile() as bundle,
        client.tempfile() as cert,
    ):
        server.expect_request(f"/replicate/v1/predictions/{ID}").respond_with_json({"id": ID})
        connect(monkeypatch, host=server.url_for(""), extra={"verify": bundle, "cert": cert})
        assert get(ID).id == ID
