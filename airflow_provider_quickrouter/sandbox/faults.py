"""The faults of a gateway as data: each field of :class:`Faults` is one fault.

A field with its default value has no effect. The values are checked when they are created, from
the command line, a header, an input or JSON, so that a mistyped fault raises an error and cannot
make a test pass. This module only describes faults; other modules apply them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Final

RATE_LIMITS = ("header", "date", "body", "text", "bare")
BODIES = ("html", "cut", "empty", "sparse")
ODD_RESPONSES = (
    "unauthorized",
    "forbidden",
    "challenge_page",
    "not_found",
    "not_found_page",
    "not_found_text",
    "not_allowed_page",
    "moved",
)
POISONED = ("output", "error", "logs", "metrics", "header", "everywhere")


class FaultError(ValueError):
    """A fault with an unknown name or an invalid value; the message lists the valid ones."""


# Not None: JSON's null is a valid output.
class Unset(Enum):
    """The type of :data:`UNSET`, which is different from every JSON value."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Kind:
    """The valid values of a fault: ``wording`` describes them, ``good`` checks them."""

    wording: str
    good: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Return whether a value is a number in JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)  # a bool is an int


def _is_words(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, dict) and all(isinstance(word, str) for word in value.values())
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_odd_gets(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"response", "seconds"} <= set(value) <= {"response", "seconds", "after"}
        and value["response"] in ODD_RESPONSES
        and SECONDS.good(value["seconds"])
        and _is_count(value.get("after", 0))
    )


def _is_hung_gets(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"times", "seconds"}
        and _is_count(value["times"])
        and SECONDS.good(value["seconds"])
    )


def _one_of(words: tuple[str, ...]) -> Kind:
    return Kind(f"one of {', '.join(words)}", lambda value: value in words)


SECONDS = Kind("a number of seconds, 0 or more", lambda value: is_number(value) and value >= 0)
STATUS = Kind("an HTTP status, 200 to 599", lambda value: is_number(value) and value in range(200, 600))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
STRING = Kind("a non-empty string", lambda value: isinstance(value, str) and value != "")
WORDS = Kind('a string, or an object such as {"processing": "IN_PROGRESS"}', _is_words)
JSON = Kind("any JSON", lambda value: True)
OFFSET = Kind("a number of seconds, which may be negative", is_number)
ODD_GETS = Kind(
    'an object such as {"response": "forbidden", "seconds": 5, "after": 1}, with a response of '
    f"{', '.join(ODD_RESPONSES)}",
    _is_odd_gets,
)
HUNG_GETS = Kind('an object such as {"times": 2, "seconds": 30}', _is_hung_gets)


def _fault(kind: Kind, default: Any = None) -> Any:
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults to simulate. Durations are in seconds; statuses are HTTP statuses.

    Faults of the connection and of the response:

    * ``latency``: wait before the request is handled. ``hang``: handle it, then delay the response.
    * ``status``: respond with this status and an HTML page; nothing is accepted.
    * ``accepted_status``: a POST is executed, but the response has this status and an HTML page (the
      JSON for 2xx).
    * ``drop``: close the connection ``"before"`` or ``"after"`` handling, without a response.
    * ``rate_limit``: 429 with the delay in ``"header"`` (seconds), ``"date"`` (header with an HTTP
      date), ``"body"`` (``retry_after``), ``"text"`` or not at all (``"bare"``); ``retry_after`` is
      that delay (default 1).
    * ``quota``: 403 ``insufficient_user_quota``. ``no_channel``: 503 ``model_not_found``.
    * ``dressed``: HTTP 200 with ``{"success": false}``; nothing is accepted.
    * ``body``: the body of a successful response is an ``"html"`` page, JSON ``"cut"`` in half,
      ``"empty"``, or ``"sparse"``: only ``id``, ``status`` and ``output``.
    * ``odd_response``: a response without information about a prediction; nothing is executed.
      ``"unauthorized"`` is 401 and ``"forbidden"`` 403 as JSON, ``"challenge_page"`` a firewall's
      403 page, ``"not_found"`` 404 as JSON, ``"not_found_page"`` and ``"not_found_text"`` 404 as
      HTML and as text, ``"not_allowed_page"`` a 405 page, ``"moved"`` a 302 to ``/login``.
    * ``clock_skew``: the server's clock differs by this from the true time. It applies to all times
      in a response, its headers included; ``GET /sandbox/...`` reports true times.
    * ``redirect``: respond with 302 to this URL. ``no_cancel``, ``no_list``: the cancel route, or the
      list of predictions, responds with this status.

    Faults of the prediction:

    * ``starting``, ``processing``: how long it is in these states. ``never``: it does not finish.
    * ``fail``: it fails with this error.
    * ``output``: it succeeds with this JSON instead of pictures.
    * ``status_word``: the word for ``succeeded``, or an object of state to word.
    * ``not_found_for``: a GET gets 404 for so long after the create.
    * ``odd_gets``: its GETs get an ``odd_response`` for some seconds: ``{"response": "forbidden",
      "seconds": 5, "after": 1}``. They start with the first GET after so many successful ones
      (default: 0), and end with a restart of the sandbox.
    * ``hung_gets``: the responses to its first GETs are delayed: ``{"times": 2, "seconds": 30}``, or
      until the client closes the connection. A restart of the sandbox ends this, too.
    * ``poison``: a part of it contains NUL and half a surrogate pair: its ``"output"`` (next to the
      pictures), its ``"error"``, its ``"logs"``, its ``"metrics"`` (these have NaN and an integer
      beyond 64 bits as well), or ``"everywhere"``, which includes ``"header"``: bytes that are not
      UTF-8 in the header ``X-Oneapi-Request-Id``.
    * ``evil_urls``: the host (or base URL) in ``urls.*``.
    * ``expire_after``: output, logs and files are deleted so long after completion (default: 1 h).

    :raises FaultError: a field has an invalid value.
    """

    latency: float | None = _fault(SECONDS)
    hang: float | None = _fault(SECONDS)
    status: int | None = _fault(STATUS)
    accepted_status: int | None = _fault(STATUS)
    drop: str | None = _fault(_one_of(("before", "after")))
    rate_limit: str | None = _fault(_one_of(RATE_LIMITS))
    retry_after: float | None = _fault(SECONDS)
    quota: bool = _fault(FLAG, False)
    no_channel: bool = _fault(FLAG, False)
    dressed: bool = _fault(FLAG, False)
    body: str | None = _fault(_one_of(BODIES))
    odd_response: str | None = _fault(_one_of(ODD_RESPONSES))
    clock_skew: float | None = _fault(OFFSET)
    redirect: str | None = _fault(STRING)
    no_cancel: int | None = _fault(STATUS)
    no_list: int | None = _fault(STATUS)
    starting: float | None = _fault(SECONDS)
    processing: float | None = _fault(SECONDS)
    never: bool = _fault(FLAG, False)
    fail: str | None = _fault(STRING)
    output: Any = field(default=UNSET, metadata={"kind": JSON})
    status_word: str | Mapping[str, str] | None = _fault(WORDS)
    not_found_for: float | None = _fault(SECONDS)
    odd_gets: Mapping[str, Any] | None = _fault(ODD_GETS)
    hung_gets: Mapping[str, Any] | None = _fault(HUNG_GETS)
    poison: str | None = _fault(_one_of(POISONED))
    evil_urls: str | None = _fault(STRING)
    expire_after: float | None = _fault(SECONDS)

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            kind = KINDS[name]
            if not kind.good(value):
                raise FaultError(f"fault {name!r} must be {kind.wording}, got {value!r}")

    def given(self) -> dict[str, Any]:
        """Return the fields that are not at their defaults."""
        # DEFAULTS and not fields(): the API answers thousands of requests a second.
        values = ((name, getattr(self, name), default) for name, default in DEFAULTS)
        return {name: value for name, value, default in values if value != default}

    def __or__(self, other: Faults) -> Faults:
        """Return these faults, overridden by those of ``other``."""
        if other is NONE or self is NONE:  # the usual case, without a comparison for each request
            return self if other is NONE else other
        return replace(self, **other.given())

    def only(self, names: frozenset[str]) -> Faults:
        """Return only the named ones of these faults."""
        if self is NONE:
            return NONE
        return Faults(**{name: value for name, value in self.given().items() if name in names})


KINDS: Final[dict[str, Kind]] = {f.name: f.metadata["kind"] for f in fields(Faults)}
DEFAULTS: Final[tuple[tuple[str, Any], ...]] = tuple((f.name, f.default) for f in fields(Faults))
NONE: Final = Faults()

# Faults of a create request that apply to its prediction, however they were set: the fields from
# ``starting`` on.
LASTING = frozenset(list(KINDS)[list(KINDS).index("starting") :])
# Faults of a request and of its response.
OF_RESPONSES = frozenset(KINDS) - LASTING
# Faults that apply to a prediction if its own input sets them.
OWN = LASTING | {"latency", "hang", "no_cancel"}


def parse_faults(values: object) -> Faults:
    """Read faults from a JSON object.

    :raises FaultError: it is not an object, or has an unknown name or an invalid value.
    """
    if not isinstance(values, dict):
        raise FaultError(f'faults must be an object such as {{"status": 502}}, got {values!r}')
    for name in values:
        if name not in KINDS:
            raise FaultError(f"unknown fault {name!r}; choose from: {', '.join(KINDS)}")
    return Faults(**values)


def own_faults(given: Any) -> Faults:
    """Return the faults that an input sets under the name ``sandbox``.

    :raises FaultError: as :func:`parse_faults`.
    """
    if isinstance(given, dict) and given.get("sandbox") is not None:
        return parse_faults(given["sandbox"])
    return NONE


def parse_fault_options(options: Iterable[str]) -> Faults:
    """Read faults from ``name=value`` strings; ``name`` alone means true.

    :raises FaultError: as :func:`parse_faults`.
    """
    values: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        values[name] = text if equals else True
        if equals and KINDS.get(name) is not STRING:  # a string needs no quotes, not even "404"
            with suppress(ValueError):
                values[name] = json.loads(text)
    return parse_faults(values)
