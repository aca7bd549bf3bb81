"""Who paid for what: every prediction that the gateway accepted is put into one class.

Pure functions: what the gateway accepted and how the tasks ended go in, a :class:`Ledger` comes
out. A ledger is clean when nothing was paid that no task knows of, nothing was paid twice, and
every task ended as the fate of its prediction demands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from tests.chaos.books import LASTING, PASSING, TRANSIENT, UNCERTAIN, Accepted, Job, TaskEnd


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
    WRONG = "wrong"


@dataclass(frozen=True)
class Ledger:
    """The result. ``duplicates`` and ``wrong_ends`` are sentences, for people."""

    classes: Mapping[str, Class]
    ends: Mapping[str, End]
    unaccounted: Sequence[str] = ()
    duplicates: Sequence[str] = ()
    wrong_ends: Sequence[str] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, nothing paid twice, and every end is right."""
        return not (self.unaccounted or self.duplicates or self.wrong_ends)

    def lines(self) -> list[str]:
        """Return the numbers, and each entry that should not be."""
        classes, ends = Counter(self.classes.values()), Counter(self.ends.values())
        return [
            f"creates accepted: {len(self.classes)}",
            "predictions: " + ", ".join(f"{classes[kind]} {kind}" for kind in Class),
            "ends: " + ", ".join(f"{ends[kind]} {kind}" for kind in End),
            f"duplicates: {len(self.duplicates)}",
            f"wrong ends: {len(self.wrong_ends)}",
            *(f"  {line}" for line in (*self.unaccounted, *self.duplicates, *self.wrong_ends)),
        ]


def balance(accepted: Sequence[Accepted], jobs: Sequence[Job]) -> Ledger:
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
    judged = {job.prompt: end_of(job, by_prompt.get(job.prompt, [])) for job in jobs}
    return Ledger(
        classes,
        {prompt: end for prompt, (end, _) in judged.items()},
        [told(p) for p in accepted if classes[p.id] is Class.UNACCOUNTED],
        [text for alike in by_prompt.values() for text in duplicates(alike, classes)],
        [f"{prompt}: {why}" for prompt, (end, why) in judged.items() if end is End.WRONG],
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
    error = f": {prediction.error}" if prediction.error else ""
    return f"{prediction.id} of {prediction.prompt!r} ({prediction.status}{error})"


def end_of(job: Job, alike: Sequence[Accepted]) -> tuple[End, str]:
    """Return how a job ended, and for a wrong end what is wrong."""
    if job.wait is not None:
        wrong = wrong_pair(job.submit, job.wait)
        if wrong:
            return End.WRONG, wrong
        if job.submit.state == "success":
            return end_of_task(job.wait, alike, may_submit=False)
    return end_of_task(job.submit, alike, may_submit=True)


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
    if task.failed_with(TRANSIENT) and not task.tries_left:
        return End.GAVE_UP, ""
    return End.WRONG, f"failed with {task.failure.message!r}"


def end_of_success(task: TaskEnd, alike: Sequence[Accepted]) -> tuple[End, str]:
    """Judge a success: it must hold one of its own predictions, and that must have succeeded."""
    if any(p.id == task.held and p.status == "succeeded" for p in alike):
        return End.SUCCEEDED, ""
    return End.WRONG, f"succeeded, but holds {task.held} of {[told(p) for p in alike]}"


def end_of_prediction(
    task: TaskEnd, alike: Sequence[Accepted], *, may_submit: bool
) -> tuple[End, str]:
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
