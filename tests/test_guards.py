"""The suite's own guards: they must bite, or the tests that rely on them prove nothing."""

from __future__ import annotations

import socket
import time
import warnings

import pytest
from blockbuster import BlockingError
from pytest_socket import SocketConnectBlockedError


async def test_a_blocking_call_on_the_event_loop_is_an_error() -> None:
    with pytest.raises(BlockingError):
        time.sleep(0.001)  # noqa: ASYNC251


def test_the_network_beyond_this_machine_is_refused() -> None:
    blocked = pytest.raises((SocketConnectBlockedError, UserWarning))
    with socket.socket() as outside, blocked:
        outside.connect(("192.0.2.1", 80))


def test_a_warning_is_an_error() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
