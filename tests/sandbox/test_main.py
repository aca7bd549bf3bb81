from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from .client import KEY
from .process import MODULE, started


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
    assert "unknown fault 'statsu'; choose from: latency, hang, status" in errors


def test_a_wrong_value_ends_with_2_and_says_which_are_good() -> None:
    assert "'drop' must be one of before, after" in refused("--fault", "drop=never")
    assert "invalid" in refused("--starting", "-1")


def test_options_limit_creates_and_other_calls() -> None:
    with started("--creates-per-minute", "1", "--calls-per-minute", "60") as (_, url):
        creates = [requests.post(f"{url}/v1/predictions", headers=KEY, timeout=5) for _ in "12"]
        calls = [requests.get(f"{url}/v1/models", headers=KEY, timeout=5) for _ in "12"]
    assert [answer.status_code for answer in creates] == [400, 429]
    assert [answer.status_code for answer in calls] == [200, 429]


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "many"])
def test_a_limit_that_cannot_be_ends_with_2(number: str) -> None:
    assert "invalid" in refused(f"--calls-per-minute={number}")


def test_a_taken_port_ends_with_1() -> None:
    with started() as (_, url):
        port = url.rpartition(":")[2]
        done = subprocess.run([*MODULE, "--port", port], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("content", ["", "notes without an end", "notes\n", '{"event": "x"}\n', "1\n"])
def test_a_state_that_is_no_state_ends_with_1_and_is_untouched(tmp_path: Path, content: str) -> None:
    state = tmp_path / "state" if content else tmp_path
    if content:
        state.write_text(content)
    command = [*MODULE, "--port", "0", "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(state) in done.stderr
    assert "Traceback" not in done.stderr
    assert not content or state.read_text() == content


def test_a_seed_that_is_no_number_ends_with_2() -> None:
    assert "argument --chaos: invalid int value" in refused("--chaos", "much")


def test_it_does_not_import_airflow() -> None:
    code = (
        "import sys, airflow_provider_quickrouter.sandbox.__main__ as m;"
        "assert 'airflow' not in sys.modules and 'pydantic' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0
