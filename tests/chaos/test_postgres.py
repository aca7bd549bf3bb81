"""The private PostgreSQL of a run: it keeps its address and its data when it is started again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from dev.postgres import postgres_server, programs


@pytest.mark.enable_socket
@pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql")
def test_a_server_that_is_stopped_and_started_again_has_its_address_and_its_data(
    tmp_path: Path,
) -> None:
    with postgres_server(tmp_path / "log") as server:
        engine = create_engine(server.url, pool_pre_ping=True)
        with engine.begin() as connection:
            connection.execute(text("create table kept as select 7 as number"))

        server.kill()
        with pytest.raises(OperationalError), engine.connect():
            pass

        server.start()
        with engine.connect() as connection:
            assert connection.execute(text("select number from kept")).scalar() == 7
        engine.dispose()
