"""Folders and names of stored files, as far as their text shows.

A name is made from a template, and never leads out of its folder. A path that a template rendered
may be anything; most of it would be a folder on the worker's own disk, where no one looks.
"""

from __future__ import annotations

import hashlib
import json
import re
from string import Formatter
from typing import Any

from airflow_provider_quickrouter.api.attachments import NOTHING, check_no_password, is_template
from airflow_provider_quickrouter.api.errors import InvalidInputError

DEFAULT_NAME = "{prediction_id}/{n}.{ext}"
FIELDS = ("prediction_id", "n", "ext", "sha256")
TASK = ("dag_id", "run_id", "task_id", "map_index")  # what identifies a task instance
DISTINCT = frozenset({"n", "sha256"})  # fields that differ between the files of one output
MAX_PARTS = 16  # folders and file of one name

# Bytes of one part of a name; file systems take 255, of which a temporary name needs some.
MAX_PART = 160

FOLDER_REMEDY = "give a folder such as s3://conn_id@bucket/pictures."
_HALF_A_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!//)")
_SPEC = re.compile(r"0?[1-9]?d?")
_ODD = re.compile(r"[^\w.=@+ -]")
_REMEDY = f"Give a relative path such as {DEFAULT_NAME!r}."


def check_folder(argument: str, path: Any, remedy: str = FOLDER_REMEDY) -> str:
    """Return the text of a folder's path, as ``ObjectStoragePath`` takes it.

    :param argument: its name, and ``remedy``: what to give instead, for the error.
    :param path: of a template only the part before its first brace is checked.
    :raises InvalidInputError: it cannot be a folder; with reason and remedy.
    """
    text = "" if path is None else str(path)
    whole = not is_template(text)
    constant = text if whole else text.partition("{")[0]
    if text.strip() in NOTHING:
        raise InvalidInputError(f"{argument}: is empty; {remedy}")
    check_no_password(argument, constant)
    why = ""
    scheme, separator, rest = text.partition("://")
    place = rest.partition("/")[0].rpartition("@")[2]
    if constant != constant.lstrip() or (whole and text != text.rstrip()) or not constant.isprintable():
        why = "starts or ends with a blank, or contains a line break"
    elif _HALF_A_SCHEME.match(text):
        why = "has no two slashes behind its scheme"
    elif separator and not (rest.startswith("/") or place):
        why = "names no place behind its scheme"
    elif (constant[:1] not in ("", "/") and not separator) or (
        scheme == "file" and place and "{" not in place
    ):
        why = "is a relative path, which is another folder on each worker"
    elif whole and set("{}") & set(text):
        why = "has single braces; a template has two, {{ ds }}, and in an f-string four"
    if why:
        raise InvalidInputError(f"{argument}: {text!r} {why}; {remedy}")
    return text


def check_name(template: Any) -> str:
    """Return the template of a name if files can be called by it.

    :raises InvalidInputError: with reason and remedy.
    """
    if not isinstance(template, str) or not template:
        raise InvalidInputError(f"name: must be a string, got {template!r}. {_REMEDY}")
    if "\\" in template or any(not char.isprintable() for char in template):
        raise InvalidInputError(f"name: {template!r} has a backslash or a control character. {_REMEDY}")
    _fields(template)
    parts = template.split("/")
    if len(parts) > MAX_PARTS or any(part.strip() == "" or part[0] == "." for part in parts):
        raise InvalidInputError(
            f"name: {template!r} has more than {MAX_PARTS} parts, or one that is empty or starts "
            f"with a dot. {_REMEDY}"
        )
    return template


def check_distinct(template: str, count: int) -> None:
    """Refuse a template that would call several files of one output by the same name.

    :raises InvalidInputError: names the remedy.
    """
    if count > 1 and not DISTINCT & set(_fields(template)):
        raise InvalidInputError(
            f"name: {template!r} would call {count} files by one name; add {{n}}, the number of "
            "the file, from 0."
        )


def file_name(template: str, *, prediction_id: str, n: int, ext: str, sha256: str) -> str:
    """Name one file: relative, with ``/``, each part safe and bounded.

    :param template: as :func:`check_name` takes it.
    :raises InvalidInputError: the template cannot be used.
    """
    values = {"prediction_id": safe_name(prediction_id), "ext": safe_name(ext), "sha256": safe_name(sha256)}
    whole = check_name(template).format(**values, n=n)
    return "/".join(_part(part) for part in whole.split("/"))


def _fields(template: str) -> list[str]:
    """Return the fields of a template, each a plain name; only ``n`` may have a width."""
    try:
        parsed = [piece[1:] for piece in Formatter().parse(template) if piece[1] is not None]
    except ValueError:
        raise InvalidInputError(f"name: {template!r} has an unmatched brace. {_REMEDY}") from None
    for name, spec, conversion in parsed:
        good = name in FIELDS and not conversion and (not spec or name == "n")
        if not good or not _SPEC.fullmatch(spec or ""):
            known = ", ".join(f"{{{known}}}" for known in FIELDS)
            raise InvalidInputError(
                f"name: unknown field {{{name}}} in {template!r}; the fields are {known}, and {{n:03}} "
                "for three digits."
            )
    return [str(name) for name, _, _ in parsed]


def safe_name(value: str) -> str:
    """Return a value from outside so that it can be a part of a name, and none above it."""
    return _ODD.sub("_", value[:MAX_PART].replace("/", "_"))


def task_of(row: Any) -> dict[str, Any]:
    """Return what identifies a task instance."""
    return {name: getattr(row, name) for name in TASK}


def owner_of(ti: Any) -> str:
    """Return a name for the run of a task that can be the name of a folder."""
    whole = json.dumps([ti.dag_id, ti.task_id, ti.run_id, ti.map_index])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def record_name(ti: Any) -> str:
    """Return the name of a task's record: for people to read, and one for each run and map index."""
    task = f"{ti.task_id}.{ti.map_index}" if ti.map_index >= 0 else ti.task_id
    return f"{_part(ti.dag_id)}/{_part(ti.run_id)}/{_part(task)}-{owner_of(ti)}.json"


def _part(part: str) -> str:
    """Return one part without a parent folder, hidden names and what a storage interprets."""
    plain = re.sub(r"^\.+", "_", _ODD.sub("_", part).strip(" ")) or "_"
    if len(plain.encode()) <= MAX_PART:
        return plain
    # Shortened, with a digest of the whole, so that different names stay different.
    stem, dot, ext = plain.rpartition(".")
    ending = f".{ext}" if dot and len(ext.encode()) <= 16 else ""
    digest = hashlib.sha256(plain.encode()).hexdigest()[:12]
    start = (stem if ending else plain).encode()[: MAX_PART - 32]
    return f"{start.decode(errors='ignore')}-{digest}{ending}"
