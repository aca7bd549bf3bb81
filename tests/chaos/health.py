"""Which components of Airflow have ended, and whether a strike explains it.

Only this suite starts components, so a new process always follows an end that is seen here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto

from dev.airflow_services import TRIGGERER, AirflowServices, kind_of
from tests.chaos.strikes import POSTGRES

EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)
"""The last line of a stack trace."""

NO_DATABASE = "OperationalError"
"""What a component names that has lost its database, and may end much later: the scheduler waits
for the tasks of its LocalExecutor first."""

MOST_DEATHS = 10
"""A run ends after so many: its triggerers cannot work any more."""


class Meaning(Enum):
    """What an ended component means."""

    EXPECTED = auto()
    """It was struck, or its database is away: what brings that back brings it back, too."""

    RESTART = auto()
    """It ended because its database was away; a supervisor would start it again."""

    DEATH = auto()
    """A triggerer ended by itself. It is started again, and the ledger reports it."""

    FATAL = auto()
    """Another component ended by itself: the run is over."""


def meaning_of(name: str, down: Collection[str], *, excused: bool) -> Meaning:
    """Return what it means that a component has ended.

    ``down``: what is down by a strike. ``excused``: whether PostgreSQL has just come back, and the
    component has not ended since.
    """
    if name in down or POSTGRES in down:
        return Meaning.EXPECTED
    if excused:
        return Meaning.RESTART
    return Meaning.DEATH if kind_of(name) == TRIGGERER else Meaning.FATAL


@dataclass
class Health:
    """Looks after the components of one run. ``deaths`` are sentences, for people."""

    services: AirflowServices
    say: Callable[[str], None]
    deaths: list[str] = field(default_factory=list)
    restarts: Counter[str] = field(default_factory=Counter)
    _restarted: set[str] = field(default_factory=set)

    @property
    def hopeless(self) -> bool:
        """Whether triggerers end again and again."""
        return len(self.deaths) >= MOST_DEATHS

    def look(self, down: Collection[str], *, recovering: bool) -> None:
        """Start again what has ended, and note it.

        An outage of PostgreSQL explains one end of each component.

        :raises RuntimeError: a component that is no triggerer has ended without a strike.
        """
        if POSTGRES in down:
            self._restarted.clear()
        for name, component in self.services.components.items():
            code = component.returncode()
            if code is not None:
                excused = recovering or NO_DATABASE in last_error(component.output())
                excused = excused and name not in self._restarted
                self._ended(name, code, meaning_of(name, down, excused=excused))

    def _ended(self, name: str, code: int, means: Meaning) -> None:
        if means is Meaning.EXPECTED:
            return
        if means is Meaning.FATAL:
            self.services.check_alive()
        if means is Meaning.DEATH:
            reason = last_error(self.services.components[name].output())
            self.deaths.append(f"{name} ended by itself ({code}): {reason}")
            self.say(f"    {self.deaths[-1]}")
        else:
            self._restarted.add(name)
            self.restarts[kind_of(name)] += 1
            self.say(f"    {name} ended without PostgreSQL ({code}) and is started again")
        self.services.start_again(name, grace=0)


def last_error(log: str) -> str:
    """Return the last exception that a log names, else its last line."""
    found = EXCEPTION.findall(log) or log.splitlines() or [""]
    return str(found[-1])
