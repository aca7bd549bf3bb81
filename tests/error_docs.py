"""Write docs/errors.md from the table that the tests hold: ``python -m tests.error_docs``."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.errors import APIError
from airflow_provider_quickrouter.hooks.quickrouter import resend_after
from airflow_provider_quickrouter.policies.retry import retry_pause
from airflow_provider_quickrouter.polling.poll import Again, Poll
from tests.hooks.answering import Response
from tests.test_error_table import TABLE, Row

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"
HEAD = """\
# Which answer becomes which exception

Made by `python -m tests.error_docs` from the table in `tests/test_error_table.py`, whose rows are
run against the operators and the sensor, over real HTTP and with a clock of their own.

- **Create**: what the submit and the run operator raise when a create is answered so. *Sent again*
  is the first pause, in seconds, after which the same try sends it again, for two minutes of pauses
  at most; later pauses double where the server names none, and up to a tenth is added.
- **Poll**: what the run operator and the sensor raise (poking and deferred alike) when each poll of
  a prediction gets this response. *Polled again* is the first pause, in seconds, give or take a
  fifth; pauses are at most five minutes long. Only the API's own 404 or 410 (a JSON body) that
  lasts for a minute means that the prediction is gone. Every other error is waited out for ten
  minutes. The exception then quotes the last response, nothing is canceled, and a retry resumes the
  prediction. The run operator cancels it only if no retry can resume it: before Airflow 3.3, or
  with `durable=False`.
- **First poll**: what ends a sensor's wait at once, without a retry, as long as no poll of it has
  had a good response: the key, the account or its permissions are wrong. "the same" stands for what
  the columns under *Poll* say.
- **Retry**: whether Airflow tries the task again after that, and after how many seconds with
  `QuickRouterRetryPolicy()`; without it the task's `retry_delay` holds.

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
