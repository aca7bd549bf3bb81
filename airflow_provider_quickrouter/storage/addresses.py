"""Which addresses a file may be fetched from: public ones, unless the connection allows others.

An output is foreign. Without this, its URL could name a service that only this machine reaches.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from airflow_provider_quickrouter.api.errors import FileRefused

MAX_URL = 8_192  # characters of a URL; signed ones have some hundred

_ALLOW = (
    "If it is meant, as with a gateway in your own network, set allow_private_addresses in the "
    "connection's extra"
)
_NAT64 = ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ip_network("64:ff9b:1::/48")
_TEREDO = ip_network("2001::/32")
# Blocks outside the internet, which not every Python knows as such. The first is where a
# machine in Azure reaches its host, which knows secrets of it.
_SPECIAL = [
    ip_network(block) for block in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
]

_LOCAL_NAMES = ("localhost", "localhost.localdomain")
_LOCAL_DOMAINS = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")


def check_url(url: str, host: str | None, *, private: bool) -> None:
    """Refuse a URL that no file is fetched from, as far as the URL alone shows.

    :param host: the host as the HTTP client reads it out of the URL.
    :param private: whether addresses may be other than public.
    :raises FileRefused: names the reason and the remedy.
    """
    try:
        parts = urlsplit(url[: MAX_URL + 1])
    except ValueError:
        parts = urlsplit("")
    good = bool(host) and str(host).isascii() and len(url) <= MAX_URL
    if parts.scheme not in ("http", "https") or not good:
        raise FileRefused("its address is not an http or https URL")
    if "@" in parts.netloc:
        raise FileRefused("its address names a user, which no file needs")
    if not private:
        check_host(str(host))


def check_host(host: str) -> None:
    """Refuse an address that is not public, in any spelling, and names of this machine.

    :raises FileRefused: names the remedy.
    """
    plain = host.strip("[]").rstrip(".").casefold()
    local = plain in _LOCAL_NAMES or plain.endswith(_LOCAL_DOMAINS)
    literal = literal_address(plain)
    if local or (literal is not None and not is_public(literal)):
        raise not_public(host)


def not_public(host: str) -> FileRefused:
    """Make the error of a host that is not public."""
    return FileRefused(f"{host[:100]} is not a public address. {_ALLOW}")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, also the IPv4 one within an IPv6 one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and (inner := _embedded(found)):
        return _is_global(inner)
    return _is_global(found)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address.is_site_local or address in _LOCAL_NAT64 or address in _TEREDO
    ):
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not special and not any(address in block for block in _SPECIAL)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that a packet to this one reaches in the end, if there is one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def literal_address(host: str) -> str | None:
    """Return the IP address that a host is, also as ``2130706433`` or ``0x7f.1``; None: a name."""
    with suppress(ValueError):
        return str(ip_address(host.partition("%")[0]))
    with suppress(OSError, ValueError):
        # C libraries read one to four decimal, octal or hexadecimal numbers as an address.
        return socket.inet_ntoa(socket.inet_aton(host))
    return None


def shown(url: str) -> str:
    """Return a URL for logs and errors: without its query, which may be a signature."""
    if url[:5].casefold() == "data:":
        return "a data: URI"
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]
    except ValueError:
        return "an address that cannot be read"
