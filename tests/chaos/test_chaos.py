"""A small run of the whole: `make chaos` is the same with more tasks and other seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.postgres import programs
from tests.chaos.ledger import End
from tests.chaos.run import Chaos
from tests.chaos.suite import QUICKROUTER

TASKS = 16


@pytest.mark.slow("starts an Airflow of its own, and kills it")
@pytest.mark.integration
@pytest.mark.enable_socket
@pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql")
def test_nothing_is_lost_paid_twice_or_ended_wrongly_under_faults_and_kills(tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = Chaos(QUICKROUTER, seed=1, tasks=TASKS, home=home, say=print, limit=240).run()

    assert result.ledger.clean, "\n".join(result.lines())
    assert len(result.ledger.ends) == TASKS
    # All uncertain would be clean as well, and show nothing.
    assert list(result.ledger.ends.values()).count(End.SUCCEEDED) >= TASKS // 4
    assert result.struck.keys() >= {"task", "triggerer", "gateway", "triggerer stop"}
