"""``make benchmark SEED=1 TASKS=60``: run the contenders one after the other, print a table."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.table import table
from dev.report import Clock
from dev.waiting import ending_in_order
from tests.chaos.run import Chaos, Result

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run it; return 0 when all contenders ran."""
    options = parser().parse_args()
    clock, results = Clock(), dict[str, Result]()
    with ending_in_order(clock.say):
        for contender in chosen(options.only):
            clock.say(f"--- {contender.title}")
            results[contender.title] = run(contender, options, clock)
    print(f"\nseed {options.seed}, {options.tasks} tasks for each contender\n")
    print("\n".join(table(results)))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="make benchmark", description=__doc__)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--tasks", type=int, default=60, help="prompts for each contender")
    names = [contender.name for contender in CONTENDERS]
    made.add_argument("--only", nargs="+", choices=names, help="default: all")
    made.add_argument("--keep", action="store_true", help="keep the logs")
    return made


def chosen(names: Sequence[str] | None) -> list[Contender]:
    """Return the contenders of these names, all of them by default."""
    return [contender for contender in CONTENDERS if not names or contender.name in names]


def run(contender: Contender, options: argparse.Namespace, clock: Clock) -> Result:
    """Run one contender on a fresh Airflow and a fresh gateway, which end with it."""
    home = ROOT / ".airflow" / f"benchmark-{options.seed}-{contender.name}"
    limit = 300 + 10.0 * options.tasks
    chaos = Chaos(contender.suite, options.seed, options.tasks, home, clock.say, limit)
    result = chaos.run()
    if not options.keep:
        shutil.rmtree(home)
    return result


if __name__ == "__main__":
    sys.exit(main())
