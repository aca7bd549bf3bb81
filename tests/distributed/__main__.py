"""``make distributed SEED=1 TASKS=300``: two workers, triggerers, schedulers, Redis, PostgreSQL.

Prints what was killed, the ledger, and how long each step took; exits with 1 unless it is clean.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.chaos.command import parser, settle
from tests.chaos.run import Chaos
from tests.chaos.suite import QUICKROUTER
from tests.distributed.run import Distributed


def main() -> int:
    """Run it; return 0 for a clean ledger, 1 for another."""
    chosen = parser("distributed", 300, __doc__).parse_args()

    def make(home: Path, say: Callable[[str], None]) -> Chaos:
        limit = 600 + 5.0 * chosen.tasks
        return Distributed(QUICKROUTER, chosen.seed, chosen.tasks, home, say, limit)

    return settle("distributed", chosen, make)


if __name__ == "__main__":
    sys.exit(main())
