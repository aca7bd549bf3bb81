"""Whether a create without an answer was accepted: what the API's list tells about it.

Replicate lists predictions with their inputs, newest first. An entry of the same model and input,
made since the create was begun, that is no other line's, is the lost one; which of two equal
inputs it was makes no difference. If the list reaches back to before the create and shows nothing
like it, the create was not accepted. Whatever is not as clear as that stays uncertain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from airflow_provider_quickrouter.api.prediction import Prediction

LAG = 10.0
"""Seconds by which the list may lag behind a create, or the API may be slow to accept it."""

SKEW = 60.0
"""Seconds by which the API's clock may differ from this one."""

PAGES = 300
"""Pages that are read at most."""


@dataclass(frozen=True)
class Doubt:
    """A create without an answer: of which line and input, and since when (epoch seconds)."""

    index: int
    input: Mapping[str, Any]
    since: float


class Likeness(Enum):
    """Whether an entry of the list is what a create asked for."""

    SAME = auto()
    PERHAPS = auto()
    OTHER = auto()


@dataclass
class Search:
    """One reading of the list for some creates.

    :param reference: the batch's ``version`` or ``model``.
    :param known: ids that belong to lines already.
    """

    doubts: list[Doubt]
    reference: str
    known: Collection[str]
    _same: dict[int, list[str]] = field(default_factory=dict)
    _perhaps: set[int] = field(default_factory=set)
    _pages: int = 0
    _entries: int = 0
    _known_seen: bool = False
    _complete: bool = False

    def read(self, entries: Iterable[Mapping[str, Any]], cursor: str | None) -> bool:
        """Take in a page; tell whether the next, older one is to be read."""
        self._pages += 1
        for entry in entries:
            self._entries += 1
            if self._take(entry):
                self._complete = True
                return False
        self._complete = cursor is None
        return not self._complete and self._pages < PAGES

    def found(self) -> dict[int, str]:
        """Return the ids of the lines whose creates were accepted, and are not known by now."""
        taken, result = set[str](), dict[int, str]()
        for doubt in self.doubts:
            free = (id for id in self._same.get(doubt.index, ()) if id not in self.known)
            fits = [id for id in free if id not in taken]
            if fits:
                result[doubt.index] = fits[0]
                taken.add(fits[0])
        return result

    def lost(self) -> set[int]:
        """Return the lines whose creates were certainly not accepted."""
        proven = self._known_seen or (self._entries > 0 and not self.known)
        if not (self._complete and proven):
            return set()
        return {doubt.index for doubt in self.doubts} - self.found().keys() - self._perhaps

    def _take(self, entry: Mapping[str, Any]) -> bool:
        """Take in an entry; tell whether the rest is too old to matter.

        It is read on until one of the known is met: that proves that ours are on the list.
        """
        known = entry["id"] in self.known
        self._known_seen |= known
        created = Prediction.from_json(entry).created_at
        instant = created.timestamp() if created else None
        if instant is not None and instant < self._since:
            return self._known_seen or not self.known
        if not known:
            self._compare(entry, instant)
        return False

    def _compare(self, entry: Mapping[str, Any], instant: float | None) -> None:
        for doubt in self.doubts:
            if instant is not None and instant < doubt.since - SKEW:
                continue
            likeness = compare(entry, doubt.input, self.reference)
            if likeness is Likeness.SAME:
                self._same.setdefault(doubt.index, []).append(str(entry["id"]))
            elif likeness is Likeness.PERHAPS:
                self._perhaps.add(doubt.index)

    @property
    def _since(self) -> float:
        return min(doubt.since for doubt in self.doubts) - SKEW


def compare(entry: Mapping[str, Any], given: Mapping[str, Any], reference: str) -> Likeness:
    """Tell how like an entry is to what was asked for. A file may have become a URL."""
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
    """Whether an entry may be of this model; what the API does not tell does not rule it out."""
    name, _, digits = reference.rpartition(":") if ":" in reference else (reference, "", "")
    if "/" not in name:
        name, digits = "", reference
    model, version = entry.get("model"), str(entry.get("version") or "")
    if name and isinstance(model, str) and model:
        return model == name
    return not (digits and len(version) == len(digits)) or version == digits
