"""An input, checked before anything is paid for, as the dict that is sent.

A field that a model's page does not list is sent as it is, unless its name is nearly that of a
listed one: then it is a typing error. Inputs of unknown models are sent as they are.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from airflow_provider_quickrouter.api.attachments import (
    ReadFile,
    refuse_file,
    replace_files,
    takes_file,
    with_paths,
)
from airflow_provider_quickrouter.api.errors import InvalidInputError


def check_input(
    input: Any, reference: str, ignore: Collection[str] = (), read: ReadFile = refuse_file
) -> dict[str, Any]:
    """Return the input as a plain dict, checked against the rules of a known model.

    Numbers that a template rendered as text become numbers.

    :param reference: as given to ``version=`` or ``model=``; an unknown one has no rules.
    :param ignore: fields not to check yet, because they are still templates.
    :param read: how a file in object storage is sent, see ``api.attachments``.
    :raises InvalidInputError: names field, value and rule; nothing was sent.
    """
    values = with_files(input, reference, read)
    for field, value in values.items():
        if value is None:
            raise InvalidInputError(f"input.{field}: is null, which the API does not accept; omit the field.")
    # Imported here, since making the models' classes takes a time that parsing should not pay.
    from airflow_provider_quickrouter.api.model_inputs import obey

    obeyed = obey(reference, values, ignore)
    for field in obeyed.keys() - set(ignore):
        _check_json(field, obeyed[field])
    return obeyed


def with_files(input: Any, reference: str, read: ReadFile) -> dict[str, Any]:
    """Return the input as a plain dict, with what ``read`` gives for each file of a storage."""
    from airflow_provider_quickrouter.api.model_inputs import file_fields

    return replace_files(as_dict(input), file_fields(reference), read)


def as_dict(input: Any) -> dict[str, Any]:
    """Return a dict's copy, or the fields that were set on a model of this module."""
    if isinstance(input, BaseModel):
        return _plain(input.model_dump(exclude_unset=True))
    if isinstance(input, str) and input.lstrip().startswith("{"):
        input = _parsed(input)
    if not isinstance(input, Mapping) or not all(isinstance(key, str) for key in input):
        raise InvalidInputError(
            f"input: must be a dict with text keys or a model of api.models, not {type(input).__name__}."
        )
    return _plain(dict(input))


def _parsed(rendered: str) -> Any:
    """Return the JSON object that a template rendered to."""
    try:
        return json.loads(rendered)
    except ValueError as error:
        raise InvalidInputError(f"input: is a string that is not a JSON object ({error}).") from None


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: with_paths(value, takes_file(name)) for name, value in values.items()}


def _check_json(field: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InvalidInputError(
            f"input.{field}: must be JSON (strings, numbers, lists, dicts), got {value!r:.100}."
        ) from None
