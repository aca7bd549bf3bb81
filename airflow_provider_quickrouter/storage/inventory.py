"""Which files of an output are stored already: the record beside the files, for a retry.

The record comes from outside: whoever can write to the storage can write to it. It holds no
addresses, only digests of them, so an output cannot be restored from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_quickrouter.api.files import MAX_FILES, Source, StoredFile
from airflow_provider_quickrouter.api.storable import LONGEST_HEADER, storable_text

FOLDER = ".quickrouter"
"""Where the records lie, below the path that files are stored under."""

MAX_BYTES = 16 * 2**20
"""Bytes of a record that are read at most."""

_VERSION = 1
_MAX_NUMBER = 2**53
"""A size or a number of pixels beyond it was not written by this package."""


@dataclass
class Inventory:
    """The files of one output that are stored.

    :ivar total: how many files the output has; 0 while that is not known.
    :ivar files: number of the file and what was stored, by ``Source.key``.
    """

    total: int = 0
    files: dict[str, tuple[int, StoredFile]] = field(default_factory=dict)

    def add(self, source: Source, file: StoredFile) -> None:
        """Note that a file is stored."""
        self.files[source.key] = (source.n, file)

    def find(self, source: Source) -> StoredFile | None:
        """Return what was stored of a file, if it was."""
        found = self.files.get(source.key)
        return found[1] if found and found[0] == source.n else None

    def whole(self) -> list[tuple[int, StoredFile]]:
        """Return all files of the output, in order, if all are stored; else nothing."""
        # One file may stand here twice, under the addresses of two attempts: the later one counts.
        latest = dict(self.files.values())
        numbers = sorted(latest)
        whole = self.total == len(numbers) and numbers == [*range(len(numbers))]
        return [(n, latest[n]) for n in numbers] if whole else []

    def to_bytes(self) -> bytes:
        """Return JSON from which :meth:`read` makes an equal one."""
        files = {key: {"n": n, **file.to_json()} for key, (n, file) in self.files.items()}
        return json.dumps({"version": _VERSION, "total": self.total, "files": files}).encode()

    @classmethod
    def read(cls, data: bytes) -> Inventory:
        """Read what :meth:`to_bytes` made.

        :raises ValueError: it is something else. The message may quote the data.
        """
        try:
            given = json.loads(data)
            if given["version"] != _VERSION or len(given["files"]) > MAX_FILES:
                raise ValueError("another version, or too many files")
            files = {str(key): _entry(entry) for key, entry in given["files"].items()}
            return cls(int(given["total"]), files)
        except (AttributeError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"it is not a record of files ({type(error).__name__})") from None


def _entry(given: Any) -> tuple[int, StoredFile]:
    file = StoredFile.from_json(given)
    if max(file.size, file.width or 0, file.height or 0) > _MAX_NUMBER:
        raise ValueError("a number is too large")
    content_type = storable_text(file.content_type, LONGEST_HEADER)
    return int(given["n"]), replace(file, content_type=content_type)
