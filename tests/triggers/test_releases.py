"""Waits that go on while the package is upgraded, or taken back: any version's triggers load."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_quickrouter import __version__
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from dev.release_form import form, same
from dev.release_life import connections, life
from tests.conftest import KEY
from tests.tasks import event_of
from tests.triggers.stored import STORED, Entry, each, entries, inflated, submit, waiting

NO_LONGER_MEANT: set[str] = set()
"""Arguments of older releases that mean nothing any more, and are ignored."""


def test_what_this_version_leaves_is_kept_for_later_ones(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in connections(gateway.url, KEY).items():
        monkeypatch.setenv(name, value)
    told = (
        f"{__version__}.json is missing, or is no longer what this version leaves in Airflow's "
        "database. If that version is released, raise __version__ first; then run "
        "'python -m dev.release_fixture'."
    )
    assert __version__ in STORED, told
    assert same(form() | life(gateway.url, tmp_path), STORED[__version__]), told


def test_every_release_is_kept() -> None:
    assert {"0.1.0", "0.2.0", "0.3.0", "0.4.0"} <= set(STORED)
    assert all(release["version"] == version for version, release in STORED.items())


@each("triggers", "starts")
def test_no_argument_that_still_means_something_is_lost(entry: Entry) -> None:
    path, kwargs = inflated(entry).serialize()
    assert path == entry["classpath"]
    kept = {name: entry["kwargs"][name] for name in set(entry["kwargs"]) - NO_LONGER_MEANT}
    assert kept.items() <= kwargs.items()


async def test_triggers_of_every_release_wait_to_the_end(gateway: Sandbox) -> None:
    async def end(entry: Entry) -> str:
        trigger = inflated(entry, **waiting(await asyncio.to_thread(submit)))
        return str((await anext(trigger.run())).payload["reason"])

    waits = {name: one for name, one in entries("triggers", "starts") if "Batch" not in name}
    ends = await asyncio.gather(*map(end, waits.values()))
    assert dict(zip(waits, ends, strict=True)) == dict.fromkeys(waits, "succeeded")
    assert gateway.creates == len(waits) >= 10


class WithOneMore(QuickRouterPredictionTrigger):
    """The trigger as a later version may have it: with one more argument."""

    def __init__(self, *args: Any, patience: float = 5.0, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        self.patience = patience

    def serialize(self) -> tuple[str, Entry]:
        path, kwargs = super().serialize()
        return path, kwargs | {"patience": self.patience}


class WithOneFewer(QuickRouterPredictionTrigger):
    """The trigger as a later version may have it: ``model`` means nothing any more."""

    def __init__(self, prediction_id: str, model: str = "", **arguments: Any) -> None:
        super().__init__(prediction_id, **arguments)

    def serialize(self) -> tuple[str, Entry]:
        path, kwargs = super().serialize()
        del kwargs["model"]
        return path, kwargs


PATH = f"{QuickRouterPredictionTrigger.__module__}.{QuickRouterPredictionTrigger.__qualname__}"
TODAY = [one for one in form()["triggers"] if one["classpath"] == PATH]
LATER = pytest.mark.parametrize("later", [WithOneMore, WithOneFewer])


def path_of(later: type) -> str:
    return f"{later.__module__}.{later.__qualname__}"


@LATER
@pytest.mark.parametrize("entry", TODAY, ids=lambda entry: str(entry["given"]))
def test_a_later_class_with_another_argument_goes_on_with_todays_wait(
    entry: Entry, later: type[QuickRouterPredictionTrigger], gateway: Sandbox
) -> None:
    trigger = inflated(entry | {"classpath": path_of(later)}, **waiting(submit()))
    assert type(trigger) is later
    assert getattr(trigger, "patience", 5.0) == 5.0
    assert trigger.poll_interval == entry["kwargs"]["poll_interval"]
    assert event_of(trigger)["reason"] == "succeeded"


@LATER
def test_todays_class_goes_on_with_the_wait_of_a_later_one(
    later: type[QuickRouterPredictionTrigger], gateway: Sandbox
) -> None:
    """As when triggerers of two versions run side by side, or an upgrade is taken back."""
    path, kwargs = later("p", started_at=time.time(), poll_interval=3.0).serialize()
    assert path == path_of(later)
    assert set(kwargs) != set(TODAY[0]["kwargs"])
    trigger = inflated({"classpath": PATH, "kwargs": kwargs}, **waiting(submit()))
    assert type(trigger) is QuickRouterPredictionTrigger
    assert trigger.poll_interval == 3.0
    assert event_of(trigger)["reason"] == "succeeded"


@each("triggers")
def test_arguments_that_only_a_later_version_knows_are_ignored(entry: Entry) -> None:
    trigger = inflated(entry, patience=5.0)
    assert "patience" not in trigger.serialize()[1]
    assert entry["kwargs"].items() <= trigger.serialize()[1].items()
