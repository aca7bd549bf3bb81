from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

MODULE = [sys.executable, "-W", "error", "-m", "airflow_provider_quickrouter.sandbox"]


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [*MODULE, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"QuickRouter sandbox on (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        try:
            yield process, found[1]
        finally:
            process.kill()


def refused(*options: str) -> str:
    done = subprocess.run([*MODULE, *options], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_quietly(name: signal.Signals) -> None:
    with started() as (process, url):
        assert requests.get(url, timeout=5).status_code == 200
        process.send_signal(name)
        rest, errors = process.communicate(timeout=5)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_options_set_the_key_and_the_faults() -> None:
    with started("--api-key", "k", "--fault", "status=418", "--fault", "latency=0") as (_, url):
        good = {"Authorization": "Bearer k"}
        assert requests.get(f"{url}/v1/models", headers=good, timeout=5).status_code == 418


def test_a_wrong_fault_ends_with_2_and_lists_the_good_ones() -> None:
    errors = refused("--fault", "statsu=502")
    assert "unknown fault 'statsu'; there are: latency, hang, status" in errors


def test_a_wrong_value_ends_with_2_and_says_which_are_good() -> None:
    assert "'drop' must be one of before, after" in refused("--fault", "drop=never")
    assert "invalid" in refused("--starting", "-1")


def test_a_taken_port_ends_with_1() -> None:
    with started() as (_, url):
        port = url.rpartition(":")[2]
        done = subprocess.run([*MODULE, "--port", port], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_it_does_not_import_airflow() -> None:
    code = (
        "import sys, airflow_provider_quickrouter.sandbox.__main__ as m;"
        "assert 'airflow' not in sys.modules and 'pydantic' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0
