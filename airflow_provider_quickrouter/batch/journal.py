"""The record of a batch, next to its results: what was sent, accepted, and how it ended.

It is a folder of JSON lines, ``<output_path>.record/<run>/``, one for each run of the task. The file
``owner.json`` next to it names the run that writes the results. The record holds no input and no key.
Where the storage can append, each process appends to one file; elsewhere each write is a file of
its own, at most about one a second. Files are numbered after those that the process has read: their
names in order give the order of what happened.

Reading and writing block; :class:`Journal` lets many coroutines share few writes. ``batch.ledger``
describes the entries.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.storable import storable_string
from airflow_provider_quickrouter.batch.ledger import Entry, Ledger, Place
from airflow_provider_quickrouter.storage.names import task_of
from airflow_provider_quickrouter.storage.target import (
    is_object_store,
    open_argument,
    protocols,
    write_first,
    write_whole,
)

FILE_REMEDY = "give a file such as s3://conn_id@bucket/results/{{ run_id }}.jsonl."
SEGMENT = 2**40  # a place is a number: the file's number times this, plus the offset in the file
OPEN = 64  # files that are open at the same time while the results are put in order
READ_AHEAD = 2**20  # bytes of each of them that are read at a time; S3's default is 50 MiB
STORE_PAUSE = 1.0  # seconds between two writes to a storage that cannot append


class Record:
    """The record of one run of a task.

    :param output_path: of the results.
    :param owner: the name of the run, see ``storage.names.owner_of``.
    """

    def __init__(self, output_path: str, owner: str) -> None:
        path = open_argument("output_path", output_path, FILE_REMEDY)
        self._fs: Any = path.fs
        self._path, self._results = str(path), path.path
        self._folder = f"{self._results}.record/{owner}"
        self._appends = "file" in protocols(self._fs)
        self._files: list[str] = []
        self._out: Any = None
        self._own = ""
        self._writes = 0

    @property
    def pause(self) -> float:
        """Seconds between two writes."""
        return 0.0 if self._appends else STORE_PAUSE

    def read(self, total: int) -> Ledger:
        """Read all entries; those that are written from now on come after them."""
        self._files = self._list()
        ledger = Ledger(total)
        for number, path in enumerate(self._files):
            place = number * SEGMENT
            with self._fs.open(path, "rb") as file:
                for line in file:
                    # The last line of a process that was killed may be cut off.
                    with suppress(ValueError):
                        ledger.take(json.loads(line), place)
                    place += len(line)
        numbers = (int(path.rpartition("/")[2][:6]) for path in self._files)
        # The random part separates two processes that run at the same time.
        self._own = f"{max(numbers, default=0) + 1:06d}-{secrets.token_hex(4)}"
        return ledger

    def claim(self, ti: Any) -> None:
        """Reserve the output path for the results of one run, before anything is paid for.

        :param ti: the task instance.
        :raises InvalidInputError: another run has reserved it, or the path is a folder.
        """
        if not is_object_store(self._fs) and self._fs.isdir(self._results):
            raise InvalidInputError(f"output_path: {self._path!r} is a folder; {FILE_REMEDY}")
        mine = json.dumps(task_of(ti)).encode()
        found = write_first(self._fs, f"{self._results}.record/owner.json", mine)
        if found != mine:
            other = storable_string(found.decode(errors="replace"), 1000)
            raise InvalidInputError(
                f"output_path: {self._path!r} is for the results of another run, {other}. Put "
                "{{ run_id }} and, in a mapped task, {{ ti.map_index }} into the path. If those results "
                f"are not needed any more, delete the folder {self._path}.record."
            )

    def write(self, entries: Iterable[Entry]) -> list[Place]:
        """Store entries durably; return their places."""
        lines = [json.dumps(entry).encode() + b"\n" for entry in entries]
        data = b"".join(lines)
        place = self._append(data) if self._appends else self._write_file(data)
        places = []
        for line in lines:
            places.append(place)
            place += len(line)
        return places

    def close(self) -> None:
        """Close the file that is appended to."""
        out, self._out = self._out, None
        if out:
            out.close()

    def store_results(
        self, lines: Iterable[dict[str, Any] | Place], on_line: Callable[[dict[str, Any]], None]
    ) -> None:
        """Write the results under their own name, all or nothing.

        :param lines: each one, or its place in the record.
        :param on_line: is called with each of them.
        """
        self.close()
        # On this machine first: what an object store is sent in parts, it would show unfinished.
        with tempfile.NamedTemporaryFile(prefix="quickrouter-") as out, self._reader() as result_at:
            for line in lines:
                result = result_at(line) if isinstance(line, int) else line
                on_line(result)
                out.write(json.dumps(result).encode() + b"\n")
            out.flush()
            write_whole(self._fs, self._results, lambda place: self._fs.put_file(out.name, place))

    def _list(self) -> list[str]:
        """Return the files of the record in the order in which they were written."""
        if not is_object_store(self._fs):
            self._fs.makedirs(self._folder, exist_ok=True)
        self._fs.invalidate_cache()
        try:
            listed = [str(path) for path in self._fs.ls(self._folder, detail=False)]
        except FileNotFoundError:  # an object store has no empty folders
            listed = []
        return sorted(path for path in listed if path.endswith(".jsonl"))

    @contextmanager
    def _reader(self) -> Iterator[Callable[[Place], dict[str, Any]]]:
        """Give a function that reads the result at a place.

        Results are in nearly the same order in the record, so a few open files are enough.
        """
        files: OrderedDict[int, Any] = OrderedDict()

        def result_at(place: Place) -> dict[str, Any]:
            number, offset = divmod(place, SEGMENT)
            if number not in files:
                files[number] = self._fs.open(self._files[number], "rb", block_size=READ_AHEAD)
            files.move_to_end(number)
            if len(files) > OPEN:
                files.popitem(last=False)[1].close()
            files[number].seek(offset)
            result: dict[str, Any] = json.loads(files[number].readline())["end"]
            return result

        try:
            yield result_at
        finally:
            for file in files.values():
                file.close()

    def _append(self, data: bytes) -> Place:
        path = f"{self._folder}/{self._own}.jsonl"
        if self._out is None:
            if path not in self._files:
                self._files.append(path)
            self._out = self._fs.open(path, "ab")
        place = self._files.index(path) * SEGMENT + int(self._out.tell())
        self._out.write(data)
        self._out.flush()
        return place

    def _write_file(self, data: bytes) -> Place:
        self._writes += 1
        path = f"{self._folder}/{self._own}-{self._writes:08d}.jsonl"
        self._fs.pipe_file(path, data)
        self._files.append(path)
        return (len(self._files) - 1) * SEGMENT


class Journal:
    """Stores entries, and then takes them into the ledger.

    Entries that come during a write, or within the storage's pause, go into the next
    one together.

    :param ledger: what was read from the record.
    """

    def __init__(self, record: Record, ledger: Ledger) -> None:
        self.record = record
        self.ledger = ledger
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
            waiting, self._waiting = self._waiting, []
            entries = [entry for some, _ in waiting for entry in some]
            writing = asyncio.to_thread(self.record.write, entries)
            # Any exception of the storage belongs to those who wait, not to this loop.
            (places,) = await asyncio.gather(writing, return_exceptions=True)
            error = places if isinstance(places, BaseException) else None
            if not isinstance(places, BaseException):
                for entry, place in zip(entries, places, strict=True):
                    self.ledger.take(entry, place)
            for _, stored in waiting:
                if not stored.done():  # the waiting task may have been cancelled
                    stored.set_exception(error) if error else stored.set_result(None)
            await asyncio.sleep(self.record.pause)
