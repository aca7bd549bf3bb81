"""The sandbox as a process of its own, which a test may end in any way."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MODULE = [sys.executable, "-W", "error", "-m", "airflow_provider_quickrouter.sandbox"]


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [*MODULE, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"QuickRouter sandbox on (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        try:
            yield process, found[1]
        finally:
            process.kill()
