"""``make chaos SEED=1 TASKS=200``: print the ledger of a run; exit with 1 unless it is clean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.command import options, settle
from tests.chaos.run import Chaos
from tests.chaos.suite import QUICKROUTER

PROCESSING = 12.0
"""Seconds that a prediction takes: a task is deferred by then, and its wait meets faults."""


def main() -> int:
    """Run it; return 0 for a clean ledger, 1 for another."""
    chosen = options("chaos", 200, __doc__)

    def make(home: Path, say: Callable[[str], None]) -> Chaos:
        limit = 600 + 5.0 * chosen.tasks
        return Chaos(QUICKROUTER, chosen.seed, chosen.tasks, home, say, limit, PROCESSING)

    return settle("chaos", chosen, make)


if __name__ == "__main__":
    sys.exit(main())
