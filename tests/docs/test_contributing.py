"""The files that CONTRIBUTING.md names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_quickrouter"
NAMED = sorted(set(re.findall(r"`([\w./]+\.py)`", (ROOT / "CONTRIBUTING.md").read_text())))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_contributors_are_sent_to_exists(name: str) -> None:
    assert (PACKAGE / name).is_file() or (ROOT / name).is_file()
