"""``make chaos SEED=1 TASKS=200``: print the ledger of a run; exit with 1 unless it is clean.

``AIRFLOW=2.11`` runs it on another Airflow, in an environment of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from dev.airflow2 import OURS
from dev.matrix.cells import CELLS
from tests.chaos.command import parser, settle
from tests.chaos.releases import release
from tests.chaos.run import Chaos
from tests.chaos.suite import QUICKROUTER

PROCESSING = 12.0
"""Seconds that a prediction takes: a task is deferred by then, and its wait meets faults."""


def main() -> int:
    """Run it; return 0 for a clean ledger, 1 for another."""
    line = parser("chaos", 200, __doc__)
    names = [cell.name for cell in CELLS]
    line.add_argument("--airflow", choices=names, help="with its records in a folder; default: the installed")
    chosen = line.parse_args()

    def make(home: Path, say: Callable[[str], None]) -> Chaos:
        limit = 600 + 5.0 * chosen.tasks
        airflow = release(chosen.airflow, say) if chosen.airflow else OURS
        return Chaos(QUICKROUTER, chosen.seed, chosen.tasks, home, say, limit, PROCESSING, airflow)

    return settle("chaos", chosen, make)


if __name__ == "__main__":
    sys.exit(main())
