"""``make chaos SEED=1 TASKS=200``: print the ledger of a run; exit with 1 unless it is clean."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from dev.report import Clock
from dev.waiting import ending_in_order
from tests.chaos.run import Chaos
from tests.chaos.suite import QUICKROUTER

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Run it; return 0 for a clean ledger, 1 for another."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=200, help="prompts, half of them each way")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a clean run, too")
    options = parser.parse_args()
    clock, home = Clock(), ROOT / ".airflow" / f"chaos-{options.seed}"
    with ending_in_order(clock.say):
        limit = 300 + 5.0 * options.tasks
        result = Chaos(QUICKROUTER, options.seed, options.tasks, home, clock.say, limit).run()
    print(f"\nledger of seed {options.seed}, {options.tasks} tasks")
    print("\n".join(f"  {line}" for line in result.lines()))
    if not result.ledger.clean:
        print(f"\nNOT CLEAN: the logs are in ./{home.relative_to(ROOT)}")
        return 1
    if not options.keep:
        shutil.rmtree(home)
    print("\nclean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
