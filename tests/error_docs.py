"""Write docs/reference/http-errors.md from the table that the tests hold: ``python -m tests.error_docs``."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.errors import APIError
from airflow_provider_quickrouter.hooks.quickrouter import resend_after
from airflow_provider_quickrouter.policies.retry import retry_pause
from airflow_provider_quickrouter.polling.poll import Again, Poll
from tests.hooks.answering import Response
from tests.test_error_table import TABLE, Row

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "http-errors.md"
HEAD = """\
# HTTP errors and exceptions

This page shows which exception follows from which HTTP response. `python -m tests.error_docs` generates the
page from `tests/test_error_table.py`. The tests check each row over real HTTP.

- **Response**: the HTTP status, and the content of the response. A *page* is a response with HTML.
- **Create: exception**: the exception of the submit operator and the run operator, if the create request gets
  this response.
- **Sent again**: the number of seconds after which the same attempt sends the create request again. Each
  further pause is twice as long, unless the response names a pause. A pause can be up to 10 % longer at
  random. All pauses together take at most two minutes.
- **Poll: exception**: the exception of the run operator and the sensor, if each poll gets this response. A
  wait raises `NotFoundError` after one minute, and every other exception after ten minutes: see
  [which response ends a wait](../operations/retries.md#which-response-ends-a-wait).
- **Polled again**: the number of seconds after which the same attempt polls again. A pause can be up to 20 %
  shorter or longer at random. No pause is longer than five minutes.
- **Retry**: whether Airflow retries the task after this exception. The number of seconds is the delay with
  `QuickRouterRetryPolicy()`. Without this policy, the delay is the `retry_delay` of the task.
- **First poll**: the exception of a sensor, if none of its polls has succeeded yet. The sensor fails at once,
  without a retry. "the same" means that the sensor behaves as after any other poll.

| Response | Create: exception | Sent again | Retry | Poll: exception | Polled again | Retry | First poll |
|---|---|---|---|---|---|---|---|
"""


def error_of(row: Row, name: str) -> APIError:
    status = row.response.status if isinstance(row.response, Response) else None
    made: APIError = getattr(errors, name)("text", status=status, retry_after=row.asked)
    return made


def retry(error: APIError) -> str:
    pause = retry_pause(error, 1, first=30, longest=600)
    return "no" if pause is None else f"yes, {pause:.0f}"


def sent_again(error: APIError) -> str:
    pause = resend_after(error, 1, 0, jitter=lambda: 0)
    return "no" if pause is None else f"{pause:.0f}"


def polled_again(error: APIError) -> str:
    step = Poll("p", started_at=0, jitter=lambda: 0.5).on_error(error, 0)
    return f"{step.after:.0f}" if isinstance(step, Again) else "no"


def line(row: Row) -> str:
    create, poll = error_of(row, row.create), error_of(row, row.wait)
    cells = (
        f"{row.says}",
        f"`{row.create}`",
        sent_again(create),
        retry(create),
        f"`{row.wait}`",
        polled_again(poll),
        retry(poll),
        f"`{row.first}`" if row.first else "the same",
    )
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    return HEAD + "".join(map(line, TABLE))


if __name__ == "__main__":
    PAGE.write_text(page())
