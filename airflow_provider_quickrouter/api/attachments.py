"""Files and templates in an input: where they are.

A field takes a file if the model's page says so. Of an unknown model, and of a field that is
not on the page, the name decides: one of its words is ``image``, ``img``, ``picture``, ``photo``,
``mask``, ``frame``, ``video``, ``audio``, ``file``, ``document``, ``pdf``, ``zip``, ``csv`` or ``mesh``,
and what follows it are numbers or the words ``input``, ``prompt``, ``reference``, ``url``, ``uri`` or
``path`` (each may have an s): ``image``, ``input_image``, ``image_1``, ``mask``, ``start_image``,
``reference_images``; but not ``num_images``, nor others that begin with ``num``, ``max`` or ``min``.

There a string with a scheme, other than http, https and data, is the path of a file, as
``ObjectStoragePath`` takes it: ``s3://conn_id@bucket/key``, ``file:///tmp/cat.png``. Anywhere
else it is a string. An ``ObjectStoragePath`` itself is a file also in fields of other names, but
not in a field that a known model's page lists as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_quickrouter.api.errors import InvalidInputError

# Returns what is sent for a file: takes the name of its field and its location.
ReadFile = Callable[[str, str], str]

_NOUNS = "(?:image|img|picture|photo|mask|frame|video|audio|file|document|pdf|zip|csv|mesh)s?"
_AFTER = r"_(?:\d+|(?:input|prompt|reference|url|uri|path)s?)"
_FILE_NAME = re.compile(rf"(?!num_|max_|min_)(?:.*_)?{_NOUNS}\d*(?:{_AFTER})*", re.I)
_LOCATION = re.compile(r"(?!https?://|data://)[a-z][a-z0-9+.-]*://.*", re.I | re.S)


# What a template renders to if its param is empty or missing, or its task pushed no XCom.
NOTHING = ("", "None", None)


def takes_file(name: str) -> bool:
    """Return whether a field of this name takes a file, judging by its name alone."""
    return _FILE_NAME.fullmatch(name) is not None


def takes_one_file(name: str) -> bool:
    """Return whether a field of this name takes one file and not a list of files."""
    return takes_file(name) and not re.search(r"[a-z]s(_|\d|$)", name, re.I)


def is_location(text: str) -> bool:
    """Whether a text looks like the path of a file in a storage."""
    return _LOCATION.fullmatch(text) is not None


def location_of(value: Any) -> str | None:
    """Return the text of an ``ObjectStoragePath``; None for anything else."""
    # By its looks, since nothing of Airflow is known here: what it has in 2.11 and in 3.3 alike.
    if not all(hasattr(type(value), name) for name in ("protocol", "path", "samestore")):
        return None
    text = str(value)
    return f"file://{text}" if text.startswith("/") else text


def check_not_a_task(argument: str, value: Any) -> None:
    """Refuse a task where its output is meant.

    :raises InvalidInputError: names the argument and the remedy.
    """
    for name, leaf in leaves(argument, value):
        if hasattr(type(leaf), "execute") and hasattr(type(leaf), "output"):
            raise InvalidInputError(f"{name}: is the task {leaf.task_id!r}; use its .output instead.")


def is_template(value: Any) -> bool:
    """Whether Airflow will put something else in this place, or in a part of it."""
    return any(
        "{{" in leaf or "{%" in leaf if isinstance(leaf, str) else hasattr(leaf, "resolve")
        for _, leaf in leaves("", value)
    )


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what dicts and lists hold at any depth, with its name; a path as its string."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(name, item)
    else:
        location = location_of(value)
        yield name, value if location is None else location


def without_missing(given: Mapping[str, Any], rendered: dict[str, Any]) -> dict[str, Any]:
    """Return a rendered input without the fields whose templates rendered to None; it itself if none did.

    A literal "None" stays: it is a value.

    :raises InvalidInputError: the prompt is missing or empty; without it a prediction is wasted.
    """
    missing = set()
    for name, value in rendered.items():
        template = given.get(name)
        if isinstance(template, dict | list | tuple) or not (is_template(template) and _is_nothing(value)):
            continue
        if name == "prompt":
            raise InvalidInputError(
                "input.prompt: its template rendered to nothing. The task that it names may be skipped, or "
                "the XCom, variable or param missing."
            )
        if value != "":
            missing.add(name)
    return {name: rendered[name] for name in rendered if name not in missing} if missing else rendered


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in NOTHING)


def with_paths(value: Any, is_file: bool = False) -> Any:
    """Return an input with the text of each ``ObjectStoragePath`` in a field named like a file.

    So Airflow shows the path. In other fields the object stays, since it alone shows that a file
    is meant.
    """
    if is_file and (location := location_of(value)) is not None:
        return location
    if isinstance(value, dict):
        return {key: with_paths(item, takes_file(str(key))) for key, item in value.items()}
    # Airflow fetches the XComs of a mapped task lazily: a sequence of its own.
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [with_paths(item, is_file) for item in value]
    return value


def replace_files(values: Mapping[str, Any], known: Mapping[str, bool], read: ReadFile) -> dict[str, Any]:
    """Return an input with what ``read`` gives in the place of each file of a storage.

    :param known: whether a field takes a file, of those that a model's page lists.
    """

    def replace(name: str, value: Any, is_file: bool) -> Any:
        if is_file and isinstance(value, list) and len(value) == 1 and takes_one_file(name):
            (value,) = value  # the output of another prediction is always a list
        location = location_of(value)
        if location is None and is_file and isinstance(value, str) and is_location(value):
            location = value
        if location is not None:
            return read(name, location)
        if isinstance(value, list | tuple):
            return [replace(f"{name}[{at}]", item, is_file) for at, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: replace(f"{name}.{key}", item, takes(key)) for key, item in value.items()}
        return value

    def takes(name: Any) -> bool:
        return takes_file(str(name))

    texts = {name for name, is_file in known.items() if not is_file}
    return {
        name: value if name in texts else replace(name, value, known.get(name) or takes(name))
        for name, value in values.items()
    }


def read_later(field: str, location: str) -> str:
    """Leave a file to be read when the task runs; a :data:`ReadFile`.

    :raises InvalidInputError: the location holds a password.
    """
    check_no_password(f"input.{field}", location)
    return location


def refuse_file(field: str, location: str) -> str:
    """Refuse a file in object storage; a :data:`ReadFile`."""
    raise InvalidInputError(
        f"input.{field}: {location} is in object storage, which is not read here; give an "
        "https URL (a presigned one, for instance) or a data: URI."
    )


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
    return location.partition("://")[2].partition("/")[0].rpartition("@")[0]
