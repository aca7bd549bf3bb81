"""Checking the operators' arguments, as far as they are known, when a DAG is parsed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from inspect import signature
from typing import Any, NamedTuple

from pydantic import BaseModel

from airflow_provider_quickrouter.api.attachments import (
    check_not_a_task,
    is_template,
    leaves,
    read_later,
)
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.inputs import as_dict, check_input, with_files
from airflow_provider_quickrouter.api.protocol import Request, check_cancel_after, create
from airflow_provider_quickrouter.api.references import check_reference
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.polling.poll import LONGEST
from airflow_provider_quickrouter.storage.target import check_path


def reference_of(task: Any) -> dict[str, Any]:
    """Return what a task names its model by, as arguments of ``create``."""
    return {"version": task.version, "model": task.model, "deployment": task.deployment}


def check_create(input: Any, *, cancel_after: Any = None, **reference: Any) -> None:
    """Check what a create is made of; what still is a template is left for later.

    :param reference: ``version``, ``model`` or ``deployment``.
    :raises InvalidInputError: names the field and the remedy.
    """
    check_cancel_after(cancel_after)
    check_not_a_task("input", input)
    if is_template(reference):
        return
    model = check_reference(**reference)
    if isinstance(input, dict):
        templates = {name for name, value in input.items() if is_template(value)}
        check_input(input, model, templates, read_later)


class Alternative(NamedTuple):
    """One of the models that a task tries; ``input`` is its own, None for that of the task."""

    reference: dict[str, Any]
    input: Any = None


def alternatives(reference: dict[str, Any]) -> list[Alternative]:
    """Return the models that a task tries, in this order: one, unless a list is given.

    An entry of a list is a reference, or a pair of a reference and its own input. In a list of
    ``model`` a reference with a version id counts as ``version``.
    """
    given = {name: value for name, value in reference.items() if value}
    found = []
    for name, listed in given.items():
        for entry in listed if isinstance(listed, list | tuple) else ():
            is_pair = isinstance(entry, list | tuple) and len(entry) == 2
            value, own = entry if is_pair else (entry, None)
            kind = "version" if name == "model" and ":" in str(value) else name
            found.append(Alternative({kind: value}, own))
    return found if found and len(given) == 1 else [Alternative(given)]


def check_alternatives(input: Any, *, cancel_after: Any = None, **reference: Any) -> list[Any]:
    """Check each model that a task may try like :func:`check_create`; return their inputs.

    :raises InvalidInputError: names the entry of the list, the field and the remedy.
    """
    listed, inputs = alternatives(reference), []
    for index, (each, own) in enumerate(listed):
        given = input if own is None else own
        try:
            inputs.append(given if is_template(given) else as_dict(given))
            check_create(inputs[-1], cancel_after=cancel_after, **each)
        except InvalidInputError as error:
            if len(listed) == 1:
                raise
            raise InvalidInputError(f"entry {index} of the list of models: {error}") from None
    return inputs


def check_durable(durable: Any) -> None:
    """Check where a task stores its record: True, False, or a folder of a storage.

    :raises InvalidInputError: names the remedy.
    """
    if isinstance(durable, bool):
        return
    if is_template(str(durable)):
        raise InvalidInputError(
            f"durable: {durable!r} is a template, which is not rendered here; give a constant folder. "
            "Each run and task has a record of its own in it."
        )
    check_path("durable", durable)


def check_names(given: Iterable[str], callee: Any) -> None:
    """Refuse an argument that a function, or a class of tasks, does not take.

    :raises InvalidInputError: as Airflow's exception; names the argument that is likely meant.
    """
    known = _names_of(callee)
    for name in given if known else ():
        if name in known or name.startswith("_"):  # Airflow itself passes some with an underscore
            continue
        # Imported here: only a mistake needs them.
        import difflib

        from airflow_provider_quickrouter.api.model_inputs import INPUTS

        fields = {field for kind in INPUTS.values() for field in kind.model_fields if "input" in known}
        near = difflib.get_close_matches(name, known | fields, n=1, cutoff=0.5)
        place = "" if known.issuperset(near) else " in input={...}"
        remedy = f"did you mean {near[0]!r}{place}?" if near else "leave it out."
        with airflow_errors():
            raise InvalidInputError(f"unexpected argument {name!r}: {remedy}")


@cache
def _names_of(callee: Any) -> frozenset[str]:
    functions = [base.__init__ for base in getattr(callee, "__mro__", ())] or [callee]
    # An author's own class may take arguments that its signature does not name.
    if not functions[0].__module__.startswith("airflow_provider_quickrouter."):
        return frozenset()
    names = {name for function in functions for name in signature(function).parameters}
    return frozenset(names - {"self", "args", "kwargs"})


def check_template(field: str, value: Any, parse: Callable[[str], object]) -> None:
    """Refuse strings that Airflow could not render, such as ``{{ ds }``, at any depth.

    :param parse: of a Jinja environment.
    :raises InvalidInputError: names the field and the remedy.
    """
    for name, text in leaves(field, as_dict(value) if isinstance(value, BaseModel) else value):
        if not isinstance(text, str) or "{" not in text:
            continue
        try:
            parse(text)
        except Exception as error:  # noqa: BLE001  # Jinja's: Airflow, not this package, requires it
            raise InvalidInputError(
                f"{name}: {text!r:.200} is not a template ({error}). Close each {{{{ with }}}}; write "
                "braces that are meant as such with {% raw %}."
            ) from None


def check_reuse(reuse: Any, output_path: Any, input: Any) -> None:
    """Check whether an earlier prediction may be reused; a template in the input is left for later.

    :raises InvalidInputError: names the remedy.
    """
    if reuse not in (False, True, "any_seed"):
        raise InvalidInputError(f"reuse: {reuse!r} is none of True, False, 'any_seed'.")
    if reuse and output_path is None:
        raise InvalidInputError("reuse: needs output_path=, the folder in which the files are stored.")
    if reuse is True and isinstance(input, Mapping) and input.get("seed") is None:
        raise InvalidInputError(
            "reuse: the input has no seed, so each prediction is another picture. Set input.seed, or "
            "reuse='any_seed' to take the stored picture whatever its seed is."
        )


def check_creates(inputs: Any, **reference: Any) -> None:
    """Check the inputs of a batch, each like :func:`check_create`.

    :raises InvalidInputError: names the index, the field and the remedy.
    """
    if not isinstance(inputs, list | tuple):
        return
    for index, given in enumerate(inputs):
        if not is_template(given) or isinstance(given, dict):
            with naming(index):
                check_create(as_dict(given), **reference)


def create_unread(given: Any, *, cancel_after: Any = None, **reference: Any) -> Request:
    """Return a create request with the paths of files in object storage in place of their content.

    :raises InvalidInputError: names the field and the remedy.
    """

    def path(field: str, location: str) -> str:
        return f"data:{read_later(field, location)}"

    values = with_files(given, check_reference(**reference), path)
    return create(values, **reference, cancel_after=cancel_after)


def checked_list(inputs: Any, **reference: Any) -> list[Any]:
    """Return what came for a list, an XCom of mapped tasks for instance, as one.

    :raises InvalidInputError: it is none, or one of it cannot be sent; names the index.
    """
    check_reference(**reference)
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise InvalidInputError(f"inputs: must be a list of dicts or models, not {type(inputs).__name__}.")
    rendered = list(inputs)
    for index, given in enumerate(rendered):
        with naming(index):
            create_unread(given, **reference)
    return rendered


@contextmanager
def naming(index: int) -> Iterator[None]:
    """Name the input in an error about it."""
    try:
        yield
    except InvalidInputError as error:
        text = str(error)
        if not text.startswith("input"):
            raise
        raise InvalidInputError(f"inputs[{index}]{text.removeprefix('input')}") from None


def positive(name: str, number: Any, least: float = 1) -> float:
    """Return a number if it is 1, or another least number, or more.

    :raises InvalidInputError: it is not; names the argument.
    """
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number < LONGEST:
        raise InvalidInputError(f"{name}: must be a number from {least} on, got {number!r}.")
    return number


def check_choice(name: str, value: Any, *choices: str) -> None:
    """Refuse a word that is none of the choices.

    :raises InvalidInputError: names the argument and the choices.
    """
    if value not in choices:
        raise InvalidInputError(f"{name}: {value!r} is none of {', '.join(map(repr, choices))}.")


def check_flag(name: str, value: Any) -> bool:
    """Return True or False; raise ``InvalidInputError`` for other values, such as the string "false"."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name}: must be True or False, got {value!r}.")
    return value


def seconds(name: str, limit: Any) -> float:
    """Return a limit, given as a number or as a timedelta, in seconds.

    :raises InvalidInputError: it is none, or not above 0; names the argument.
    """
    number = limit.total_seconds() if isinstance(limit, timedelta) else limit
    good = isinstance(number, int | float) and not isinstance(number, bool)
    if not (good and 0 < number <= LONGEST):
        raise InvalidInputError(
            f"{name}: must be a number of seconds above 0 (at most {LONGEST:.0e}) or a timedelta, "
            f"got {limit!r}."
        )
    return float(number)
