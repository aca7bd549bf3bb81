"""``make live`` against the sandbox: it must work at once for whoever has a key."""

from __future__ import annotations

import os
import subprocess
import sys

from airflow_provider_quickrouter.sandbox.server import Sandbox
from tests.conftest import KEY


def test_it_makes_one_prediction_and_prints_shapes_but_not_the_key(gateway: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dev.live", "--base-url", gateway.url],
        env=os.environ | {"QUICKROUTER_API_KEY": KEY},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert gateway.creates == 1
    for shown in ("free call with a bad key", "status   401", "x-oneapi-request-id", "succeeded"):
        assert shown in done.stdout
    assert KEY not in done.stdout + done.stderr
