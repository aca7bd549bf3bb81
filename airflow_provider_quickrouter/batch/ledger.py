"""What is known of each item of a batch, and what came of all of them: no storage, no clock.

The record's entries are folded into the state of the items. An entry is a small JSON object about
an item ``i``, or about the whole batch. No input is in it.

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

One line of the results, as JSON: ``index`` (of the input, from 0), ``id`` (null if there is no
prediction), ``outcome`` (a word of ``Reason`` or one of those below), ``output`` (a list, as a
waiting task returns it), ``error`` (text, "" for a success), ``completed_at`` and ``expires_at``
(ISO 8601 or null; the files are gone after the latter) and ``metrics``.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from sys import intern
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    BatchFailed,
    InvalidInputError,
    NotFoundError,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import truncated

REFUSED = "refused"
"""The API took the input for wrong: there is no prediction."""

UNCERTAIN = "uncertain"
"""Nobody knows whether the create was accepted: the prediction may run and be billed."""

NOT_SUBMITTED = "not_submitted"
"""It was not sent, or not accepted for a reason that has nothing to do with this input."""

KEEP, SUBMIT, WAIT = "keep", "submit", "wait"
"""What a scheduler's retry does about a line that has ended: nothing, make it anew, or ask on."""

_SHOWN = ("completed_at", "expires_at", "metrics")
FailOn = str | float


@dataclass(frozen=True)
class End:
    """How one line has ended, and what a retry does about it."""

    line: dict[str, Any]
    retry: str = KEEP

    @property
    def outcome(self) -> str:
        """Its word."""
        return str(self.line["outcome"])

    @classmethod
    def of(cls, index: int, outcome: Outcome) -> End:
        """Tell it from the end of a wait."""
        seen, error = outcome.prediction, outcome.exception()
        manifest: Mapping[str, Any] = seen.manifest("") if seen else {}
        text = manifest.get("error") or (str(error).splitlines()[0] if error else "")
        words = (outcome.prediction_id, str(outcome.reason), text)
        line = _line(index, *words, output=outcome.output if not error else [])
        return cls(line | {name: manifest.get(name) for name in _SHOWN}, _retry(outcome, error))

    @classmethod
    def without(cls, index: int, outcome: str, error: str, retry: str = KEEP) -> End:
        """Tell it of a line that has no prediction, as far as is known."""
        line = _line(index, None, outcome, error, output=[])
        return cls(line | dict.fromkeys(_SHOWN), retry)


def _line(
    index: int, prediction_id: str | None, outcome: str, error: str, output: list[Any]
) -> dict[str, Any]:
    return {
        "index": index,
        "id": prediction_id,
        "outcome": outcome,
        "output": output,
        "error": truncated(error),
    }


def _retry(outcome: Outcome, error: QuickRouterError | None) -> str:
    """Ask on about what could not be asked for, unless the API does not know it."""
    if outcome.reason is Reason.API_ERROR and not isinstance(outcome.error, NotFoundError):
        return WAIT
    return SUBMIT if error and error.resubmittable else KEEP


@dataclass
class Tally:
    """How many lines have ended, and how.

    :ivar passing: how many of the bad ends a retry of the task may turn into good ones.
    """

    total: int
    outcomes: Counter[str] = field(default_factory=Counter)
    passing: int = 0

    def add(self, outcome: str, retry: str = KEEP) -> None:
        """Count a line."""
        self.outcomes[outcome] += 1
        self.passing += retry != KEEP

    @property
    def done(self) -> int:
        """How many have ended."""
        return self.outcomes.total()

    @property
    def bad(self) -> int:
        """How many have ended otherwise than with an output."""
        return self.done - self.outcomes[Reason.SUCCEEDED]

    def summary(self, output_path: str, seconds: float) -> dict[str, Any]:
        """Make what the task returns; a small dict, however many lines there are."""
        return {
            "total": self.total,
            "succeeded": self.outcomes[Reason.SUCCEEDED],
            "outcomes": dict(self.outcomes),
            "output_path": output_path,
            "seconds": round(seconds, 1),
        }

    def verdict(
        self, fail_on: FailOn, output_path: str, stopped: QuickRouterError | None
    ) -> BatchFailed | None:
        """Return the error of the batch, or None: it has not failed.

        It is transient if a retry, which makes only the passing ones anew, may end otherwise.

        :param stopped: why the rest was not submitted; such a batch has failed in any case.
        """
        if not (stopped or _fails(fail_on, self.bad, self.total)):
            return None
        told = ", ".join(f"{number} {word}" for word, number in self.outcomes.most_common())
        why = f" It was not submitted as a whole: {stopped}" if stopped else ""
        transient = not _fails(fail_on, self.bad - self.passing, self.total)
        return BatchFailed(
            f"Of {self.total} predictions {self.bad} did not succeed ({told}); each line of "
            f"{output_path} says how its own has ended.{why}",
            transient=stopped.transient if stopped else transient,
            retry_after=stopped.retry_after if stopped else None,
        )


def check_fail_on(fail_on: Any) -> FailOn:
    """Return it if it is ``any``, ``all`` or a share.

    :raises InvalidInputError: it is none of them.
    """
    share = isinstance(fail_on, int | float) and not isinstance(fail_on, bool)
    if fail_on in ("any", "all") or (share and 0 <= fail_on < 1):
        return fail_on  # type: ignore[no-any-return]
    raise InvalidInputError(
        f"fail_on: {fail_on!r} is neither 'any' nor 'all' nor a share from 0 to below 1, such as "
        "0.05: the task fails if more than that share did not succeed."
    )


def _fails(fail_on: FailOn, bad: int, total: int) -> bool:
    if fail_on == "all":
        return 0 < total == bad
    share = fail_on if isinstance(fail_on, int | float) else 0.0
    return bad > share * total


@dataclass
class Pulse:
    """When to tell how far a batch is, and in which words.

    :param began: of this process, epoch seconds; ``done`` had ended then.
    """

    began: float
    done: int
    every: float = 10.0
    _told: float = 0.0

    def line(self, tally: Tally, in_flight: int, now: float) -> str | None:
        """Return the line for the log, or None: it is too soon for another."""
        if now < max(self.began, self._told) + self.every and tally.done < tally.total:
            return None
        self._told = now
        rate = (tally.done - self.done) / max(now - self.began, 1e-3)
        left = f", about {_span((tally.total - tally.done) / rate)} left" if rate else ""
        told = f"{tally.done} of {tally.total} done, {tally.bad} of them not well, {in_flight}"
        return f"{told} under way, {rate * 60:.0f} a minute{left}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


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
