"""A page of the gallery: chooses the requested entries of a run, and loads only their cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
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
MAX_NAMED = 5  # failed tasks without a prediction that are named

UNREADABLE = (
    "A custom XCom backend stores them outside of Airflow's database, which is all that this tab reads. "
    "Small XComs can stay in the database: for XComObjectStorageBackend raise xcom_objectstorage_threshold."
)

PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, Field(max_length=250, pattern=PRINTABLE)]


class Wanted(BaseModel):
    """The parameters of a request for a page; ``q`` is a part of the prompt, in any case."""

    run_id: Id
    task_id: Id | None = None
    map_index: Annotated[int, Field(ge=-1, le=2**31 - 1)] = -1
    state: State | None = None
    q: Annotated[str, Field(max_length=200)] = ""
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = LIMIT

    @property
    def place(self) -> Place | None:
        """The requested task instance; None means the whole run."""
        return (self.task_id, self.map_index) if self.task_id is not None else None


def page_of(run: Run, wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Return the JSON of a page: its cards, and the number of entries of each state.

    ``now`` has a zone.
    """
    place = wanted.place
    rows, hidden = query.rows(run)
    entries = [entry for entry in entries_of(rows) if place is None or place in entry.places]
    unreadable = [each for each in hidden if place in (None, each)]
    tasks = [task for task in query.own_tasks(run) if place in (None, task.place)]
    matching = _search(run, entries, wanted.q.strip().casefold())
    states = {id(entry): entry.state(run.active) for entry in entries}
    chosen = [entry for entry in matching if wanted.state in (None, states[id(entry)])]
    costs = [Decimal(str(e.best.cost)) for e in chosen if e.best and e.best.cost is not None]
    shown = chosen[wanted.offset : wanted.offset + wanted.limit]
    return {
        "now": now.isoformat(),
        "run_state": run.state,
        "counts": Counter(states[id(entry)] for entry in matching),
        "total": len(chosen),
        "cost": float(sum(costs)) if costs else None,
        "offset": wanted.offset,
        "limit": wanted.limit,
        **_progress(run, entries, tasks, Counter(states.values()), hidden),
        "unreadable": {"tasks": len(unreadable), "reason": UNREADABLE} if unreadable else None,
        "cards": [
            card_of(entry, states[id(entry)], found, now)
            for entry, found in zip(shown, _load(run, shown), strict=True)
        ],
    }


def _search(run: Run, entries: list[Entry], part: str) -> list[Entry]:
    if not part:
        return entries
    rendered = query.inputs(run)
    return [e for e in entries if part in (prompt_of(_input_of(e, rendered)) or "").casefold()]


def _input_of(entry: Entry, rendered: dict[Place, Any]) -> Any:
    return next((rendered[place] for place in entry.places if place in rendered), None)


def _progress(
    run: Run, entries: Sequence[Entry], tasks: Sequence[Task], states: Counter[State], hidden: set[Place]
) -> dict[str, Any]:
    """Count the predictions that are still to come, and the tasks that failed without one.

    ``hidden`` are task instances that may have an entry, but whose XComs cannot be read.
    """
    with_entry = hidden.union(*(entry.places for entry in entries))
    without = [task for task in tasks if task.place not in with_entry]
    failed = sorted(task.place for task in without if task.state == "failed")
    creators = (task for task in without if not any(part in task.operator for part in FOLLOWERS))
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


def _load(run: Run, entries: Sequence[Entry]) -> list[Found]:
    """Load what the cards of some entries show."""
    places = [place for entry in entries for place in entry.places]
    manifests, files = query.manifests_and_files(run, places)
    tasks, rendered = query.tasks(run, places), query.inputs(run, places)
    loaded = []
    for entry in entries:
        task, best = tasks.get(entry.places[0]), entry.best
        found = Found(
            manifest=manifests.get(best.place, {}) if best else {},
            files={place: files[place] for place in entry.files[:1] if place in files},
            rendered=_input_of(entry, rendered),
        )
        if task:
            found.label, found.try_number, found.task_state = task.label, task.try_number, task.state
        loaded.append(found)
    return loaded
