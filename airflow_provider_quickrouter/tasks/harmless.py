"""What may fail beside a prediction that is paid for, without failing its task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def harmless(log: Any, what: str) -> Iterator[None]:
    """Log whatever goes wrong, and go on: a failed task may be retried, and pay again.

    :param what: has not happened then: "The metrics of a prediction were not told".
    """
    try:
        yield
    except Exception:
        log.exception("%s; the task goes on", what)
