"""Which predictions were canceled although their tasks still wanted them.

Nobody in this suite ends a task. So a request to cancel is right only where the task's own time was
up, or where a later attempt has replaced a prediction after an uncertain create.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from tests.chaos.books import TIMEOUT, Accepted, Cancel, Job


class Cause(StrEnum):
    """Why a prediction was canceled; the last is a fault of the package."""

    OVER = "with its task over"
    """Both the task and the prediction were over by then: the request changed nothing."""

    TIMED_OUT = "its task's time was up"
    REPLACED = "a later attempt had replaced it"
    UNWANTED = "its task still wanted it"


def canceled(
    cancels: Iterable[Cancel], accepted: Sequence[Accepted], jobs: Iterable[Job]
) -> list[tuple[Cause, str]]:
    """Return the cause and a sentence for each prediction that was to be canceled, in order."""
    known, by_prompt = {p.id: p for p in accepted}, {job.prompt: job for job in jobs}
    return [
        (cause_of(first, known.get(first.id), accepted, by_prompt), sentence(first, known))
        for first in firsts(cancels)
    ]


def firsts(cancels: Iterable[Cancel]) -> list[Cancel]:
    """Return the first request for each prediction."""
    found: dict[str, Cancel] = {}
    for cancel in cancels:
        found.setdefault(cancel.id, cancel)
    return list(found.values())


def cause_of(
    cancel: Cancel, prediction: Accepted | None, accepted: Sequence[Accepted], jobs: Mapping[str, Job]
) -> Cause:
    """Return why a prediction was canceled; None is one that the gateway does not know."""
    job = jobs.get(prediction.prompt) if prediction else None
    if prediction is None or job is None:
        return Cause.UNWANTED
    if all(end is not None and end <= cancel.at for end in ends(job, prediction)):
        return Cause.OVER
    if timed_out(job, prediction.id):
        return Cause.TIMED_OUT
    return Cause.REPLACED if replaced(job, prediction, accepted) else Cause.UNWANTED


def ends(job: Job, prediction: Accepted) -> tuple[float | None, float | None]:
    """Return when the job's last task and the prediction ended.

    A prediction that is over does not make a cancel right: its task cannot know that.
    """
    return job.last.ended_at, prediction.completed_at


def timed_out(job: Job, prediction_id: str) -> bool:
    """Whether a task of the job failed because this prediction took too long."""
    tasks = [task for task in (job.submit, job.wait) if task]
    return any(
        TIMEOUT in failure.kinds and prediction_id in failure.message
        for task in tasks
        for failure in task.failures
    )


def replaced(job: Job, prediction: Accepted, accepted: Sequence[Accepted]) -> bool:
    """Whether its create was uncertain, and a later attempt has made another prediction."""
    later = (p.created_at > prediction.created_at for p in accepted if p.prompt == job.prompt)
    return any(failure.reports(prediction) for failure in job.submit.failures) and any(later)


def sentence(cancel: Cancel, known: Mapping[str, Accepted]) -> str:
    """Return what was canceled, for people."""
    prediction = known.get(cancel.id)
    if prediction is None:
        return f"{cancel.id}, which the gateway does not know"
    age = cancel.at - prediction.created_at
    return f"{cancel.id} of {prediction.prompt!r} ({prediction.status}), {age:.0f} s after its create"
