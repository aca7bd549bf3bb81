"""The record of a batch, next to its results: what was sent, accepted, and how it ended.

It is a folder of JSON lines, ``<output_path>.record/<run>/``, one for each run of the task, so
that runs which share an output path share nothing else. It holds no input and no key. A file is
appended to where the storage can do so; elsewhere each write is a file of its own, at most about
one a second. Each process writes files of its own, numbered after those that it has read: their
names in order tell the order of what happened.

Reading and writing block; :class:`Journal` lets many coroutines share few writes. ``batch.ledger``
describes the entries.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from airflow_provider_quickrouter.api.folders import protocols
from airflow_provider_quickrouter.batch.ledger import Entry, Lines, Place

SEGMENT = 2**40
"""Places are numbers: the file's number times this, plus the offset in it."""

OPEN = 64
"""Files that are kept open while the results are put in order."""

STORE_PAUSE = 1.0
"""Seconds between two writes to a storage that cannot append."""


class Record:
    """The record of one run of a task.

    :param output_path: of the results.
    :param owner: what tells this run of the task from all others.
    """

    def __init__(self, output_path: str, owner: str) -> None:
        # Here, since it is no light import and DAG files import the operators.
        from airflow.providers.common.compat.sdk import ObjectStoragePath

        path = ObjectStoragePath(output_path)
        self.output_path = output_path
        self._fs: Any = path.fs
        self._results = path.path
        self._folder = f"{path.path}.record/{owner}"
        self._appends = "file" in protocols(self._fs)
        self._files: list[str] = []
        self._out: Any = None
        self._own = ""
        self._writes = 0

    @property
    def pause(self) -> float:
        """Seconds that should lie between two writes."""
        return 0.0 if self._appends else STORE_PAUSE

    def read(self, total: int) -> Lines:
        """Read what there is; from now on what is written comes after it."""
        self._fs.makedirs(self._folder, exist_ok=True)
        self._fs.invalidate_cache()
        listed = (str(path) for path in self._fs.ls(self._folder, detail=False))
        self._files = sorted(path for path in listed if path.endswith(".jsonl"))
        lines = Lines(total)
        for place, entry in self._entries():
            lines.take(entry, place)
        self._own = f"{self._next_number():06d}-{secrets.token_hex(4)}"
        return lines

    def write(self, entries: Iterable[Entry]) -> list[Place]:
        """Store entries, for good once this returns; return their places."""
        texts = [json.dumps(entry).encode() + b"\n" for entry in entries]
        start = self._append(b"".join(texts))
        places = []
        for text in texts:
            places.append(start)
            start += len(text)
        return places

    def close(self) -> None:
        """Close the file that is appended to."""
        out, self._out = self._out, None
        if out:
            out.close()

    def store_results(self, lines: Iterable[dict[str, Any] | Place]) -> None:
        """Write the results under their own name, all or nothing.

        :param lines: each one, or the place in the record where it stands.
        """
        self.close()
        temporary = f"{self._folder}/results.tmp"
        self._fs.makedirs(self._results.rpartition("/")[0] or "/", exist_ok=True)
        with self._fs.open(temporary, "wb") as out, _Reader(self._fs, self._files) as reader:
            for line in lines:
                found = reader.line(line) if isinstance(line, int) else line
                out.write(json.dumps(found).encode() + b"\n")
        self._fs.mv(temporary, self._results)

    def _entries(self) -> Iterator[tuple[Place, Entry]]:
        for number, path in enumerate(self._files):
            place = number * SEGMENT
            with self._fs.open(path, "rb") as file:
                for text in file:
                    with suppress(ValueError):  # the last one of a process that was killed
                        yield place, json.loads(text)
                    place += len(text)

    def _next_number(self) -> int:
        names = [path.rpartition("/")[2] for path in self._files]
        return max((int(name[:6]) for name in names), default=0) + 1

    def _append(self, data: bytes) -> Place:
        if self._appends:
            return self._append_to_file(data)
        self._writes += 1
        path = f"{self._folder}/{self._own}-{self._writes:08d}.jsonl"
        self._fs.pipe_file(path, data)
        self._files.append(path)
        return (len(self._files) - 1) * SEGMENT

    def _append_to_file(self, data: bytes) -> Place:
        if self._out is None:
            path = f"{self._folder}/{self._own}.jsonl"
            if path not in self._files:
                self._files.append(path)
            self._out = self._fs.open(path, "ab")
        start = int(self._out.tell())
        self._out.write(data)
        self._out.flush()
        return self._files.index(f"{self._folder}/{self._own}.jsonl") * SEGMENT + start


class _Reader:
    """Reads lines of the results out of the record; they lie in nearly the same order there."""

    def __init__(self, fs: Any, files: list[str]) -> None:
        self._fs, self._files = fs, files
        self._open: OrderedDict[int, Any] = OrderedDict()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        for file in self._open.values():
            file.close()

    def line(self, place: Place) -> dict[str, Any]:
        number, offset = divmod(place, SEGMENT)
        file = self._file(number)
        file.seek(offset)
        end: dict[str, Any] = json.loads(file.readline())["end"]
        return end

    def _file(self, number: int) -> Any:
        if number not in self._open:
            self._open[number] = self._fs.open(self._files[number], "rb")
        self._open.move_to_end(number)
        if len(self._open) > OPEN:
            self._open.popitem(last=False)[1].close()
        return self._open[number]


def owner_of(ti: Any) -> str:
    """Name the run of a task, for a folder: without what would not do there."""
    whole = json.dumps([ti.dag_id, ti.task_id, ti.run_id, ti.map_index])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


class Journal:
    """What is put here is stored, and then holds in ``lines``.

    Entries that come while a write is under way, or within the storage's pause, go into the next
    one together.

    :param record: was read into ``lines``.
    """

    def __init__(self, record: Record, lines: Lines) -> None:
        self.record = record
        self.lines = lines
        self._waiting: list[tuple[tuple[Entry, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, *entries: Entry) -> None:
        """Return when the entries are stored, in this order; a storage's own errors are raised."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await stored

    async def close(self) -> None:
        """Store what is still waiting, and close the record."""
        if self._writer:
            await self._writer
        await asyncio.to_thread(self.record.close)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            entries = [entry for some, _ in batch for entry in some]
            error = await self._store(entries)
            for _, stored in batch:
                _settle(stored, error)
            await asyncio.sleep(self.record.pause)

    async def _store(self, entries: list[Entry]) -> BaseException | None:
        """Store entries and take them in; return what went wrong, for those who wait for it."""
        writing = asyncio.to_thread(self.record.write, entries)
        (places,) = await asyncio.gather(writing, return_exceptions=True)
        if isinstance(places, BaseException):
            return places
        for entry, place in zip(entries, places, strict=True):
            self.lines.take(entry, place)
        return None


def _settle(stored: asyncio.Future[None], error: BaseException | None) -> None:
    with suppress(asyncio.InvalidStateError):  # who waited was cancelled
        stored.set_exception(error) if error else stored.set_result(None)
