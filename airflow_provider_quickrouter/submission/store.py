"""Where the record of a task's create request is stored between attempts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider_quickrouter.submission.record import Attempt
from airflow_provider_quickrouter.tasks.reporting import log_and_continue

STORE_KEY = "quickrouter_prediction"  # key of the record in the task's `task_state_store`


class RecordStore:
    """The record of one task instance, in Airflow's ``task_state_store``.

    Airflow has that store since 3.3. Before, and with ``durable=False``, nothing is stored.

    :param context: the task's context.
    :ivar max_tries: the task's limit of attempts now; it grows when a person clears the task.
    """

    def __init__(self, context: Any, log: Any, *, durable: bool) -> None:
        self._state = context.get("task_state_store") if durable else None
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
        """Store a record. Raises what Airflow raises."""
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
