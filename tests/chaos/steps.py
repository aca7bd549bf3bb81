"""How long each step of a run took."""

from __future__ import annotations

import time
from collections.abc import Callable

QUARTERS = (0.25, 0.5, 0.75, 1.0)


class Steps:
    """A stopwatch: ``seconds`` holds those of each step that is done, in their order.

    ``say`` is told one line for each.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._say = say
        self._clock = clock
        self._began = clock()
        self._ahead = list(QUARTERS)

    def done(self, name: str) -> None:
        """A step has ended now, which began at the end of the one before."""
        now = self._clock()
        self.seconds[name] = now - self._began
        self._say(f"{name} ({self.seconds[name]:.1f} s)")
        self._began = now

    def reached(self, share: float) -> None:
        """So much of the work is done, 0 to 1; each quarter is a step."""
        passed = [quarter for quarter in self._ahead if quarter <= share]
        if passed:
            self.done(f"{passed[-1]:.0%} of the work is done")
            self._ahead = self._ahead[len(passed) :]
