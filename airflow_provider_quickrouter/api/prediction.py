"""A prediction as the API returns it: parsed at the edge, frozen.

This is the only place that knows which states are terminal, and what of a prediction goes
into XCom. Unknown states and fields are stored or ignored; they never become success.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow_provider_quickrouter.api.storable import mask_signatures, storable_string

# The start of a note that replaces what is too large for XCom.
LEFT_OUT = "[left out of XCom: "
# Characters of one string in the manifest; a longer one is replaced by a note of its size.
MAX_TEXT = 16_384
# Characters of the manifest's output, or metrics, as JSON; a note replaces more than that.
MAX_JSON = 65_536
# Values in the output, or metrics, which are not even looked at if there are more.
MAX_VALUES = MAX_JSON // 2
# Levels of lists and objects in the manifest's output; what is deeper is left out.
MAX_DEPTH = 20
# How long the API stores input, output, logs and files after a prediction has ended.
RETENTION = timedelta(hours=1)
# Seconds by which the API's clock may differ from this machine's.
CLOCK_SKEW = 300.0
# Characters of a status, model or version that are stored.
_LONGEST_WORD = 200
# The part of a log that is stored: it may have megabytes, and is searched later.
_END_OF_LOG = slice(-65_536, None)
# The part of an error that is stored, and of a log in which the seed is looked for.
_BEGINNING = slice(4_096)

_PRINTED_SEED = re.compile(r"(?i)\bseed\b[^\d\n-]{0,12}(-?\d{1,18})\b")
_DEEPEST_REASON = 5
_MOST_REASONS = 20
# Fields in which APIs put the reason of an error, the most specific first.
_REASONS = ("message", "detail", "description", "msg", "fail_reason", "errors")


class PredictionStatus(StrEnum):
    """Replicate's states, and ``UNKNOWN`` for a word that is not known."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABORTED = "aborted"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, word: object) -> PredictionStatus:
        """Read a state in any spelling: ``SUCCESS``, ``Cancelled``, ``in-progress``..."""
        plain = re.sub(r"[\s-]+", "_", str(word or "")[:_LONGEST_WORD].strip().casefold())
        return _SPELLINGS.get(plain, cls.UNKNOWN)

    @property
    def terminal(self) -> bool:
        """Whether this state is final. An unknown word is not."""
        return self not in (self.STARTING, self.PROCESSING, self.UNKNOWN)


_SPELLINGS = {
    word: status
    for status, words in {
        PredictionStatus.STARTING: "starting pending queued in_queue submitted created not_start",
        PredictionStatus.PROCESSING: "processing in_progress running",
        PredictionStatus.SUCCEEDED: (
            "succeeded succeed success successful completed complete finished done ready"
        ),
        PredictionStatus.FAILED: (
            "failed failure fail error timeout timed_out expired nsfw moderated content_moderated "
            "request_moderated"
        ),
        PredictionStatus.CANCELED: "canceled cancelled cancel",
        PredictionStatus.ABORTED: "aborted",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One response of the API about one prediction.

    :ivar raw_status: the state's word as the API spelled it.
    :ivar output: the API's JSON as it is; :attr:`items` is the list that tasks return.
    :ivar error: readable text, "" if there is none.
    :ivar logs: what the model printed, progress bars included.
    :ivar data_removed: the API has deleted input, output and files.
    :ivar seed: that of the input, or the one that the model chose and printed; with it the same
        input makes the same picture again.
    :ivar cost: in the unit of the connection's prices; None if it is not known, see ``api.prices``.
    """

    id: str
    status: PredictionStatus
    raw_status: str = ""
    output: Any = None
    error: str = ""
    model: str | None = None
    version: str | None = None
    deployment: str | None = None
    logs: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data_removed: bool = False
    seed: int | None = None
    cost: float | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Prediction:
        """Read any form of the API. Only ``id`` is required; the rest may be missing or invalid."""
        metrics = body.get("metrics")
        return cls(
            id=str(body["id"]),
            status=PredictionStatus.of(body.get("status")),
            raw_status=storable_string(str(body.get("status") or ""), _LONGEST_WORD),
            output=body.get("output"),
            error=reason_in(body.get("error") or body.get("fail_reason")),
            model=_word(body.get("model")),
            version=_word(body.get("version")),
            deployment=_word(body.get("deployment")),
            logs=_text(body.get("logs"), _END_OF_LOG),
            created_at=_time(body.get("created_at")),
            started_at=_time(body.get("started_at")),
            completed_at=_time(body.get("completed_at")),
            metrics=metrics if isinstance(metrics, dict) else {},
            data_removed=body.get("data_removed") is True,
            seed=_seed(body),
            cost=amount_of(body.get("cost")),  # of a manifest
        )

    @classmethod
    def from_id(cls, prediction_id: str) -> Prediction:
        """Return a prediction of which only the id is known."""
        return cls(id=prediction_id, status=PredictionStatus.UNKNOWN)

    @property
    def status_word(self) -> str:
        """The state for people and XCom: the normalised word, or the raw one if unknown."""
        known = self.status is not PredictionStatus.UNKNOWN
        return str(self.status) if known else self.raw_status or "unknown"

    @property
    def model_name(self) -> str:
        """The model, or else the version; "" if the API names neither."""
        return self.model or self.version or ""

    def of_model(self, reference: str) -> Prediction:
        """Return it with the version or model that was requested, if the API does not name the model."""
        if self.model or self.deployment:
            return self
        name, _, digits = reference.partition(":") if "/" in reference else ("", "", reference)
        return replace(self, model=name or None, version=self.version or digits or None)

    @property
    def items(self) -> list[Any]:
        """The output as a list: a lone item becomes a list of one, null becomes ``[]``.

        A null in a list keeps its place, such as that of a picture which a filter removed.
        """
        if isinstance(self.output, list):
            return self.output
        return [] if self.output is None else [self.output]

    @property
    def is_empty(self) -> bool:
        """Whether the output holds nothing at all, as ``null``, ``""``, ``[[null]]``, ``{"a": []}``."""
        return _is_empty(self.output)

    @property
    def output_for_xcom(self) -> list[Any]:
        """The items without ``data:`` URIs and very long strings: a note of their size instead."""
        return for_xcom(self.items)

    @property
    def expires_at(self) -> datetime | None:
        """When its files and data are deleted, or None while it has not ended."""
        return self.completed_at + RETENTION if self.completed_at else None

    def expired(self, now: float) -> bool:
        """Whether its output is gone because its hour is over (``now`` in epoch seconds)."""
        late = self.expires_at is not None and now >= self.expires_at.timestamp()
        return self.is_empty and (self.data_removed or late)

    def ended_between(self, start: float, end: float) -> Prediction:
        """Return it with an end in the time in which it was seen to end (epoch seconds).

        The API's clock may be wrong by hours, or the API returns no times. A difference of a few
        minutes does not matter.
        """
        reported = self.completed_at.timestamp() if self.completed_at else -math.inf
        if start - CLOCK_SKEW <= reported <= end + CLOCK_SKEW:
            return self
        return replace(self, completed_at=datetime.fromtimestamp(end, UTC))

    def manifest(self, url: str) -> dict[str, Any]:
        """Return the bounded JSON object that XCom holds under the key ``prediction``.

        :param url: where a person looks at the prediction.
        """
        metrics = {"note": f"{LEFT_OUT}more than {MAX_VALUES} metrics]"}
        if not _has_too_many(self.metrics):
            metrics = truncated(dict(self.metrics))
            length = len(json.dumps(metrics))
            metrics = metrics if length <= MAX_JSON else {"note": _note(f"metrics of {length}")}
        return {
            "id": self.id,
            "status": truncated(self.status_word),
            "output": self.output_for_xcom,
            "error": truncated(self.error),
            "model": truncated(self.model),
            "version": truncated(self.version),
            "deployment": truncated(self.deployment),
            "created_at": self.created_at and self.created_at.isoformat(),
            "started_at": self.started_at and self.started_at.isoformat(),
            "completed_at": self.completed_at and self.completed_at.isoformat(),
            "expires_at": self.expires_at and self.expires_at.isoformat(),
            "data_removed": self.data_removed,
            "metrics": metrics,
            "url": url,
            "seed": self.seed,
            "cost": self.cost,
        }


def for_xcom(items: list[Any]) -> list[Any]:
    """Return an output as XCom holds it: a note replaces what is too large for it."""
    if _has_too_many(items):
        return [f"{LEFT_OUT}output of more than {MAX_VALUES} values]"]
    copy: list[Any] = truncated(items)
    length = len(json.dumps(copy))
    return copy if length <= MAX_JSON else [_note(f"output of {length}")]


def truncated(value: Any, depth: int = 0) -> Any:
    """Copy JSON, with a note in place of each ``data:`` URI and of what is too long or too deep."""
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return f"{LEFT_OUT}more than {MAX_DEPTH} levels]"
    if isinstance(value, dict):
        return {truncated(str(key)): truncated(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [truncated(item, depth + 1) for item in value]
    if not isinstance(value, str):
        return value
    # A data: URI is a file: XCom holds what is known of it, storage holds its bytes.
    if value[:40].lstrip().casefold().startswith("data:"):
        return _note(f"data: URI of {len(value)}")
    return storable_string(value) if len(value) <= MAX_TEXT else _note(f"text of {len(value)}")


def _note(what: str) -> str:
    return f"{LEFT_OUT}{what} characters]"


def _has_too_many(value: Any) -> bool:
    """Whether JSON has more than ``MAX_VALUES`` values; stops there, since an event loop waits."""
    found, waiting = 0, [value]
    while waiting and found <= MAX_VALUES:
        value = waiting.pop()
        found += 1
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found > MAX_VALUES


def reason_in(error: object, depth: int = 0) -> str:
    """Return the readable reason that an ``error`` of any shape holds; "" if there is none.

    A list is joined; of an object the first of ``_REASONS`` that is not empty counts.
    """
    if isinstance(error, dict) and depth < _DEEPEST_REASON:
        named = next(filter(None, (error.get(name) for name in _REASONS)), None)
        return _text(error) if named is None else reason_in(named, depth + 1)
    if isinstance(error, list) and error and depth < _DEEPEST_REASON:
        reasons = (reason_in(item, depth + 1) for item in error[:_MOST_REASONS])
        return ", ".join(filter(None, reasons))[_BEGINNING]
    return _text(error)


def _text(value: object, part: slice = _BEGINNING) -> str:
    """Return a string, or any other JSON as text; "" for null.

    :param part: the characters that are stored: cut before anything searches in them.
    """
    if value is None or isinstance(value, str):
        return mask_signatures(storable_string((value or "")[part]))
    try:
        return mask_signatures(storable_string(json.dumps(value, ensure_ascii=False, default=str)[part]))
    except RecursionError:
        return "(nested too deeply to be shown)"


def _word(value: object) -> str | None:
    return storable_string(value, _LONGEST_WORD) if isinstance(value, str) and value else None


def _seed(body: Mapping[str, Any]) -> int | None:
    given = body.get("input")
    seed = body.get("seed", given.get("seed") if isinstance(given, dict) else None)
    if type(seed) is int:  # not a bool
        return seed if abs(seed) < 2**63 else None
    # A model that chose a seed itself prints it.
    printed = _PRINTED_SEED.search(_text(body.get("logs")))
    return int(printed[1]) if printed else None


def amount_of(value: object) -> float | None:
    """Return a number from 0 on of any JSON; None if it is not one, or too large."""
    try:
        number = float(str(value))  # as a string: a bool is not a number
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None  # a float of up to 1e9 has six exact decimal places


def _time(value: object) -> datetime | None:
    """RFC 3339 with any number of fractional digits; a time without a zone is UTC."""
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    if time.year in (MINYEAR, MAXYEAR):  # Go's "no time"; and no hour can be added to the last year
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _is_empty(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return depth < MAX_DEPTH and all(_is_empty(item, depth + 1) for item in value)
    return value is None or value == ""
