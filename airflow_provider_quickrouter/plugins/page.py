"""A page of the gallery: which entries of a run are requested, and the cards of those alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from airflow_provider_quickrouter.links import FOLLOWERS
from airflow_provider_quickrouter.plugins import query
from airflow_provider_quickrouter.plugins.cards import (
    Entry,
    Found,
    Place,
    State,
    card_of,
    entries_of,
    prompt_of,
)
from airflow_provider_quickrouter.plugins.query import Run, Task

LIMIT = 48
MAX_LIMIT = 96
MAX_NAMED = 5  # tasks without a prediction that are named

PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, Field(max_length=250, pattern=PRINTABLE)]


class Wanted(BaseModel):
    """What a request wants of a run.

    :ivar q: what the prompt holds, in any case.
    """

    run_id: Id
    task_id: Id | None = None
    map_index: Annotated[int, Field(ge=-1, le=2**31 - 1)] = -1
    state: State | None = None
    q: Annotated[str, Field(max_length=200)] = ""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = LIMIT

    @property
    def place(self) -> Place | None:
        """The task instance whose pictures are requested; None means the whole run."""
        return (self.task_id, self.map_index) if self.task_id is not None else None


def page_of(run: Run, wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Return the JSON of a page: its cards, and how many there are of each state.

    :param now: with a zone.
    """
    here = wanted.place
    entries = [e for e in entries_of(query.rows(run)) if here is None or here in e.places]
    tasks = [task for task in query.own_tasks(run) if here in (None, task.place)]
    known = _searched(run, entries, wanted.q.strip().casefold())
    states = {id(entry): entry.state(run.active) for entry in entries}
    chosen = [entry for entry in known if wanted.state in (None, states[id(entry)])]
    shown = chosen[wanted.offset : wanted.offset + wanted.limit]
    return {
        "now": now.isoformat(),
        "run_state": run.state,
        "counts": Counter(states[id(entry)] for entry in known),
        "total": len(chosen),
        "offset": wanted.offset,
        "limit": wanted.limit,
        **_outlook(run, entries, tasks, Counter(states.values())),
        "cards": [
            card_of(entry, states[id(entry)], found, now)
            for entry, found in zip(shown, _found(run, shown), strict=True)
        ],
    }


def _searched(run: Run, entries: list[Entry], text: str) -> list[Entry]:
    if not text:
        return entries
    given = query.inputs(run)
    return [e for e in entries if text in (prompt_of(_first(given, e)) or "").casefold()]


def _first(given: dict[Place, Any], entry: Entry) -> Any:
    return next((given[place] for place in entry.places if place in given), None)


def _outlook(
    run: Run, entries: Sequence[Entry], tasks: Sequence[Task], states: Counter[State]
) -> dict[str, Any]:
    """Return what is still to come, and which tasks created nothing."""
    holders = {place for entry in entries for place in entry.places}
    barren = [task for task in tasks if task.place not in holders]
    failed = sorted(task.place for task in barren if task.state == "failed")
    creators = (task for task in barren if not any(part in task.operator for part in FOLLOWERS))
    coming = [task for task in creators if not task.over]
    busy = states[State.RUNNING] or any(not task.over for task in tasks)
    return {
        "all": len(entries),
        "over": len(entries) - states[State.RUNNING],
        "coming": len(coming) if run.active else 0,
        "failed_tasks": len(failed),
        "failed_named": failed[:MAX_NAMED],
        "live": run.active and bool(busy),
        "makers": bool(tasks),
    }


def _found(run: Run, entries: Sequence[Entry]) -> list[Found]:
    """Load what the cards of some entries show."""
    places = [place for entry in entries for place in entry.places]
    manifests, files = query.manifests_and_files(run, places)
    tasks, given = query.tasks(run, places), query.inputs(run, places)
    return [_found_of(entry, manifests, files, tasks, _first(given, entry)) for entry in entries]


def _found_of(
    entry: Entry,
    manifests: dict[Place, dict[str, Any]],
    files: dict[Place, list[Any]],
    tasks: dict[Place, Task],
    given: Any,
) -> Found:
    task, best = tasks.get(entry.places[0]), entry.best
    return Found(
        manifest=manifests.get(best.place, {}) if best else {},
        files={place: files[place] for place in entry.files[:1] if place in files},
        given=given,
        label=task.label if task else None,
        try_number=task.try_number if task else 0,
        task_state=task.state if task else None,
    )
