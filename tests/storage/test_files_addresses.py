from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.storage.addresses import (
    MAX_URL,
    check_host,
    check_url,
    is_public,
    literal_address,
    shown,
)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)
    check_host(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "168.63.129.16",
        "192.0.0.1",
        "192.0.0.192",
        "192.88.99.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "100::1",
        "3fff::1",
        "::ffff:168.63.129.16",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "no address",
        "",
    ],
)
def test_every_other_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_as_public_as_it_is_alone(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    forms = [0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80]
    for form in forms:
        assert is_public(str(ipaddress.IPv6Address(form))) is is_public(str(inner))


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "127.1", "127.0.1", "1.2.3.4", "0"]
)
def test_odd_spellings_are_read_as_the_system_reads_them(host: str) -> None:
    system = socket.inet_ntoa(socket.inet_aton(host))
    assert literal_address(host.casefold()) == system


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "1.2.3.4.5",
        "256.1.1.1",
        "4294967296",
        "1..2",
        "0x7g",
        "08",
        "",
        "1.2.3.x",
        "²",
        "9" * 40,
    ],
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None


@given(st.text(alphabet="0123456789abcdefx.", max_size=20))
def test_no_address_that_the_system_reads_is_taken_for_a_name(host: str) -> None:
    try:
        system = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return
    assert literal_address(host) == system


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "db.localhost", "printer.local", "metadata.google.internal"]
)
def test_names_of_ones_own_network_are_refused(host: str) -> None:
    with pytest.raises(FileRefused, match="set allow_private_addresses"):
        check_host(host)


@pytest.mark.parametrize(
    ("url", "host", "says"),
    [
        ("ftp://x.test/a", "x.test", "not an http or https URL"),
        ("https:///a", None, "not an http or https URL"),
        ("http://[bad", "bad", "not an http or https URL"),
        ("https://①②⑦.0.0.1/", "①②⑦.0.0.1", "not an http or https URL"),
        ("https://x.test/" + "a" * MAX_URL, "x.test", "not an http or https URL"),
        ("https://me:hush@x.test/a", "x.test", "names a user"),
        ("https://@x.test/a", "x.test", "names a user"),
        ("https://10.0.0.1/a", "10.0.0.1", "not a public address"),
        ("https://[::1]/a", "::1", "not a public address"),
    ],
)
def test_an_address_that_will_not_do_is_refused(url: str, host: str | None, says: str) -> None:
    with pytest.raises(FileRefused, match=says) as refused:
        check_url(url, host, private=False)
    assert "hush" not in str(refused.value)


def test_a_private_address_can_be_allowed() -> None:
    check_url("http://10.0.0.1:8080/a?b", "10.0.0.1", private=True)
    check_url("https://x.test/a", "x.test", private=False)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://x.test/a.png?X-Signature=hush#b", "https://x.test/a.png"),
        ("https://me:hush@x.test/a", "https://x.test/a"),
        ("data:image/png;base64,AAAA", "a data: URI"),
        ("http://[bad", "an address that cannot be read"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, text: str) -> None:
    assert shown(url) == text


@given(st.text())
def test_any_address_is_judged(text: str) -> None:
    is_public(text)
    literal_address(text)
    assert len(shown(text)) <= 300
    for url in (text, f"https://{text}"):
        try:
            check_url(url, text, private=False)
        except FileRefused:
            continue
