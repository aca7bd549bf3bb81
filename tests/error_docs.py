"""Write docs/reference/http-errors.md from the tests' table: ``python -m tests.error_docs``."""

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

Which exception a task raises for which HTTP response. `python -m tests.error_docs` writes this page
from the table in `tests/test_error_table.py`. The tests run each row against the operators and the
sensor, over HTTP.

- **Create**: the exception of the submit and run operators when a create request gets this response.
  *Sent again* is the first pause, in seconds, before the same attempt sends the request again. Later
  pauses double if the server does not name one, each pause is up to 10 % longer, and the pauses end
  after two minutes.
- **Poll**: the exception of the run operator and the sensor, in every mode, when each poll gets this
  response. *Polled again* is the first pause, in seconds, plus or minus 20 %. A pause is at most five
  minutes long. Only a JSON 404 or 410 of the API that lasts for a minute means that the prediction is
  gone. After any other error the task polls for ten minutes. Then it raises this exception, which
  quotes the last response. Nothing is canceled, and a retry resumes the prediction. The run operator
  cancels the prediction only if no retry can resume it: before Airflow 3.3, or with `durable=False`.
- **First poll**: the exception that ends a sensor's wait at once, without a retry, if no earlier poll
  succeeded. The key, the account or its permissions are wrong. "the same" means: as under *Poll*.
- **Retry**: whether Airflow retries the task, and after how many seconds with
  `QuickRouterRetryPolicy()`. Without this policy Airflow waits for the task's `retry_delay`.

| Response | Create: exception | Sent again | Retry | Poll: exception | Polled again | Retry | First poll |
|---|---|---|---|---|---|---|---|
"""  # noqa: E501  # the row of a table


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
