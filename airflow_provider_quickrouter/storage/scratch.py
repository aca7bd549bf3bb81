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
    _remove_abandoned(Path(tempfile.gettempdir()))
    # A killed task does not wait for ever for what still writes there.
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        lock = _locked(Path(folder))
        try:
            yield Path(folder)
        finally:
            os.close(lock)


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{PREFIX}????????"):
        with suppress(OSError):  # locked, or another user's
            if time.time() - folder.stat().st_mtime > YOUNGEST:
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int:
    """Return a descriptor that holds the lock of a folder.

    :raises OSError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
