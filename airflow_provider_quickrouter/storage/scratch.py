"""Temporary folders on this machine's disk, and what killed processes have left there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "quickrouter-files-"
YOUNGEST = 60.0  # seconds: a younger folder may be one that its process is just about to lock


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is removed at the end, or by a later call if this process is killed.

    This process locks it; the system releases the lock when the process ends, however it ends.
    """
    for abandoned in Path(tempfile.gettempdir()).glob(f"{PREFIX}????????"):
        with suppress(OSError):  # locked, or another user's
            if time.time() - abandoned.stat().st_mtime > YOUNGEST:
                with _locked(abandoned):
                    shutil.rmtree(abandoned, ignore_errors=True)
    # A killed task does not wait for ever for what still writes there.
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder, _locked(folder):
        yield Path(folder)


@contextmanager
def _locked(folder: Path | str) -> Iterator[None]:
    """Hold the lock of a folder; raise ``OSError`` if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
