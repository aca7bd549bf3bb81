"""What a waiting task says into its log, and how seldom: on news, else ever less often."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus

HEARTBEAT = 60.0
"""Seconds after which an unchanged state is said again; or a quarter of the time waited, if that
is longer: thousands of waits may go on for hours."""

_TAIL = 4_096
"""Characters of a log's end in which the last progress bar is looked for."""

_PERCENT = re.compile(r"(\d{1,3})$")


def percentage(logs: str | bytes) -> int | None:
    """Percentage of the last progress bar in a model's log (``50%|█████ | 25/50``), or None.

    :param logs: as text, or within the JSON of an answer.
    """
    if isinstance(logs, bytes):
        logs = logs[max(0, logs.rfind(b"%|") - 3) :][:5].decode("ascii", "replace")
    before, bar, _ = logs[-_TAIL:].rpartition("%|")
    found = _PERCENT.search(before[-3:]) if bar else None
    return min(int(found[1]), 100) if found else None


@dataclass(slots=True)
class Progress:
    """Decide which answers deserve a line: a new state, a further quarter, or a minute gone by.

    :param started_at: epoch seconds from which the seconds in the line are counted.
    """

    started_at: float
    _said: tuple[str, int] | None = None
    _said_at: float = 0.0

    def line(self, prediction: Prediction, percent: int | None, now: float) -> str | None:
        """Return the line for this answer, or None if it brings nothing worth one.

        :param percent: how much of the work is done, see :func:`percentage`.
        """
        news = (prediction.status_word, (percent or 0) // 25)
        silence = max(HEARTBEAT, (now - self.started_at) / 4)
        if news == self._said and now - self._said_at < silence:
            return None
        self._said, self._said_at = news, now
        done = "" if percent is None else f", {percent}%"
        return f"Prediction {prediction.id}: {self._state(prediction)}, {self._waited(now)}{done}"

    def _waited(self, now: float) -> str:
        return f"waited {max(0.0, now - self.started_at):.0f} s"

    @staticmethod
    def _state(prediction: Prediction) -> str:
        known = prediction.status is not PredictionStatus.UNKNOWN
        return prediction.status_word if known else f"unknown state {prediction.status_word!r}"
