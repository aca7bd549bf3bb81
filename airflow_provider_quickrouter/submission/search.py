"""Whether a create request without a response was accepted: what the API's list shows of it.

Replicate lists predictions with their inputs, newest first. An entry of the same model and input
that was created since the request, and belongs to no other item, is the lost prediction. Which of
two equal inputs it belongs to makes no difference. If the list reaches back to before the request
and has no such entry, the request was not accepted. Whatever is less clear stays uncertain: another
create request could pay twice.

The times on the list are the gateway's. Its clock, or its time zone, may be hours off, so times are
compared only within what :class:`Skew` has measured.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from airflow_provider_quickrouter.api.prediction import Prediction

LAG = 10.0
"""Seconds by which the list may lag behind a create request, or the API may take to accept it."""

MARGIN = 60.0
"""Seconds by which times may be off beyond what was measured: clocks drift, and an earlier attempt
may have run on another machine."""

PAGES = 300
"""Pages that are read at most."""


@dataclass(frozen=True)
class UncertainCreate:
    """A create request without a response.

    :ivar index: of its item.
    :ivar begun_at: when its intent was stored, before it was sent; epoch seconds of this machine.
    """

    index: int
    input: Mapping[str, Any]
    begun_at: float


@dataclass(frozen=True)
class Page:
    """A page of the list.

    :ivar cursor: of the next, older page; None if this is the last one.
    :ivar received_at: epoch seconds of this machine.
    :ivar ahead: what :func:`seconds_ahead` returned for its response.
    """

    entries: Sequence[Mapping[str, Any]]
    cursor: str | None
    received_at: float
    ahead: float | None = None


@dataclass
class Skew:
    """By how many seconds the gateway's clock is ahead of this machine's, as two bounds.

    Each entry was created before its page was received, which gives the lower bound. Each known
    prediction was created after the intent of its item was stored, which gives the upper bound.
    Neither needs an assumption about the clocks. Where no known prediction was seen, the ``Date``
    of the response stands for the upper bound. It does not stand for the lower one: the times of
    entries may be in another time zone.

    :ivar date: what :func:`seconds_ahead` returned for the first page; None if it had no ``Date``.
    """

    date: float | None = None
    _below: float = math.inf
    _above: float = -math.inf

    def see_page(self, received_at: float, created_at: float) -> None:
        """Take in that an entry had been created when its page was received."""
        self._above = max(self._above, created_at - received_at)

    def see_known(self, begun_at: float, created_at: float) -> None:
        """Take in when the prediction of a known item was begun here and created there."""
        self._below = min(self._below, created_at - begun_at)

    @property
    def is_measured(self) -> bool:
        """Whether there are bounds."""
        return math.isfinite(self.highest)

    @property
    def highest(self) -> float:
        """The upper bound; infinite if there is none."""
        if math.isfinite(self._below) or self.date is None:
            return self._below
        # Entries from the future show that their times and ``Date`` come from different clocks.
        return self.date if self._above <= self.date + MARGIN else math.inf

    @property
    def lowest(self) -> float:
        """The lower bound.

        If a clock was set meanwhile, the bounds may contradict each other. The smaller one then
        holds: it excludes fewer entries.
        """
        return min(self._above, self.highest)


class Likeness(Enum):
    """Whether an entry of the list is what a create request asked for."""

    SAME = auto()
    PERHAPS = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: str
    created_at: float | None
    is_same: bool


@dataclass
class Search:
    """One reading of the list for some create requests.

    :param reference: the batch's ``version`` or ``model``.
    :param known: ids that belong to items already.
    :param begun: when the intents of the known ids were stored, as far as that is recorded.
    """

    creates: list[UncertainCreate]
    reference: str
    known: Collection[str]
    begun: Mapping[str, float]
    skew: Skew = field(default_factory=Skew)
    _candidates: dict[int, list[_Candidate]] = field(default_factory=dict)
    _pages: int = 0
    _entries: int = 0
    _known_seen: bool = False
    _complete: bool = False

    def read(self, page: Page) -> bool:
        """Take in a page; return whether the next, older one must be read."""
        self._pages += 1
        self.skew.date = page.ahead if self.skew.date is None else self.skew.date
        for entry in page.entries:
            self._entries += 1
            if self._take(entry, page.received_at):
                self._complete = True
                return False
        self._complete = page.cursor is None
        return not self._complete and self._pages < PAGES

    def found(self) -> dict[int, str]:
        """Return the ids, by item, of what was accepted and is not known by now."""
        taken, result = set[str](), dict[int, str]()
        for create in self.creates:
            for candidate in self._open(create, taken):
                if candidate.is_same and self._is_since(candidate, create):
                    result[create.index] = candidate.id
                    taken.add(candidate.id)
                    break
        return result

    def lost(self) -> set[int]:
        """Return the items whose create requests were certainly not accepted."""
        shows_ours = self._known_seen or (self._entries > 0 and not self.known)
        if not (self._complete and shows_ours):
            return set()
        found = self.found()
        taken = set(found.values())
        rest = (create for create in self.creates if create.index not in found)
        return {create.index for create in rest if not any(self._open(create, taken))}

    def _take(self, entry: Mapping[str, Any], received_at: float) -> bool:
        """Take in an entry; return whether all later ones are too old to matter.

        Entries are read until a known one is met: it proves that ours are on the list.
        """
        prediction_id = str(entry["id"])
        known = prediction_id in self.known
        self._known_seen |= known
        created = Prediction.from_json(entry).created_at
        created_at = created.timestamp() if created else None
        if created_at is not None:
            self.skew.see_page(received_at, created_at)
            if known and prediction_id in self.begun:
                self.skew.see_known(self.begun[prediction_id], created_at)
            if created_at < self._oldest(self._first_begun_at):
                return self._known_seen or not self.known
        if not known:
            self._compare(entry, prediction_id, created_at)
        return False

    @property
    def _first_begun_at(self) -> float:
        return min(create.begun_at for create in self.creates)

    def _compare(
        self, entry: Mapping[str, Any], prediction_id: str, created_at: float | None
    ) -> None:
        # One object for all: where inputs are hidden, each entry is a candidate for each request.
        same = _Candidate(prediction_id, created_at, is_same=True)
        perhaps = replace(same, is_same=False)
        for create in self.creates:
            likeness = compare(entry, create.input, self.reference)
            if likeness is not Likeness.OTHER:
                candidate = same if likeness is Likeness.SAME else perhaps
                self._candidates.setdefault(create.index, []).append(candidate)

    def _open(self, create: UncertainCreate, taken: Collection[str]) -> Iterator[_Candidate]:
        """Return the entries that may be this item's prediction."""
        for candidate in self._candidates.get(create.index, ()):
            created_at = candidate.created_at
            older = created_at is not None and created_at < self._oldest(create.begun_at)
            # Its response may have come since the page was read.
            if not older and candidate.id not in self.known and candidate.id not in taken:
                yield candidate

    def _is_since(self, candidate: _Candidate, create: UncertainCreate) -> bool:
        """Whether an entry was created since the request, whatever the skew within its bounds."""
        created_at = candidate.created_at
        return created_at is None or created_at >= create.begun_at + self.skew.highest - MARGIN

    def _oldest(self, begun_at: float) -> float:
        """Return the gateway's time before which an entry was created before the request."""
        return begun_at + self.skew.lowest - MARGIN if self.skew.is_measured else -math.inf


def seconds_ahead(headers: Mapping[str, str], requested_at: float) -> float | None:
    """Return by how much the ``Date`` of a response is ahead of this machine's clock.

    :param headers: names in lower case.
    :param requested_at: when the request was sent, epoch seconds.
    """
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - requested_at
    except (TypeError, ValueError, OverflowError):
        return None


def compare(entry: Mapping[str, Any], given: Mapping[str, Any], reference: str) -> Likeness:
    """Compare an entry with what was requested. A file may have become a URL."""
    if not _same_model(entry, reference):
        return Likeness.OTHER
    theirs = entry.get("input")
    if not isinstance(theirs, Mapping):
        return Likeness.PERHAPS
    if not all(name in theirs and _alike(value, theirs[name]) for name, value in given.items()):
        return Likeness.OTHER
    return Likeness.SAME if len(theirs) == len(given) else Likeness.PERHAPS


def _alike(ours: Any, theirs: Any) -> bool:
    is_file = isinstance(ours, str) and ours.startswith("data:") and isinstance(theirs, str)
    return is_file or ours == theirs


def _same_model(entry: Mapping[str, Any], reference: str) -> bool:
    """Whether an entry may be of this model; what the API leaves out does not rule it out."""
    name, _, digits = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if "/" not in name:
        name, digits = "", reference
    model, version = entry.get("model"), str(entry.get("version") or "")
    if name and isinstance(model, str) and model:
        return model == name
    return not (digits and len(version) == len(digits)) or version == digits
