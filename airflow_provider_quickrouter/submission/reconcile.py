"""Whether a create request without a response was accepted: what the API's list shows of it.

Replicate lists predictions with their inputs, newest first. An entry of the same model and input
that was created since the request, and belongs to no other item, is the lost prediction. Which of
two equal inputs it belongs to makes no difference. If the list reaches back to before the request
and has no such entry, the request was not accepted. Everything less clear stays uncertain: another
create request could pay twice. QuickRouter documents no list: every request stays uncertain there.

Wait ``LAG`` seconds after the request; then :meth:`Search.read_list` and :meth:`Search.result`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, NamedTuple

from airflow_provider_quickrouter.api.errors import QuickRouterError, backoff
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Request, Response, page, read_entries
from airflow_provider_quickrouter.api.references import DEPLOYMENTS
from airflow_provider_quickrouter.api.storable import mask_signatures

# Seconds by which the list may lag behind a create request, or the API may take to accept it.
LAG = 10.0

# Seconds by which times may be off beyond what was measured: clocks drift, and an earlier attempt
# may have run on another machine.
MARGIN = 60.0

PAGES = 300  # pages that are read at most
ATTEMPTS = 4  # how often a page is requested while the errors are transient
LONGEST_PAUSE = 60.0  # seconds between two of these requests


@dataclass(frozen=True)
class UncertainCreate:
    """A create request without a response.

    :ivar index: of its item, to name it in the result.
    :ivar started_at: when its intent was stored, before it was sent; epoch seconds of this machine.
    """

    index: int
    request: Request
    started_at: float


@dataclass(frozen=True)
class Result:
    """What the list shows.

    :ivar found: id by item, of what was accepted.
    :ivar lost: items of which nothing was accepted.
    :ivar unsure: items of which the list shows neither.
    """

    found: dict[int, str]
    lost: set[int]
    unsure: set[int]


@dataclass(frozen=True)
class Page:
    """A page of the list.

    :ivar cursor: of the next, older page; None if this is the last one.
    :ivar received_at: epoch seconds of this machine.
    :ivar ahead: by how many seconds the ``Date`` of the response was ahead of this machine's clock.
    """

    entries: Sequence[Mapping[str, Any]]
    cursor: str | None
    received_at: float
    ahead: float | None = None


@dataclass
class Skew:
    """By how many seconds the gateway's clock is ahead of this machine's, as two bounds.

    The gateway's clock, or its time zone, may be hours off. Each entry was created before its page
    was received, which gives the lower bound. Each known prediction was created after the intent
    of its item was stored, which gives the upper bound. Neither needs an assumption about the
    clocks. Where no known prediction was seen, the ``Date`` of the response is the upper
    bound. It is not the lower one: the times of entries may be in another time zone.

    :ivar date: what :func:`seconds_ahead` returned for the first page; None if it had no ``Date``.
    :ivar below: the skew is at most this, from known predictions.
    :ivar above: the skew is at least this.
    """

    date: float | None = None
    below: float = math.inf
    above: float = -math.inf

    @property
    def highest(self) -> float:
        """The upper bound; infinite if there is none."""
        if math.isfinite(self.below) or self.date is None:
            return self.below
        # Entries from the future show that their times and ``Date`` come from different clocks.
        return self.date if self.above <= self.date + MARGIN else math.inf

    @property
    def lowest(self) -> float:
        """The lower bound; minus infinity without an upper one."""
        if not math.isfinite(self.highest):
            return -math.inf
        # If a clock was set meanwhile, the bounds may contradict each other. The smaller one then
        # holds: it excludes fewer entries.
        return min(self.above, self.highest)


class Likeness(Enum):
    """Return whether an entry of the list matches a create request."""

    SAME = auto()
    PERHAPS = auto()
    OTHER = auto()


class _Candidate(NamedTuple):
    id: str
    created_at: float | None
    is_same: bool


@dataclass
class Search:
    """One reading of the list for some create requests.

    :param known: ids that belong to items already. Ids that are added to it until the result is
        made count, too: their responses came meanwhile.
    :param started: when the intents of the known ids were stored, as far as that is recorded.
    """

    creates: Sequence[UncertainCreate]
    known: Collection[str] = frozenset()
    started: Mapping[str, float] = field(default_factory=dict)
    skew: Skew = field(default_factory=Skew)
    _candidates: dict[int, list[_Candidate]] = field(default_factory=dict)
    _pages: int = 0
    _entries: int = 0
    _known_seen: bool = False
    _complete: bool = False

    def read_list(self, send: Callable[[Request], Response]) -> None:
        """Read as many pages as matter. Blocks; a list that cannot be read leaves all unsure.

        :param send: sends a request, and returns its response unread.
        """
        with suppress(QuickRouterError):
            page = _read_page(send, None)
            while self.read(page):
                page = _read_page(send, page.cursor)

    def read(self, page: Page) -> bool:
        """Take in a page; return whether the next, older one must be read."""
        self._pages += 1
        self.skew.date = page.ahead if self.skew.date is None else self.skew.date
        for entry in page.entries:
            self._entries += 1
            if self._is_last(entry, page.received_at):
                self._complete = True
                return False
        self._complete = page.cursor is None
        return not self._complete and self._pages < PAGES

    @property
    def was_read(self) -> bool:
        """Whether there is a list: at least one page was read."""
        return self._pages > 0

    @property
    def is_ambiguous(self) -> bool:
        """Whether several entries may be the prediction of one create request."""
        since = [list(self._open(create, ())) for create in self.creates]
        return any(len(candidates) > 1 for candidates in since)

    def result(self) -> Result:
        """Return what the list shows. Call it once all other create requests have a response."""
        taken, found = set[str](), dict[int, str]()
        for create in self.creates:
            since = create.started_at + self.skew.highest - MARGIN
            for candidate in self._open(create, taken):
                if candidate.is_same and (candidate.created_at is None or candidate.created_at >= since):
                    found[create.index] = candidate.id
                    taken.add(candidate.id)
                    break
        rest = [create for create in self.creates if create.index not in found]
        # An empty list, or one without any of ours, may be the list of something else.
        shows_ours = self._known_seen or (self._entries > 0 and not self.known)
        lost = set[int]()
        if self._complete and shows_ours:
            lost = {create.index for create in rest if not any(self._open(create, taken))}
        return Result(found, lost, {create.index for create in rest} - lost)

    def _is_last(self, entry: Mapping[str, Any], received_at: float) -> bool:
        """Take in an entry; return whether all later ones are too old to matter."""
        prediction_id, created = str(entry["id"]), Prediction.from_json(entry).created_at
        known = prediction_id in self.known
        self._known_seen |= known
        created_at = created.timestamp() if created else None
        if created_at is not None:
            self.skew.above = max(self.skew.above, created_at - received_at)
            if known and prediction_id in self.started:
                self.skew.below = min(self.skew.below, created_at - self.started[prediction_id])
            if created_at < self._oldest(min(create.started_at for create in self.creates)):
                # The list is read on until a known one proves that ours are on it.
                return self._known_seen or not self.known
        if not known:
            # One object for all: where inputs are hidden, each entry may be of each request.
            same = _Candidate(prediction_id, created_at, is_same=True)
            perhaps = same._replace(is_same=False)
            for create in self.creates:
                likeness = compare(entry, create.request)
                if likeness is not Likeness.OTHER:
                    candidate = same if likeness is Likeness.SAME else perhaps
                    self._candidates.setdefault(create.index, []).append(candidate)
        return False

    def _open(self, create: UncertainCreate, taken: Collection[str]) -> Iterator[_Candidate]:
        """Return the entries that may be this item's prediction."""
        oldest = self._oldest(create.started_at)
        for candidate in self._candidates.get(create.index, ()):
            older = candidate.created_at is not None and candidate.created_at < oldest
            if not older and candidate.id not in self.known and candidate.id not in taken:
                yield candidate

    def _oldest(self, started_at: float) -> float:
        """Return the gateway's time before which an entry was created before the request."""
        return started_at + self.skew.lowest - MARGIN


def find_prediction(send: Callable[[Request], Response], request: Request, started_at: float) -> str | None:
    """Look for the prediction of one create request without a response. Blocks, for about ``LAG``.

    Another task may have created an equal one at the same time: with two candidates it stays open
    which one is whose.

    :param started_at: when its intent was stored, before it was sent; epoch seconds.
    :return: its id; "" if the request was not accepted; None if the list does not show it.
    """
    create = UncertainCreate(0, request, started_at)
    due = time.time() + LAG
    while True:
        search = Search([create])
        search.read_list(send)
        result = search.result()
        if result.found and search.is_ambiguous:
            return None
        if result.found:
            return result.found[0]
        if not search.was_read or time.time() >= due:
            return "" if result.lost else None
        time.sleep(max(0.0, due - time.time()))


def _read_page(send: Callable[[Request], Response], cursor: str | None) -> Page:
    attempt = 1
    while True:
        requested_at = time.time()
        try:
            response = send(page(cursor))
            received_at = time.time()
            entries, older = read_entries(response, received_at)
            ahead = seconds_ahead(response.headers, requested_at)
            return Page(entries, older, received_at, ahead)
        except QuickRouterError as error:
            if not error.transient or attempt == ATTEMPTS:
                raise
            pause = min(error.retry_after or 0.0, LONGEST_PAUSE)
            time.sleep(backoff(attempt, LONGEST_PAUSE, first=2.0, minimum=pause))
            attempt += 1


def seconds_ahead(headers: Mapping[str, str], requested_at: float) -> float | None:
    """Return by how much the ``Date`` of a response is ahead of this machine's clock."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp() - requested_at
    except (TypeError, ValueError, OverflowError):
        return None


def compare(entry: Mapping[str, Any], request: Request) -> Likeness:
    """Compare an entry with what was requested. A file may have become a URL."""
    if not _same_model(entry, request.reference):
        return Likeness.OTHER
    given: Mapping[str, Any] = (request.body or {})["input"]
    theirs = entry.get("input")
    if request.signed:  # the URLs of an earlier attempt have other signatures
        given, theirs = json.loads(mask_signatures(json.dumps([given, theirs])))
    if not isinstance(theirs, Mapping):
        return Likeness.PERHAPS
    for name, ours in given.items():
        is_file = isinstance(ours, str) and ours.startswith("data:")
        became_url = is_file and isinstance(theirs.get(name), str)
        if name not in theirs or not (became_url or ours == theirs[name]):
            return Likeness.OTHER
    # The API may add defaults; then another input may have led to the same entry.
    # Which model a deployment runs is known to the API alone; it may name the deployment, though.
    name = request.reference.removeprefix(DEPLOYMENTS)
    named = name == request.reference or entry.get("deployment") in (name, name.partition("/")[2])
    return Likeness.SAME if named and len(theirs) == len(given) else Likeness.PERHAPS


def _same_model(entry: Mapping[str, Any], reference: str) -> bool:
    """Return whether an entry may be of this model, also where the API leaves the model out."""
    if reference.startswith(DEPLOYMENTS):
        return True
    name, _, digits = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if "/" not in name:
        name, digits = "", reference
    model, version = entry.get("model"), str(entry.get("version") or "")
    if name and isinstance(model, str) and model:
        return model == name
    return not (digits and len(version) == len(digits)) or version == digits
