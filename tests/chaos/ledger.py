"""Who paid for what: every prediction that the gateway accepted is put into one class.

Pure functions: what the gateway accepted and how the tasks ended go in, a :class:`Ledger` comes
out. A ledger is clean when nothing was paid that no task knows of, nothing was paid twice, every
task ended as the fate of its prediction demands, nothing was canceled that was still wanted, and no
triggerer ended without a strike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from tests.chaos.books import (
    KEY_REFUSED,
    LASTING,
    ODD,
    PASSING,
    TRANSIENT,
    UNCERTAIN,
    Accepted,
    Cancel,
    Job,
    TaskEnd,
)
from tests.chaos.cancels import Cause, canceled


class Class(StrEnum):
    """What became of an accepted prediction."""

    HELD = "held"
    ENDED_BADLY = "ended badly"
    REPORTED = "reported uncertain"
    UNACCOUNTED = "unaccounted"


class End(StrEnum):
    """How a job ended; the last is none that it should have."""

    SUCCEEDED = "succeeded"
    PREDICTION_FAILED = "failed for its prediction"
    UNCERTAIN = "uncertain"
    GAVE_UP = "gave up"
    KEY_REFUSED = "refused the key"
    WRONG = "wrong"


@dataclass(frozen=True)
class Ledger:
    """The result. ``unaccounted`` and all after it are sentences, for people.

    ``unwanted_cancels``: what was canceled while its task still wanted it. ``other_cancels``: how
    many predictions were canceled for another cause, by cause. ``deaths``: the triggerers that
    ended without a strike.
    """

    classes: Mapping[str, Class]
    ends: Mapping[str, End]
    unaccounted: Sequence[str] = ()
    duplicates: Sequence[str] = ()
    wrong_ends: Sequence[str] = ()
    unwanted_cancels: Sequence[str] = ()
    deaths: Sequence[str] = ()
    other_cancels: Mapping[Cause, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, paid twice or canceled, and every end is right."""
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """Each entry that should not be."""
        return [
            *self.unaccounted,
            *self.duplicates,
            *self.wrong_ends,
            *(f"canceled: {cancel}" for cancel in self.unwanted_cancels),
            *self.deaths,
        ]

    def lines(self) -> list[str]:
        """Return the numbers, and each entry that should not be."""
        classes, ends = Counter(self.classes.values()), Counter(self.ends.values())
        others = ", ".join(f"{number} {cause}" for cause, number in self.other_cancels.items())
        return [
            f"creates accepted: {len(self.classes)}",
            "predictions: " + ", ".join(f"{classes[kind]} {kind}" for kind in Class),
            "ends: " + ", ".join(f"{ends[kind]} {kind}" for kind in End),
            f"duplicates: {len(self.duplicates)}",
            f"wrong ends: {len(self.wrong_ends)}",
            f"canceled while its task was still wanted: {len(self.unwanted_cancels)}",
            f"canceled for another cause: {others or 'none'}",
            f"triggerer deaths beyond the planned ones: {len(self.deaths)}",
            *(f"  {line}" for line in self.problems),
        ]


def balance(
    accepted: Sequence[Accepted],
    jobs: Sequence[Job],
    cancels: Sequence[Cancel] = (),
    deaths: Sequence[str] = (),
) -> Ledger:
    """Put each prediction into its class and each job's end beside the one it should have."""
    by_prompt: dict[str, list[Accepted]] = {}
    for prediction in sorted(accepted, key=lambda p: p.created_at):
        by_prompt.setdefault(prediction.prompt, []).append(prediction)
    known = {job.prompt: job for job in jobs}
    classes = {
        prediction.id: class_of(prediction, alike, known.get(prompt))
        for prompt, alike in by_prompt.items()
        for prediction in alike
    }
    causes = canceled(cancels, accepted, jobs)
    judged = {job.prompt: end_of(job, by_prompt.get(job.prompt, [])) for job in jobs}
    return Ledger(
        classes,
        {prompt: end for prompt, (end, _) in judged.items()},
        [told(p) for p in accepted if classes[p.id] is Class.UNACCOUNTED],
        [text for alike in by_prompt.values() for text in duplicates(alike, classes)],
        [f"{prompt}: {why}" for prompt, (end, why) in judged.items() if end is End.WRONG],
        [text for cause, text in causes if cause is Cause.UNWANTED],
        deaths,
        Counter(cause for cause, _ in causes if cause is not Cause.UNWANTED),
    )


def class_of(prediction: Accepted, alike: Sequence[Accepted], job: Job | None) -> Class:
    """Return a prediction's class; ``alike`` are all with its prompt, oldest first."""
    if job is None:
        return Class.UNACCOUNTED
    known = any(end and end.names(prediction.id) for end in (job.submit, job.wait))
    if prediction.ended_badly() and (known or prediction.id != alike[-1].id):
        return Class.ENDED_BADLY
    if job.submit.state == "success" and job.submit.held == prediction.id:
        return Class.HELD
    failure = job.submit.failure
    return Class.REPORTED if failure and failure.reports(prediction) else Class.UNACCOUNTED


def duplicates(alike: Sequence[Accepted], classes: Mapping[str, Class]) -> list[str]:
    """Tell each prediction that was made while an earlier one for the same prompt was good."""
    return [
        f"{later.prompt}: {told(later)} although there was {told(earlier)}"
        for earlier, later in pairwise(alike)
        if not earlier.ended_badly(later.created_at) and classes[earlier.id] is not Class.REPORTED
    ]


def told(prediction: Accepted) -> str:
    """Return a prediction as a few words."""
    error = f": {prediction.error!r}" if prediction.error else ""  # it may hold half a character
    return f"{prediction.id} of {prediction.prompt!r} ({prediction.status}{error})"


def end_of(job: Job, alike: Sequence[Accepted]) -> tuple[End, str]:
    """Return how a job ended, and for a wrong end what is wrong."""
    if job.wait is not None:
        wrong = wrong_pair(job.submit, job.wait)
        if wrong:
            return End.WRONG, wrong
        if job.submit.state == "success":
            if refused_key(job.wait, resumed=max(job.submit.tries, job.wait.tries) > 1):
                return End.KEY_REFUSED, ""
            return end_of_task(job.wait, alike, may_submit=False)
    return end_of_task(job.submit, alike, may_submit=True)


def refused_key(wait: TaskEnd, *, resumed: bool) -> bool:
    """Whether a sensor failed because its very first GET was refused for the key.

    That is right, since a wait that never had a good response may fail so. The gateway refuses the
    key only after a good GET, which was that of an earlier attempt then: ``resumed``.
    """
    return resumed and wait.failed_with(KEY_REFUSED)


def wrong_pair(submit: TaskEnd, wait: TaskEnd) -> str:
    """Return what is wrong between the two tasks of a job, "" if they fit together."""
    if submit.state != "success":
        fits = wait.state == "upstream_failed"
        return "" if fits else f"submit is {submit.state}, but its sensor {wait.state}"
    if wait.held != submit.held:
        return f"submit holds {submit.held}, but its sensor {wait.held}"
    return ""


def end_of_task(task: TaskEnd, alike: Sequence[Accepted], *, may_submit: bool) -> tuple[End, str]:
    """Judge the end of the task that has the output, or that should have submitted."""
    if task.state == "success":
        return end_of_success(task, alike)
    if task.failure is None:
        return End.WRONG, f"is {task.state}, and no exception tells why"
    if may_submit and task.failed_with({UNCERTAIN}):
        return End.UNCERTAIN, ""
    if task.failed_with(PASSING | LASTING):
        return end_of_prediction(task, alike, may_submit=may_submit)
    if task.failed_with(TRANSIENT | ODD) and not task.tries_left:
        return End.GAVE_UP, ""  # after ten minutes of such responses in each of its attempts
    return End.WRONG, f"failed with {task.failure.message!r}"


def end_of_success(task: TaskEnd, alike: Sequence[Accepted]) -> tuple[End, str]:
    """Judge a success: it must hold one of its own predictions, and that must have succeeded."""
    if any(p.id == task.held and p.status == "succeeded" for p in alike):
        return End.SUCCEEDED, ""
    return End.WRONG, f"succeeded, but holds {task.held} of {[told(p) for p in alike]}"


def end_of_prediction(task: TaskEnd, alike: Sequence[Accepted], *, may_submit: bool) -> tuple[End, str]:
    """Judge a failure that names a prediction's: it must be true, and must not have been mended.

    Nobody in this suite cancels, so a cancelled prediction is no reason to fail.
    """
    assert task.failure is not None
    text = task.failure.message
    if not any(p.status == "failed" and p.id in text for p in alike):
        return End.WRONG, f"failed with {text!r}, which the gateway does not say"
    if may_submit and task.failed_with(PASSING) and task.tries_left:
        return End.WRONG, f"failed with {text!r}, which passes, with {task.tries_left} tries left"
    return End.PREDICTION_FAILED, ""
