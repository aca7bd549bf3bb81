"""Write docs/errors.md from the table that the tests hold: ``python -m tests.error_docs``."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.errors import APIError
from airflow_provider_quickrouter.api.polling import Again, Watch, resend_after
from airflow_provider_quickrouter.api.retrying import retry_pause
from tests.hooks.answering import Answer
from tests.test_error_table import TABLE, Row

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
HEAD = """\
# Which answer becomes which exception

Made by `python -m tests.error_docs` from the table in `tests/test_error_table.py`, whose rows are
run against the operators and the sensor, over real HTTP and with a clock of their own.

- **Create**: what the submit and the run operator raise when a create is answered so. *Sent again*
  is the first pause, in seconds, after which the same try sends it again, for two minutes of pauses
  at most; later pauses double where the server names none, and up to a tenth is added.
- **Question**: what the run operator and the sensor raise (poking and deferred alike) when each
  question about a prediction is answered so. *Asked again* is the first pause, in seconds, give or
  take a fifth; trouble is waited out for ten minutes (404: for 30 s after the create), and pauses
  are at most five minutes long.
- **Retry**: whether Airflow tries the task again after that, and after how many seconds with
  `QuickRouterRetryPolicy()`; without it the task's `retry_delay` holds.

| Answer | Create: exception | Sent again | Retry | Question: exception | Asked again | Retry |
|---|---|---|---|---|---|---|
"""


def error_of(row: Row, name: str) -> APIError:
    status = row.answer.status if isinstance(row.answer, Answer) else None
    made: APIError = getattr(errors, name)("text", status=status, retry_after=row.asked)
    return made


def retry(error: APIError) -> str:
    pause = retry_pause(error, 1, first=30, longest=600)
    return "no" if pause is None else f"yes, {pause:.0f}"


def sent_again(error: APIError) -> str:
    pause = resend_after(error, 1, 0, jitter=lambda: 0)
    return "no" if pause is None else f"{pause:.0f}"


def asked_again(error: APIError) -> str:
    step = Watch("p", started_at=0, jitter=lambda: 0.5).failed(error, 0)
    return f"{step.after:.0f}" if isinstance(step, Again) else "no"


def line(row: Row) -> str:
    create, question = error_of(row, row.create), error_of(row, row.wait)
    cells = (
        f"{row.says}",
        f"`{row.create}`",
        sent_again(create),
        retry(create),
        f"`{row.wait}`",
        asked_again(question),
        retry(question),
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    return HEAD + "".join(map(line, TABLE))


if __name__ == "__main__":
    PAGE.write_text(page())
