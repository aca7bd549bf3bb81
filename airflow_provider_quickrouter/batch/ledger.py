"""What is known of each item of a batch, and how all of them ended: no storage, no clock.

The record's entries are folded into the state of the items. An entry is a small JSON object about
an item ``i``, or about the whole batch. No input is in it.

==================================  =====================================================
Entry                               Means
==================================  =====================================================
``{"try", "max_tries", "at",        an attempt of the task starts (epoch seconds), perhaps after
"cleared", "anew"}``                a person's clear; ``anew``: nothing before it counts
``{"i", "f", "at"}``                a create request is about to be sent: the intent; ``f`` is
                                    the beginning of the request's fingerprint
``{"i", "id"}``                     it was accepted
``{"i", "no"}``                     it was not accepted, or is to be created again
``{"i", "end", "retry"}``           it has ended: the line of the results
``{"stop"}``                        why no more were submitted: ``QuickRouterError.to_payload``
``{"done"}``                        the task is about to succeed
==================================  =====================================================

An entry of an item may have ``cost``: that of its prediction, or while it runs the most.

One item of the results, as a line of JSON: ``index`` (of the input, from 0), ``id`` (null without a
prediction), ``outcome`` (a word of ``Reason`` or one of those below), ``output`` (a list of the
whole output), ``files`` (what is stored of it, as in XCom ``files``), ``error`` (a message, "" for
a success), ``completed_at`` and ``expires_at`` (ISO 8601 or null; the API has no files after the
latter), ``metrics`` and ``cost`` (or null). Lines of earlier versions lack ``files`` and ``cost``.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from sys import intern
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    BatchFailed,
    InvalidInputError,
    NotFoundError,
    PredictionExpired,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.files import StoredFile, counted
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import truncated

REFUSED = "refused"  # the input was refused, by the API or since a file is missing: nothing was created

# It is unknown whether the create request was accepted: the prediction may run and be billed.
UNCERTAIN = "uncertain"

# It was not sent, or not accepted for a reason that has nothing to do with this input.
NOT_SUBMITTED = "not_submitted"

# It succeeded, but not all of its files could be stored.
NOT_STORED = "not_stored"

# What a scheduler's retry does with an item that has ended: nothing, create it again, poll on.
KEEP, SUBMIT, WAIT = RETRY = ("keep", "submit", "wait")

MAX_FILES = 1000  # stored files of a batch that XCom and asset events hold

PRINT = 16  # hex digits of a fingerprint that an intent holds

FailOn = str | float
Entry = dict[str, Any]
Place = int  # where in the record an entry is: a number that `batch.journal` chooses


@dataclass(frozen=True)
class ItemResult:
    """How one item ended, and what a retry does with it.

    :ivar line: of the results.
    """

    line: dict[str, Any]
    retry: str = KEEP

    @property
    def outcome(self) -> str:
        """The word for it."""
        return str(self.line["outcome"])

    @classmethod
    def of(cls, index: int, outcome: Outcome) -> ItemResult:
        """Return the result of an item whose wait is over."""
        error, retry = outcome.exception(), KEEP
        seen = outcome.prediction
        if outcome.reason is Reason.API_ERROR and not isinstance(outcome.error, NotFoundError):
            retry = WAIT  # only polling failed: the prediction may still succeed
        elif error and error.resubmittable:
            retry = SUBMIT
        line = {
            "index": index,
            "id": outcome.prediction_id,
            "outcome": str(outcome.reason),
            # All of it: the limits of XCom do not apply to a file.
            "output": seen.items if seen and not error else [],
            "files": [],
            "error": truncated((seen and seen.error) or (str(error).splitlines()[0] if error else "")),
            "completed_at": seen and _iso(seen.completed_at),
            "expires_at": seen and _iso(seen.expires_at),
            "metrics": seen and dict(seen.metrics),
            "cost": seen and seen.cost,
        }
        return cls(line, retry)

    def with_files(self, files: Iterable[StoredFile]) -> ItemResult:
        """Return the result of a success with what was stored of it."""
        return replace(self, line=self.line | {"files": [file.to_json() for file in files]})

    def without_files(self, error: QuickRouterError) -> ItemResult:
        """Return the result of a success whose files could not all be stored."""
        line = self.line | {"outcome": NOT_STORED, "error": truncated(str(error))}
        if isinstance(error, PredictionExpired):
            line |= {"outcome": str(Reason.EXPIRED), "output": []}
        return ItemResult(line, WAIT if error.transient else KEEP)

    @classmethod
    def without_output(
        cls, index: int, outcome: str, error: str, retry: str = KEEP, id: str | None = None
    ) -> ItemResult:
        """Return the result of an item whose prediction, if there is one, was not seen to end."""
        line = {"index": index, "id": id, "outcome": outcome, "error": truncated(error)}
        unknown = dict.fromkeys(("completed_at", "expires_at", "metrics"))
        cost = None if id or outcome == UNCERTAIN else 0.0
        return cls({**line, "output": [], "files": [], **unknown, "cost": cost}, retry)


def add_files(files: list[dict[str, Any]], result: Mapping[str, Any]) -> None:
    """Add the stored files of a line to those that XCom holds, as far as there is room.

    :param result: the line; of an earlier version, it has no files.
    """
    own = [{**file, "prediction_id": result["id"]} for file in result.get("files", ())]
    files += own[: MAX_FILES - len(files)]


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


@dataclass
class Tally:
    """How many items have ended, and how.

    :ivar retriable: how many of the failed ones may succeed in a retry of the task.
    """

    total: int
    outcomes: Counter[str] = field(default_factory=Counter)
    retriable: int = 0

    def add(self, outcome: str, retry: str = KEEP) -> None:
        """Count an item."""
        self.outcomes[outcome] += 1
        self.retriable += retry != KEEP

    @property
    def done(self) -> int:
        """How many have ended."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """How many have ended without an output."""
        return self.done - self.outcomes[Reason.SUCCEEDED]

    def summary(self, output_path: str, seconds: float) -> dict[str, Any]:
        """Return the task's return value: a small dict, however many items there are."""
        return {
            "total": self.total,
            "succeeded": self.outcomes[Reason.SUCCEEDED],
            "outcomes": dict(self.outcomes),
            "output_path": output_path,
            "seconds": round(seconds, 1),
        }

    def failure(
        self, fail_on: FailOn, output_path: str, stopped: QuickRouterError | None
    ) -> BatchFailed | None:
        """Return the error of the batch, or None if it has not failed.

        :param stopped: why the rest was not submitted; such a batch has failed in any case.
        """
        if not (stopped or self._fails(fail_on, self.failed)):
            return None
        counts = ", ".join(f"{number} {word}" for word, number in self.outcomes.most_common())
        why = f" Not all items were submitted: {stopped}" if stopped else ""
        # A retry turns at best all retriable items into successes.
        transient = not self._fails(fail_on, self.failed - self.retriable)
        return BatchFailed(
            f"{self.failed} of {counted(self.total, 'prediction')} did not succeed ({counts}); the results "
            f"in {output_path} hold the error of each.{why}",
            transient=stopped.transient if stopped else transient,
            retry_after=stopped.retry_after if stopped else None,
        )

    def _fails(self, fail_on: FailOn, failed: int) -> bool:
        if fail_on == "all":
            return 0 < self.total == failed
        share = fail_on if isinstance(fail_on, int | float) else 0.0
        return failed > share * self.total


def check_fail_on(fail_on: Any) -> FailOn:
    """Return it if it is ``any``, ``all`` or a share; raise InvalidInputError otherwise."""
    share = isinstance(fail_on, int | float) and not isinstance(fail_on, bool)
    if fail_on in ("any", "all") or (share and 0 <= fail_on < 1):
        return fail_on  # type: ignore[no-any-return]
    raise InvalidInputError(
        f"fail_on: must be 'any', 'all' or a fraction of at least 0 and less than 1, such as 0.05 (the task "
        f"fails if more than this fraction of the inputs failed), got {fail_on!r}."
    )


def progress_line(tally: Tally, running: int, done: int, seconds: float) -> str:
    """Return a log line about how far the batch is.

    :param done: how many items have ended in the ``seconds`` since this process started.
    """
    rate = done / max(seconds, 1e-3)
    left = (tally.total - tally.done) / rate if rate else 0.0
    span = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
    counts = f"{tally.done} of {tally.total} done, {tally.failed} of them failed, {running}"
    estimate = f", about {span} left" if left else ""
    return f"{counts} running, {rate * 60:.0f} a minute{estimate}"


class State(IntEnum):
    """What is known of an item."""

    MISSING = 0
    SENDING = 1
    RUNNING = 2
    ENDED = 3


class Ledger:
    """What is known of each item, in about 150 bytes each.

    :ivar max_tries: the task's limit of attempts at the last attempt; a person's clear raises it.
    :ivar started_at: start of the first attempt, epoch seconds; 0 if none did.
    :ivar done: the task was about to succeed.
    :ivar stopped: the error after which the last attempt submitted no more, as JSON.
    :ivar ids: by item, None as long as it is unknown.
    :ivar started: by item, when its create request was started, epoch seconds.
    :ivar places: by item, where in the record its result is.
    :ivar cost: of the predictions of all attempts; of those that run, the most.
    :ivar known: all ids that belong to items, or did before these were created again.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.max_tries = 0
        self.started_at = 0.0
        self.done = False
        self.stopped: Mapping[str, Any] | None = None
        self.ids: list[str | None] = [None] * total
        self.started = array("d", bytes(8 * total))
        self.places = array("q", bytes(8 * total))
        self.known: set[str] = set()
        self.cost = Decimal(0)
        self._costs = array("d", bytes(8 * total))
        self._states = bytearray(total)
        self._retry = bytearray(total)
        self._outcomes = [""] * total
        self._prints = array("Q", bytes(8 * total))

    def take(self, entry: Mapping[str, Any], place: Place = 0) -> None:
        """Take in an entry of the record."""
        index = entry.get("i")
        if index is None:
            self._take_whole(entry)
        elif 0 <= index < self.total:
            self._take_item(index, entry, place)

    def state(self, index: int) -> State:
        """Return what is known of an item."""
        return State(self._states[index])

    def those(self, state: State) -> Iterator[int]:
        """Yield the items in this state, in order; the states may change meanwhile."""
        return (index for index in range(self.total) if self._states[index] == state)

    def count(self, state: State) -> int:
        """Return how many items are in this state."""
        return self._states.count(state)

    def running_ids(self) -> list[str]:
        """Return the ids of the predictions that run."""
        return [str(self.ids[index]) for index in self.those(State.RUNNING)]

    def ended(self) -> Tally:
        """Count the items that have ended."""
        tally = Tally(self.total)
        for index in self.those(State.ENDED):
            tally.add(self._outcomes[index], RETRY[self._retry[index]])
        return tally

    def tally(self, stopped: QuickRouterError | None) -> Tally:
        """Count all items at the end of the batch, see :meth:`unfinished`."""
        tally = self.ended()
        for index in range(self.total):
            if result := self.unfinished(index, stopped):
                tally.add(result.outcome, result.retry)
        return tally

    def results(self, stopped: QuickRouterError | None) -> Iterator[dict[str, Any] | Place]:
        """Yield all lines of the results, in order: the line, or its place in the record."""
        for index, place in enumerate(self.places):
            result = self.unfinished(index, stopped)
            yield result.line if result else place

    def unfinished(self, index: int, stopped: QuickRouterError | None) -> ItemResult | None:
        """Return the result of an item that has not ended by the end of the batch, else None.

        :param stopped: why no more were submitted.
        """
        without_output = ItemResult.without_output
        match self.state(index):
            case State.ENDED:
                return None
            case State.SENDING:
                return without_output(index, UNCERTAIN, "the response to its create request was lost", WAIT)
            case State.RUNNING:
                error, id = "it was not waited for", self.ids[index]
                return without_output(index, Reason.API_ERROR, error, WAIT, id)
        retry = SUBMIT if stopped is None or stopped.transient else KEEP
        error = str(stopped or "the task ended before")
        return without_output(index, NOT_SUBMITTED, error, retry)

    def charge(self, index: int, cost: float) -> None:
        """Count what an item's prediction costs, in place of what was known of it."""
        self.cost += Decimal(str(cost)) - Decimal(str(self._costs[index]))
        self._costs[index] = cost

    def cleared(self, max_tries: int) -> bool:
        """Return whether a person has cleared the task since the last attempt."""
        return bool(self.started_at) and max_tries > self.max_tries

    def resume(self, print_of: Callable[[int], str], *, cleared: bool) -> Iterator[Entry]:
        """Yield the entries of items whose state a new attempt changes.

        An item that failed for a transient reason is created again; after a person's clear, each
        that did not succeed, unless only its files are missing; always one that has another input now.

        :param print_of: returns the beginning of the fingerprint of an item's request.
        """
        for index in range(self.total):
            state, retry = self.state(index), RETRY[self._retry[index]]
            if state is State.MISSING:
                continue
            other = self._prints[index] != int(print_of(index), 16)
            failed = state is State.ENDED and self._outcomes[index] != Reason.SUCCEEDED
            polled = retry == WAIT or (cleared and self._outcomes[index] == NOT_STORED)
            if other or (failed and not polled and (cleared or retry == SUBMIT)):
                yield {"i": index, "no": True}
            elif failed and polled:
                yield {"i": index, "id": self.ids[index]}

    def _take_whole(self, entry: Mapping[str, Any]) -> None:
        if "try" in entry:
            if entry.get("anew"):
                # Ids stay known: none of them may be found again as that of a lost create.
                known, cost = self.known, self.cost
                self.__init__(self.total)  # type: ignore[misc]
                self.known, self.cost = known, cost
            if not self.started_at or entry.get("cleared"):
                self.started_at = float(entry["at"])
            self.max_tries, self.stopped, self.done = int(entry["max_tries"]), None, False
        self.stopped = entry.get("stop", self.stopped)
        self.done = self.done or "done" in entry

    def _take_item(self, index: int, entry: Mapping[str, Any], place: Place) -> None:
        if entry.get("cost") is not None:
            self.charge(index, entry["cost"])
        if "f" in entry:
            self._states[index], self.ids[index] = State.SENDING, None
            self._prints[index], self.started[index] = int(entry["f"], 16), float(entry["at"])
        elif "id" in entry:
            self._states[index], self.ids[index] = State.RUNNING, entry["id"]
            self.known.add(entry["id"])
        elif "no" in entry:
            self._states[index], self.ids[index] = State.MISSING, None
            self._costs[index] = 0.0  # what was paid for this item stays in the sum
        else:
            end, retry = entry["end"], entry["retry"]
            self._states[index], self.ids[index] = State.ENDED, end["id"]
            self.places[index] = place
            self._outcomes[index] = intern(end["outcome"])
            # A later version may have written a word that this one does not know.
            self._retry[index] = RETRY.index(retry if retry in RETRY else KEEP)
