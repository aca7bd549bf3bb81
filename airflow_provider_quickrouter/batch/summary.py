"""A batch of predictions, decided: what a line of the results says, and how the whole has ended.

One line of the results, as JSON: ``index`` (of the input, from 0), ``id`` (null if there is no
prediction), ``outcome`` (a word of ``Reason`` or one of those below), ``output`` (a list, as a
waiting task returns it), ``error`` (text, "" for a success), ``completed_at`` and ``expires_at``
(ISO 8601 or null; the files are gone after the latter) and ``metrics``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_quickrouter.api.errors import (
    BatchFailed,
    InvalidInputError,
    NotFoundError,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.small import small

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
        "error": small(error),
    }


def _retry(outcome: Outcome, error: QuickRouterError | None) -> str:
    """Ask on about what could not be asked for, unless the API does not know it."""
    if outcome.reason is Reason.API_ERROR and not isinstance(outcome.error, NotFoundError):
        return WAIT
    return SUBMIT if error and error.passing else KEEP


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
        error = BatchFailed(
            f"Of {self.total} predictions {self.bad} did not succeed ({told}); each line of "
            f"{output_path} says how its own has ended.{why}"
        )
        error.transient = not _fails(fail_on, self.bad - self.passing, self.total)
        if stopped:
            error.transient, error.retry_after = stopped.transient, stopped.retry_after
        return error


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
