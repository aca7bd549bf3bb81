"""What of an output is stored already: the small record beside the files, for a retry.

It is data from outside like any other: whoever can write to the storage can write to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_quickrouter.api.files import MAX_FILES, Source, StoredFile

FOLDER = ".quickrouter"
"""Where the records lie, below the path that files are stored under."""

MAX_BYTES = 16 * 2**20
"""Bytes of a record that are read at most."""

_VERSION = 1


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
        found = sorted(self.files.values(), key=lambda entry: entry[0])
        numbers = [n for n, _ in found]
        return found if self.total and numbers == [*range(self.total)] else []

    def to_bytes(self) -> bytes:
        """JSON from which :meth:`read` makes an equal one."""
        files = {key: {"n": n, **file.to_json()} for key, (n, file) in self.files.items()}
        return json.dumps({"version": _VERSION, "total": self.total, "files": files}).encode()

    @classmethod
    def read(cls, data: bytes) -> Inventory:
        """Read what :meth:`to_bytes` made.

        :raises ValueError: it is something else.
        """
        try:
            given = json.loads(data)
            if given["version"] != _VERSION or len(given["files"]) > MAX_FILES:
                raise ValueError("another version, or too many files")
            files = {str(key): _entry(entry) for key, entry in given["files"].items()}
            return cls(int(given["total"]), files)
        except (AttributeError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise ValueError(f"no record of stored files ({type(error).__name__})") from None


def _entry(given: Any) -> tuple[int, StoredFile]:
    return int(given["n"]), StoredFile.from_json(given)
