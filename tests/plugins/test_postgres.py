"""What the gallery asks of the database is answered by PostgreSQL as it is by SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from dev.gallery_runs import DAG_ID, motley_run
from dev.gallery_server import GalleryServer, token_of
from dev.postgres import postgres, programs
from tests.plugins.conftest import Ask, as_text_run, states_run

RUNS = ("motley", "states", "as_text")


def facts(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    named = ("id", "state", "status", "prompt", "seed", "model", "error")
    return [(*(card[name] for name in named), len(card["stored"])) for card in answer["cards"]]


@pytest.mark.slow("starts a second API server, on PostgreSQL")
@pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql")
def test_postgresql_gives_the_same_cards_as_sqlite(tmp_path: Path, pictures: Ask) -> None:
    with postgres(tmp_path / "postgres.log") as address:
        env = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address}
        with GalleryServer(tmp_path / "home", {"admin": "admin"}, env=env) as server:
            server.fill(motley_run(tmp_path / "files"), states_run(), as_text_run())
            headers = {"Authorization": f"Bearer {token_of(server.url, 'admin')}"}
            url = f"{server.url}/quickrouter/api/dags/{DAG_ID}/pictures"
            for run_id in RUNS:
                answer = requests.get(url, {"run_id": run_id}, headers=headers, timeout=30)
                assert facts(answer.json()) == facts(pictures(run_id).json())
                assert answer.json()["cards"]
