"""The lines of a batch, as its record tells of them: one fold of the record's entries.

An entry is a small JSON object about a line ``i``, or about the whole batch. No input is in it.

==================================  =====================================================
Entry                               Means
==================================  =====================================================
``{"try", "max_tries", "at",        a try of the task begins (epoch seconds), after a person's
"cleared", "anew"}``                clear maybe; nothing that was before counts any more
``{"i", "f", "at"}``                a create is about to be sent: the intent; ``f`` is the
                                    beginning of the request's fingerprint
``{"i", "id"}``                     it was accepted
``{"i", "no"}``                     it was not accepted, or is to be made anew
``{"i", "end", "retry"}``           it has ended: the line of the results
``{"stop"}``                        why no more were submitted: ``QuickRouterError.to_payload``
``{"done"}``                        the task is about to succeed
==================================  =====================================================
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from sys import intern
from typing import Any

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.outcome import Reason
from airflow_provider_quickrouter.batch.summary import (
    KEEP,
    NOT_SUBMITTED,
    SUBMIT,
    UNCERTAIN,
    WAIT,
    End,
    Tally,
)

Entry = dict[str, Any]
Place = int
"""Where in the record an entry stands: a number that the record's keeper chooses."""

PRINT = 16
"""Hex digits of a fingerprint that an intent holds."""

_RETRY = (KEEP, SUBMIT, WAIT)


class State(IntEnum):
    """What is known of a line."""

    MISSING = 0
    SENDING = 1
    RUNNING = 2
    ENDED = 3


class Lines:
    """What is known of each line, in about 150 bytes each.

    :ivar max_tries: the task's limit of tries at the last try; it grows when a person clears it.
    :ivar began_at: when the first try began, epoch seconds; 0 if none did.
    :ivar done: the task was about to succeed.
    :ivar stopped: the error for which the last try submitted no more, as JSON.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.max_tries = 0
        self.began_at = 0.0
        self.done = False
        self.stopped: Mapping[str, Any] | None = None
        self.ids: list[str | None] = [None] * total
        self.begun = array("d", bytes(8 * total))
        self.places = array("q", bytes(8 * total))
        self._states = bytearray(total)
        self._retry = bytearray(total)
        self._words = [""] * total
        self._prints = array("Q", bytes(8 * total))
        self._known: set[str] = set()

    def take(self, entry: Mapping[str, Any], place: Place = 0) -> None:
        """Take in an entry of the record."""
        index = entry.get("i")
        if index is None:
            self._take_whole(entry)
        elif 0 <= index < self.total:
            self._take_line(index, entry, place)

    def known(self) -> set[str]:
        """All ids that belong to lines, or did before these were made anew."""
        return self._known

    def state(self, index: int) -> State:
        """Return what is known of a line."""
        return State(self._states[index])

    def those(self, state: State) -> Iterator[int]:
        """Return the lines in this state, first ones first; the states may change meanwhile."""
        return (index for index in range(self.total) if self._states[index] == state)

    def count(self, state: State) -> int:
        """How many lines are in this state."""
        return self._states.count(state)

    def ended(self) -> Tally:
        """Count the lines that have ended."""
        tally = Tally(self.total)
        for index in self.those(State.ENDED):
            tally.add(self._words[index], _RETRY[self._retry[index]])
        return tally

    def tally(self, stopped: QuickRouterError | None) -> Tally:
        """Count all lines, at the end of the batch; what has not ended counts as it is.

        :param stopped: why no more were submitted.
        """
        tally = self.ended()
        for index in range(self.total):
            if end := self.unfinished(index, stopped):
                tally.add(end.outcome, end.retry)
        return tally

    def cleared(self, max_tries: int) -> bool:
        """Whether a person has cleared the task since the last try."""
        return bool(self.began_at) and max_tries > self.max_tries

    def resume(self, print_of: Callable[[int], str], *, cleared: bool) -> Iterator[Entry]:
        """Return the entries with which a new try begins, about the lines that go on otherwise.

        What failed for a passing reason is made anew; so is, after a person's clear, all that did
        not succeed, and what has another input now.

        :param print_of: the beginning of the fingerprint of the line's request.
        """
        for index in range(self.total):
            state, retry = self.state(index), _RETRY[self._retry[index]]
            if state is State.MISSING:
                continue
            other = self._prints[index] != int(print_of(index), 16)
            bad = state is State.ENDED and self._words[index] != Reason.SUCCEEDED
            if other or (bad and retry != WAIT and (cleared or retry == SUBMIT)):
                yield {"i": index, "no": True}
            elif bad and retry == WAIT:
                yield {"i": index, "id": self.ids[index]}

    def results(self, stopped: QuickRouterError | None) -> Iterator[dict[str, Any] | Place]:
        """Return all lines of the results, in order: the line, or its place in the record.

        :param stopped: why no more were submitted.
        """
        for index, place in enumerate(self.places):
            end = self.unfinished(index, stopped)
            yield end.line if end else place

    def unfinished(self, index: int, stopped: QuickRouterError | None) -> End | None:
        """Say how a line stands that has not ended though the batch is over; None if it has."""
        match self.state(index):
            case State.ENDED:
                return None
            case State.SENDING:
                return End.without(index, UNCERTAIN, "the answer to its create was lost", WAIT)
            case State.RUNNING:
                end = End.without(index, Reason.API_ERROR, "it was not waited for", WAIT)
                return End(end.line | {"id": self.ids[index]}, end.retry)
        retry = SUBMIT if stopped is None or stopped.transient else KEEP
        return End.without(index, NOT_SUBMITTED, str(stopped or "the task ended before"), retry)

    def _forget(self) -> None:
        """Begin anew; ids stay known, lest one of them be taken for a new one."""
        known = self._known
        self.__init__(self.total)  # type: ignore[misc]
        self._known = known

    def _take_whole(self, entry: Mapping[str, Any]) -> None:
        if "try" in entry:
            if entry.get("anew"):
                self._forget()
            again = self.began_at and not entry.get("cleared")
            self.began_at = self.began_at if again else float(entry["at"])
            self.max_tries, self.stopped, self.done = int(entry["max_tries"]), None, False
        self.stopped = entry.get("stop", self.stopped)
        self.done = self.done or "done" in entry

    def _take_line(self, index: int, entry: Mapping[str, Any], place: Place) -> None:
        if "f" in entry:
            self._states[index], self.ids[index] = State.SENDING, None
            self._prints[index], self.begun[index] = int(entry["f"], 16), float(entry["at"])
        elif "id" in entry:
            self._states[index], self.ids[index] = State.RUNNING, entry["id"]
            self._known.add(entry["id"])
        elif "no" in entry:
            self._states[index], self.ids[index] = State.MISSING, None
        else:
            self._end(index, entry, place)

    def _end(self, index: int, entry: Mapping[str, Any], place: Place) -> None:
        end = entry["end"]
        self._states[index], self.ids[index] = State.ENDED, end["id"]
        self.places[index] = place
        self._words[index] = intern(end["outcome"])
        self._retry[index] = _RETRY.index(entry["retry"]) if entry["retry"] in _RETRY else 0
