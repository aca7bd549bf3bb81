"""A run from the command line: its ledger is shown, and its logs are kept if need be."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from dev.report import Clock
from dev.waiting import ending_in_order
from tests.chaos.run import Chaos

ROOT = Path(__file__).resolve().parent.parent.parent


def parser(name: str, tasks: int, description: str | None) -> argparse.ArgumentParser:
    """Return the command line: ``seed``, ``tasks``, ``keep``."""
    made = argparse.ArgumentParser(prog=f"make {name}", description=description)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--tasks", type=int, default=tasks, help="prompts, half of them each way")
    made.add_argument("--keep", action="store_true", help="keep the logs of a clean run, too")
    return made


def settle(
    name: str, chosen: argparse.Namespace, make: Callable[[Path, Callable[[str], None]], Chaos]
) -> int:
    """Run what ``make`` returns for a home and a clock; return 0 for a clean ledger, else 1."""
    clock, home = Clock(), ROOT / ".airflow" / f"{name}-{chosen.seed}"
    chaos = make(home, clock.say)
    with ending_in_order(clock.say):
        result = chaos.run()
    gaps = chaos.gaps(result)
    clean = result.ledger.clean and not gaps
    last = "clean" if clean else f"NOT CLEAN: the logs are in ./{home.relative_to(ROOT)}"
    told = [f"  {line}" for line in chaos.lines(result)]
    head = f"ledger of seed {chosen.seed}, {chosen.tasks} tasks"
    sys.stdout.write("\n".join(["", head, *told, *gaps, "", last, ""]))
    if clean and not chosen.keep:
        shutil.rmtree(home)
    return 0 if clean else 1
