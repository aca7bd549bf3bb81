"""Folders in which files are stored, as far as their text tells.

A text that a template made may be anything; most of it would name a folder on the worker's own
disk, where nobody looks for the pictures.
"""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_quickrouter.api.errors import InvalidInputError

_REMEDY = "give a folder such as s3://conn_id@bucket/pictures."
NOTHING = ("", "None")
"""What a template makes of a variable that is empty, or not there."""

_HALF_A_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//)")


def check_folder(argument: str, path: Any) -> str:
    """Return the text of a folder's path, as ``ObjectStoragePath`` takes it.

    :param argument: what it is called, for the error.
    :raises InvalidInputError: no folder can be meant; says why, and what to give.
    """
    text = "" if path is None else str(path)
    if text.strip() in NOTHING:
        raise InvalidInputError(f"{argument}: is empty; {_REMEDY}")
    check_no_password(argument, text)
    if why := _why_not(text):
        raise InvalidInputError(f"{argument}: {text!r} {why}; {_REMEDY}")
    return text


def check_no_password(argument: str, location: str) -> None:
    """Refuse a path with a password in it, which the error does not show.

    :raises InvalidInputError: names the argument and the remedy.
    """
    if ":" in connection_in(location):
        scheme = location.partition("://")[0]
        raise InvalidInputError(
            f"{argument}: a path holds no password; give the id of an Airflow connection, as in "
            f"{scheme}://conn_id@..."
        )


def connection_in(location: str) -> str:
    """Return the id of the connection that a path names, "" if it names none."""
    return _place(location).rpartition("@")[0]


def protocols(fs: Any) -> tuple[str, ...]:
    """Return the names of an fsspec filesystem's protocol, of which it may have one or several."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _place(location: str) -> str:
    return location.partition("://")[2].partition("/")[0]


def _why_not(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        return "begins or ends with a blank, or has a line break in it"
    if _HALF_A_SCHEME.match(text):
        return "has no two slashes behind its scheme"
    rest = text.partition("://")[2]
    if "://" in text and not (rest.startswith("/") or _place(text).rpartition("@")[2]):
        return "names no place behind its scheme"
    return ""
