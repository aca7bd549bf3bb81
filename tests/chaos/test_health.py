"""What the end of a component means, by what is down or has just come back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dev.airflow_processes import Component
from dev.waiting import wait_until
from tests.chaos.health import MOST_DEATHS, Health, Meaning, last_error, meaning_of
from tests.chaos.strikes import GATEWAY, POSTGRES


def test_what_was_struck_is_expected_to_have_ended() -> None:
    assert meaning_of("triggerer-2", {"triggerer-2"}, excused=False) is Meaning.EXPECTED


def test_everything_may_end_while_postgresql_is_away() -> None:
    assert meaning_of("scheduler", {POSTGRES}, excused=False) is Meaning.EXPECTED
    assert meaning_of("triggerer", {POSTGRES}, excused=True) is Meaning.EXPECTED


def test_what_ended_without_postgresql_is_started_again_once_that_is_back() -> None:
    assert meaning_of("scheduler", (), excused=True) is Meaning.RESTART
    assert meaning_of("triggerer", (), excused=True) is Meaning.RESTART


def test_a_triggerer_that_ends_by_itself_is_a_death_whatever_else_is_down() -> None:
    assert meaning_of("triggerer", (), excused=False) is Meaning.DEATH
    assert meaning_of("triggerer", {GATEWAY, "triggerer-2"}, excused=False) is Meaning.DEATH


def test_any_other_component_that_ends_by_itself_ends_the_run() -> None:
    assert meaning_of("scheduler", {GATEWAY}, excused=False) is Meaning.FATAL


class Services:
    """Components, the first of which has ended."""

    def __init__(self, name: str, log: Path, last: str = "out of luck") -> None:
        command = [sys.executable, "-c", f"print({last!r}); raise SystemExit(3)"]
        self.components = {name: Component(command, dict(os.environ), log)}
        self.started: list[str] = []
        component = self.components[name]
        component.start()
        wait_until(lambda: component.returncode() is not None, 30, component.tail)

    def start_again(self, name: str, grace: float) -> None:
        self.started.append(name)

    def check_alive(self) -> None:
        raise RuntimeError("ended")


def health(services: Any) -> Health:
    return Health(services, print)


def test_a_death_is_noted_with_the_last_error_and_the_triggerer_is_started_again(
    tmp_path: Path,
) -> None:
    services = Services("triggerer", tmp_path / "log")
    found = health(services)
    found.look((), recovering=False)

    assert found.deaths == ["triggerer ended by itself (3): out of luck"]
    assert services.started == ["triggerer"]


def test_a_restart_after_an_outage_is_counted_by_kind_and_is_no_death(tmp_path: Path) -> None:
    services = Services("triggerer-2", tmp_path / "log")
    found = health(services)
    found.look((), recovering=True)

    assert (found.restarts, found.deaths) == ({"triggerer": 1}, [])
    assert services.started == ["triggerer-2"]


def test_an_outage_explains_one_end_of_each_component_and_the_next_outage_another(
    tmp_path: Path,
) -> None:
    found = health(Services("triggerer", tmp_path / "log"))
    for _ in range(2):
        found.look((), recovering=True)
    assert (found.restarts, len(found.deaths)) == ({"triggerer": 1}, 1)

    found.look({POSTGRES}, recovering=False)
    found.look((), recovering=True)
    assert (found.restarts, len(found.deaths)) == ({"triggerer": 2}, 1)


def test_a_scheduler_that_ends_long_after_an_outage_because_of_it_is_started_again(
    tmp_path: Path,
) -> None:
    last = "sqlalchemy.exc.OperationalError: Connection refused"
    services = Services("scheduler", tmp_path / "log", last)
    health(services).look((), recovering=False)

    assert services.started == ["scheduler"]


def test_the_last_error_of_a_log_is_the_last_line_of_a_stack_trace() -> None:
    trace = "Traceback:\n  a line\nbuiltins.OverflowError: too large\n[info] Exited trigger loop"

    assert last_error(trace) == "builtins.OverflowError: too large"
    assert last_error("one line\nlast line") == "last line"
    assert last_error("") == ""


def test_a_struck_component_is_left_to_who_struck_it(tmp_path: Path) -> None:
    services = Services("triggerer", tmp_path / "log")
    health(services).look({"triggerer"}, recovering=False)

    assert services.started == []


def test_the_end_of_a_scheduler_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ended"):
        health(Services("scheduler", tmp_path / "log")).look((), recovering=False)


def test_a_run_whose_triggerers_end_again_and_again_is_hopeless() -> None:
    found = health(SimpleNamespace(components={}))
    assert not found.hopeless
    found.deaths += ["triggerer ended"] * MOST_DEATHS
    assert found.hopeless
