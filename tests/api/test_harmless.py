"""Trouble that fails no task."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_quickrouter.tasks.reporting import log_and_continue


def test_trouble_is_logged_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("no such host")

    with log_and_continue(logging.getLogger("test"), "The metrics were not told"):
        fails()
    assert "The metrics were not told; the task continues" in caplog.text
    assert "no such host" in caplog.text


def test_a_kill_is_no_trouble() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        log_and_continue(logging.getLogger("test"), "The metrics were not told"),
    ):
        raise KeyboardInterrupt
