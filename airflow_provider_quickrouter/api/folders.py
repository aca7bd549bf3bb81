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
    scheme, _, rest = text.partition("://")
    place = rest.partition("/")[0]
    if ":" in place.rpartition("@")[0]:  # the text is not shown: this is a password
        raise InvalidInputError(
            f"{argument}: a path holds no password; give the id of an Airflow connection, as in "
            f"{scheme}://conn_id@..."
        )
    if why := _why_not(text, rest, place):
        raise InvalidInputError(f"{argument}: {text!r} {why}; {_REMEDY}")
    return text


def connection_in(location: str) -> str:
    """Return the id of the connection that a path names, "" if it names none."""
    return location.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _why_not(text: str, rest: str, place: str) -> str:
    if text != text.strip() or not text.isprintable():
        return "begins or ends with a blank, or has a line break in it"
    if _HALF_A_SCHEME.match(text):
        return "has no two slashes behind its scheme"
    if "://" in text and not (rest.startswith("/") or place.rpartition("@")[2]):
        return "names no place behind its scheme"
    return ""
