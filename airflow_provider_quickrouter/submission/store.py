"""Where the record of a task's create request is stored between attempts."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import Any

from airflow_provider_quickrouter.api.errors import FileRefused
from airflow_provider_quickrouter.storage.names import record_name, task_of
from airflow_provider_quickrouter.storage.target import Target
from airflow_provider_quickrouter.submission.record import Attempt
from airflow_provider_quickrouter.tasks.reporting import log_and_continue

STORE_KEY = "quickrouter_prediction"  # key of the record in the task's `task_state_store`


MAX_BYTES = 2**16  # of a record's file that are read; one that is larger is none


class StoredState:
    """What a record needs of ``task_state_store``, as a file of a storage, on every Airflow.

    :param folder: as ``ObjectStoragePath`` takes it. The file is its ``<DAG>/<run>/<task>-<digest>.json``.
    """

    def __init__(self, folder: Any, ti: Any) -> None:
        self._folder, self._ti, self._name = folder, ti, record_name(ti)

    @cached_property
    def _target(self) -> Target:
        return Target(self._folder, "durable")  # reads a connection, so not before it is used

    def get(self, key: str) -> Any:
        """Return what was stored, None if nothing was.

        :raises FileUnavailable: the storage cannot be read now, so that is not known.
        :raises FileRefused: the file is damaged.
        """
        data = self._target.read(self._name, MAX_BYTES, strict=True)
        try:
            return None if data is None else json.loads(data)[key]
        except (ValueError, TypeError, KeyError):
            path = self._target.path_of(self._name)
            raise FileRefused(
                f"{path} is not the record of a prediction. Look in the gateway's console whether this "
                "task has one; deleting the file lets the task create, and pay for, another."
            ) from None

    def set(self, key: str, value: Any) -> None:
        """Replace what is stored. The task is named for whoever reads the file."""
        self._target.write(self._name, json.dumps({**task_of(self._ti), key: value}).encode())

    def delete(self, key: str) -> None:
        """Store that there is nothing. The file stays: not everyone who may write may delete."""
        self.set(key, None)


class RecordStore:
    """The record of one task instance, in Airflow's ``task_state_store`` or in another storage.

    Airflow has that store since 3.3. Before, and with ``durable=False``, nothing is stored.

    :param context: the task's context.
    :param durable: True for Airflow's store, False for none, or a folder, see :class:`StoredState`.
    :ivar max_tries: the task's limit of attempts now; it grows when a person clears the task.
    """

    def __init__(self, context: Any, log: Any, *, durable: bool | str) -> None:
        if isinstance(durable, bool):
            self._state = context.get("task_state_store") if durable else None
        else:
            self._state = StoredState(durable, context["ti"])
        self._log = log
        self._unsaved: Attempt | None = None
        self.max_tries = int(getattr(context["ti"], "max_tries", 0) or 0)

    @property
    def is_durable(self) -> bool:
        """Whether a later attempt finds what this one stores."""
        return self._state is not None

    def load(self) -> Attempt | None:
        """Return the record, or None if there is none."""
        return None if self._state is None else Attempt.from_json(self._state.get(STORE_KEY))

    def save(self, attempt: Attempt) -> None:
        """Store a record. Raises what the store raises."""
        if self._state is not None:
            self._state.set(STORE_KEY, attempt.to_json())

    def save_paid(self, attempt: Attempt) -> None:
        """Store the record of an accepted request, now or at the next :meth:`flush`."""
        self._unsaved = attempt
        self.flush()

    def flush(self) -> None:
        """Store the id of an accepted request if that failed before: Airflow may be away."""
        if self._unsaved:
            with log_and_continue(self._log, "Of what is paid for, its id was not stored"):
                self.save(self._unsaved)
                self._unsaved = None

    def close(self, attempt: Attempt | None) -> None:
        """Replace a record without an id by another one, or delete it."""
        with log_and_continue(self._log, "Of what is paid for, the end of its create was not stored"):
            if attempt:
                self.save(attempt)
            elif self._state is not None:
                self._state.delete(STORE_KEY)

    def mark_done(self) -> None:
        """Remember that the task is about to succeed: a person who clears it wants a new one."""
        with log_and_continue(self._log, "Of what is paid for, its success was not stored"):
            if old := self.load():
                self.save(replace(old, done=True, max_tries=self.max_tries))
