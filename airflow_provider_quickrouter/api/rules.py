"""The rules of the known models, and what is said when an input breaks one."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.models import INPUTS, IS_FILE, ModelInput

_BY_PART = {part: kind for name, kind in INPUTS.items() for part in (name, *name.split(":"))}


def file_fields(reference: str) -> dict[str, bool]:
    """Tell of each field on a known model's page whether it takes a file."""
    kind = _BY_PART.get(reference)
    fields = kind.model_fields if kind else {}
    return {name: IS_FILE in field.metadata for name, field in fields.items()}


def obey(reference: str, values: dict[str, Any], ignore: Collection[str]) -> dict[str, Any]:
    """Return the values as a known model wants them; those of an unknown model as they are.

    :param ignore: fields not to check.
    :raises InvalidInputError: names field, value and rule.
    """
    kind = _BY_PART.get(reference)
    return _obey(kind, values, ignore) if kind else values


def _obey(
    kind: type[ModelInput], values: dict[str, Any], ignore: Collection[str]
) -> dict[str, Any]:
    for name in set(values) - set(kind.model_fields) - set(ignore):
        if near := difflib.get_close_matches(name, kind.model_fields, n=1, cutoff=0.8):
            raise InvalidInputError(f"input.{name}: is unknown; did you mean {near[0]!r}?")
    try:
        return kind.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        faults = [fault for fault in error.errors() if fault["loc"][0] not in ignore]
    if faults:
        raise InvalidInputError("; ".join(_sentence(fault) for fault in faults))
    return values


def _sentence(fault: Any) -> str:
    """One fault as ``input.width: 700: Input should be a multiple of 64``."""
    field, rule = fault["loc"][0], fault["msg"].removeprefix("Value error, ")
    value = "" if fault["type"] == "missing" else f"{fault['input']!r:.100}: "
    return f"input.{field}: {value}{rule}."
