"""What a contender's run came to, as numbers. Pure; the books are those of the chaos suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.books import UNCERTAIN, Accepted, Books, Job


class Fate(StrEnum):
    """What became of an accepted prediction: each has exactly one."""

    DELIVERED = "delivered"
    ENDED_BADLY = "ended badly"
    REPORTED = "reported"
    LOST = "lost"


class End(StrEnum):
    """How a job ended: each has exactly one, which is a number of the score."""

    WELL = "well"
    UNCERTAIN = "uncertain"
    DOOMED = "doomed"
    FAILED = "failed"


@dataclass(frozen=True)
class Score:
    """The numbers; ``well + uncertain + doomed + failed`` are all tasks, one for each prompt.

    ``doomed`` are those that failed as every prediction of their prompt did, ``failed`` the rest.
    ``hidden``: how many of the lost are behind a task that ended well, so that nobody looks.
    """

    well: int
    uncertain: int
    doomed: int
    failed: int
    fates: Mapping[Fate, int]
    duplicates: int
    hidden: int

    @property
    def accepted(self) -> int:
        """How many creates the gateway accepted."""
        return sum(self.fates.values())


def score(books: Books) -> Score:
    """Count what is in the books."""
    jobs = {job.prompt: job for job in books.jobs}
    fates = {p.id: fate_of(p, jobs.get(p.prompt)) for p in books.accepted}
    ends = {job.prompt: end_of(job, books.accepted) for job in books.jobs}
    lost = [p for p in books.accepted if fates[p.id] is Fate.LOST]
    return Score(
        **{end.value: list(ends.values()).count(end) for end in End},
        fates={fate: list(fates.values()).count(fate) for fate in Fate},
        duplicates=count_duplicates(books.accepted),
        hidden=sum(ends.get(p.prompt) is End.WELL for p in lost),
    )


def fate_of(prediction: Accepted, job: Job | None) -> Fate:
    """Return what became of it.

    Lost is what ended well, or still runs, while no task has its output and none said that it may
    exist: also where a task holds the id, but failed while it waited.
    """
    if prediction.ended_badly():
        return Fate.ENDED_BADLY
    if job and job.last.state == "success" and job.last.held == prediction.id:
        return Fate.DELIVERED
    failure = job.submit.failure if job else None
    return Fate.REPORTED if failure and failure.reports(prediction) else Fate.LOST


def end_of(job: Job, accepted: Sequence[Accepted]) -> End:
    """Return how a job ended; doomed is who got nothing but bad ends from the gateway."""
    alike = [p for p in accepted if p.prompt == job.prompt]
    if ended_well(job, alike):
        return End.WELL
    if job.submit.failed_with({UNCERTAIN}):
        return End.UNCERTAIN
    return End.DOOMED if alike and all(p.ended_badly() for p in alike) else End.FAILED


def ended_well(job: Job, alike: Sequence[Accepted]) -> bool:
    """Whether its last task succeeded and has a prediction that did; ``alike`` are its own."""
    return job.last.state == "success" and any(
        p.id == job.last.held and p.status == "succeeded" for p in alike
    )


def count_duplicates(accepted: Sequence[Accepted]) -> int:
    """Return how many were accepted while an earlier one of their prompt had not ended badly."""
    oldest_first = sorted(accepted, key=lambda p: p.created_at)
    return sum(
        any(
            earlier.prompt == later.prompt and not earlier.ended_badly(later.created_at)
            for earlier in oldest_first[:number]
        )
        for number, later in enumerate(oldest_first)
    )
