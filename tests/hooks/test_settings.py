from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trustme
from airflow.sdk import Connection

from airflow_provider_quickrouter.api import protocol
from airflow_provider_quickrouter.api.errors import InvalidConnectionError
from airflow_provider_quickrouter.hooks.connection import Settings

KEY = "qr-0123456789"
ID = "qpt5jq1fssrmc0cmd5hvy31mdg"


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> Settings:
    fields = {"password": KEY, **fields}
    return Settings.of(
        Connection(conn_id="c", conn_type="quickrouter", extra=json.dumps(extra or {}), **fields)
    )


def test_a_key_alone_is_a_whole_connection() -> None:
    read = settings()
    assert read.api_key == KEY
    assert read.url(protocol.get(ID)) == f"https://api.quickrouter.ai/replicate/v1/predictions/{ID}"
    assert read.url(protocol.probe()) == "https://api.quickrouter.ai/v1/models"
    assert (read.timeout, read.verify, read.trust_env) == ((10, 60), True, True)


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "https://api.quickrouter.us/"}, "https://api.quickrouter.us"),
        ({"host": "api.quickrouter.us"}, "https://api.quickrouter.us"),
        ({"host": "gateway.internal", "schema": "http", "port": 8080}, "http://gateway.internal:8080"),
        ({"host": "http://127.0.0.1:9000", "port": 8080}, "http://127.0.0.1:9000"),
        ({"host": "https://proxy.example/openai/"}, "https://proxy.example/openai"),
        ({"host": "http://[::1]:9000"}, "http://[::1]:9000"),
    ],
)
def test_the_host_is_the_base_url(fields: dict[str, Any], base_url: str) -> None:
    assert settings(**fields).base_url == base_url


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("/v1", "/v1"), ("v1/", "/v1"), ("", "/replicate/v1"), ("/", ""), (None, "/replicate/v1")],
)
def test_the_path_prefix_is_a_setting(prefix: str | None, path: str) -> None:
    assert settings({"path_prefix": prefix}).path_prefix == path


@pytest.mark.parametrize(
    ("value", "timeout"),
    [(30, (30, 30)), ("30", (30, 30)), ([3, 90], (3, 90)), ("[3, 90]", (3, 90)), ("", (10, 60))],
)
def test_a_timeout_is_one_number_or_connect_and_read(value: object, timeout: tuple[float, float]) -> None:
    assert settings({"timeout": value}).timeout == timeout


def test_a_read_may_take_longer_when_the_server_was_asked_to_hold_its_answer() -> None:
    request = protocol.create({}, model="a/b", wait=30)
    assert settings().timeouts(request)[0] == 90


def test_a_poll_that_hangs_is_given_up_sooner_than_a_create_or_a_cancel() -> None:
    poll, cancel = protocol.get(ID), protocol.cancel(ID)
    create = protocol.create({}, model="a/b")
    assert [settings().timeouts(each)[0] for each in (poll, cancel, create)] == [15, 60, 60]
    short = settings({"timeout": 5})
    assert [short.timeouts(each)[0] for each in (poll, cancel, create)] == [5, 5, 5]


def test_extras_of_a_uri_are_text_and_mean_the_same(tmp_path: Path) -> None:
    pem = str(tmp_path / "file.pem")
    trustme.CA().issue_cert("a.test").private_key_and_cert_chain_pem.write_to_path(pem)
    as_json = {
        "proxies": {"https": "http://proxy:3128"},
        "verify": False,
        "cert": [pem, pem],
        "trust_env": False,
    }
    as_text = {
        "proxies": '{"https": "http://proxy:3128"}',
        "verify": "false",
        "cert": f'["{pem}", "{pem}"]',
        "trust_env": "False",
    }
    read = settings(as_json)
    assert read == settings(as_text)
    assert read.cert == (pem, pem)
    assert (read.verify, read.trust_env) == (False, False)
    one = settings({"verify": pem, "cert": pem})
    assert (one.verify, one.cert) == (pem, pem)


def test_a_rate_is_half_of_replicates_unless_another_one_or_none_is_set() -> None:
    assert settings({}).requests_per_minute == 1500
    assert settings({"requests_per_minute": "600"}).requests_per_minute == 600
    assert settings({"requests_per_minute": 0}).requests_per_minute == 0


def test_files_lie_at_public_addresses_unless_others_are_allowed() -> None:
    assert settings().allow_private_addresses is False
    assert settings({"allow_private_addresses": "true"}).allow_private_addresses is True
    assert settings({"allow_private_addresses": False}).allow_private_addresses is False


def test_prices_are_numbers_by_model() -> None:
    prices = {"a/b": {"per_second": 0.0011, "max_seconds": 60}, "c/d": {"per_output": "0.04"}}
    read = settings({"prices": json.dumps(prices)}).prices
    assert (read["a/b"].per_second, read["c/d"].per_output) == (Decimal("0.0011"), Decimal("0.04"))
    assert settings().prices == {}


@pytest.mark.parametrize(
    ("price", "wrong"),
    [
        ({"per_secnd": 1}, "a/b.per_secnd: got 1;"),
        ({"per_output": -0.1}, "a/b.per_output: got -0.1;"),
        ({"per_output": float("nan")}, "a/b.per_output: got nan;"),
        ({"per_second": 1, "max_seconds": "long"}, "a/b.max_seconds: got 'long';"),
        ({"per_output": True}, "a/b.per_output: got True;"),
        ({"per_second": 1, "per_output": 1}, "a/b: got {"),
        (0.04, "a/b: got 0.04;"),
    ],
)
def test_a_wrong_price_is_named_with_the_remedy(price: Any, wrong: str) -> None:
    with pytest.raises(InvalidConnectionError) as caught:
        settings({"prices": {"a/b": price}})
    assert f"extra.prices.{wrong}" in str(caught.value)
    assert 'a price is {"owner/name": {"per_second": 0.0011}} or' in str(caught.value)


@pytest.mark.parametrize("prices", [[1], "0.04", {"sdxl": {"per_output": 1}}, {"a/b:1": {"per_output": 1}}])
def test_prices_are_by_owner_and_name(prices: Any) -> None:
    with pytest.raises(InvalidConnectionError, match=r"extra\.prices"):
        settings({"prices": prices})


def test_the_console_url_shows_a_prediction_to_people() -> None:
    read = settings({"console_url": "https://console.example/p/{id}?tab=1"})
    assert read.prediction_url(ID) == f"https://console.example/p/{ID}?tab=1"
    assert settings().prediction_url(ID) == settings().url(protocol.get(ID))


@pytest.mark.parametrize(
    ("fields", "extra", "says"),
    [
        ({"password": None}, {}, "password: is empty"),
        ({"password": "  "}, {}, "password: is empty"),
        ({"password": f"Bearer {KEY}"}, {}, "without 'Bearer'"),
        ({"password": f"{KEY}\nX: y"}, {}, "password: has blanks"),
        ({"password": "ключ-123"}, {}, "password: has blanks"),
        ({"host": "ftp://x"}, {}, "host: must be the gateway's base URL"),
        ({"host": f"https://{KEY}@x"}, {}, "host: must be the gateway's base URL"),
        ({"host": f"https://x?key={KEY}"}, {}, "host: must be the gateway's base URL"),
        ({"host": "https://"}, {}, "host: must be the gateway's base URL"),
        ({}, {"timeout": 0}, "got 0."),
        ({}, {"time_out": 5}, "extra.time_out: is unknown; did you mean 'timeout'?"),
        ({}, {"timeout": "soon"}, "extra.timeout: must be"),
        ({}, {"timeout": [1, 2, 3]}, "extra.timeout"),
        ({}, {"timeout": []}, "extra.timeout"),
        ({}, {"timeout": "nan"}, "extra.timeout"),
        ({}, {"proxies": "http://proxy:3128"}, "extra.proxies: must be an object"),
        ({}, {"proxies": {"https": "socks5://proxy:1080"}}, "extra.proxies"),
        ({}, {"proxies": {"http": "http://[bad"}}, "extra.proxies"),
        ({"host": "http://127.0.0.1:0"}, {}, "host: must be the gateway's base URL"),
        ({}, {"cert": ["/only-one.pem"]}, "extra.cert"),
        ({}, {"cert": "/nowhere.pem"}, "extra.cert: the file '/nowhere.pem' does not exist on this machine"),
        ({}, {"verify": "/nowhere.pem"}, "extra.verify: the file '/nowhere.pem' does not exist"),
        ({}, {"trust_env": "maybe"}, "extra.trust_env: 'maybe' is neither true nor false"),
        ({}, {"allow_private_addresses": "maybe"}, "extra.allow_private_addresses: 'maybe'"),
        ({}, {"allow_private_address": True}, "did you mean 'allow_private_addresses'?"),
        ({}, {"path_prefix": "/v1?key=x"}, "extra.path_prefix"),
        ({}, {"path_prefix": "/../v1"}, "extra.path_prefix"),
        ({"host": "http://[bad"}, {}, "host: must be the gateway's base URL"),
        ({"host": "http://x:port"}, {}, "host: must be the gateway's base URL"),
        ({}, {"console_url": "https://console.example/"}, "extra.console_url"),
        ({}, {"requests_per_minute": "many"}, "extra.requests_per_minute"),
        ({}, {"requests_per_minute": -1}, "extra.requests_per_minute"),
        ({}, {"requests_per_minute": "inf"}, "extra.requests_per_minute"),
    ],
)
def test_a_wrong_field_is_named_with_the_remedy_and_without_the_key(
    fields: dict[str, Any], extra: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidConnectionError) as refused:
        settings(extra, **fields)
    assert says in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("word", ["off", "no", "0", False])
def test_off_means_off(word: object) -> None:
    read = settings({"verify": word, "trust_env": word})
    assert (read.verify, read.trust_env) == (False, False)


def test_an_extra_of_another_name_changes_nothing() -> None:
    assert settings({"api_key": "other", "base_url": "http://other", "x": 1}) == settings()


def test_extras_that_are_no_object_are_refused() -> None:
    class Odd:
        extra_dejson = (1, 2)

    with pytest.raises(InvalidConnectionError, match="extra: must be a JSON object"):
        Settings.of(Odd())


def test_neither_key_nor_proxy_password_is_in_the_repr() -> None:
    read = settings({"proxies": {"https": "http://user:hunter2@proxy:3128"}})
    assert KEY not in repr(read)
    assert "hunter2" not in repr(read)


@pytest.mark.parametrize(
    "uri",
    [
        f"quickrouter://:{KEY}@http%3A%2F%2F127.0.0.1%3A8765/?path_prefix=%2Fv1&timeout=30",
        f"quickrouter://http://:{KEY}@127.0.0.1:8765/?path_prefix=%2Fv1&timeout=30",
        f"quickrouter://:{KEY}@127.0.0.1:8765/http?path_prefix=%2Fv1&timeout=30",
    ],
)
def test_three_spellings_of_a_uri_mean_the_same(uri: str) -> None:
    read = Settings.of(Connection.from_uri(uri, conn_id="c"))
    assert read.url(protocol.get(ID)) == f"http://127.0.0.1:8765/v1/predictions/{ID}"
    assert (read.api_key, read.timeout) == (KEY, (30, 30))
