"""Write the ERROR lines of docs/operations/troubleshooting.md: ``python -m tests.error_lines``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.protocol import Response, create, read_prediction, uncertain
from airflow_provider_quickrouter.hooks.airflow_errors import error_line
from airflow_provider_quickrouter.polling.poll import PATIENCE, Poll
from airflow_provider_quickrouter.storage.fetching import about

PAGE = Path(__file__).parent.parent / "docs" / "operations" / "troubleshooting.md"
BEGIN, END = "<!-- lines: python -m tests.error_lines -->\n", "<!-- end of lines -->\n"
ID = "ufawqhfynnddngldkgtslldrkq"
REQUEST = create({"prompt": "a cat"}, model="stability-ai/sdxl")
FAILED = {
    Reason.MODERATED: ("failed", "NSFW content detected"),
    Reason.FAILED: ("failed", "CUDA out of memory"),
    Reason.INTERRUPTED: ("failed", "Prediction interrupted; please retry (code: PA)"),
    Reason.CANCELED: ("canceled", None),
    Reason.ABORTED: ("aborted", None),
    Reason.EXPIRED: ("succeeded", None),
    Reason.EMPTY: ("succeeded", None),
    Reason.TIMEOUT: ("processing", None),
    Reason.START_TIMEOUT: ("starting", None),
}
REFUSED = {
    401: {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token"},
    402: {"title": "Insufficient credit", "detail": "You have insufficient credit to run this model"},
    403: {"detail": "This token has no access to the model"},
    404: {"detail": "The requested resource could not be found."},
    422: {"detail": "input.width: must be a multiple of 64"},
    429: {"detail": "Request was throttled. Your rate limit resets in ~7s."},
}


def refused(status: int, body: object) -> errors.QuickRouterError:
    try:
        read_prediction(REQUEST, Response(status, {}, json.dumps(body).encode()), time.time())
    except errors.QuickRouterError as error:
        return error
    raise AssertionError(f"{status} is a prediction")


def ended(reason: Reason) -> errors.QuickRouterError:
    status, message = FAILED[reason]
    seen = Prediction.from_json({"id": ID, "status": status, "error": message, "model": "stability-ai/sdxl"})
    stopped = "It was canceled." if reason in (Reason.TIMEOUT, Reason.START_TIMEOUT) else ""
    error = Outcome(reason=reason, prediction_id=ID, prediction=seen, stopped=stopped).exception()
    assert error is not None
    return error


def given_up(error: errors.QuickRouterError) -> errors.QuickRouterError:
    """Return the exception of a wait whose polls have all met this error."""
    poll = Poll(ID, started_at=0, confirmed=True)
    poll.on_error(error, 0)
    outcome = poll.on_error(error, PATIENCE)
    assert isinstance(outcome, Outcome)
    exception = outcome.exception()
    assert exception is not None
    return exception


def failures() -> Iterator[tuple[str, errors.QuickRouterError, bool]]:
    """Yield what failed, its error, and whether a retry of the task creates a prediction."""
    for status, body in REFUSED.items():
        yield "submit, run", refused(status, body), True
    no_channel = {"error": {"message": "no available channel for model", "code": "model_not_found"}}
    yield "submit, run", refused(503, no_channel), True
    lost = uncertain(errors.ConnectionLostError("no response from api.quickrouter.ai (ReadTimeout)"))
    yield "submit, run", lost, True
    yield "submit, run", errors.NotConnectedError("no connection to api.quickrouter.ai (refused)"), True
    for reason in FAILED:
        yield "run", ended(reason), True
    yield "sensor", ended(Reason.MODERATED), False
    outage = errors.UpstreamError("Service Unavailable", status=503)
    yield "run", given_up(outage), True
    yield "sensor", given_up(outage), False
    gone = errors.NotFoundError("The prediction could not be found", status=404, from_api=True)
    yield "run", given_up(gone), True
    yield "sensor", given_up(gone), False
    unavailable = errors.FileUnavailable("HTTP 503, after 6 attempts")
    yield "run", about(unavailable, 0, "https://replicate.delivery/out-0.png"), True


def lines() -> str:
    found = [
        f"{type(error).__name__} ({task})\n  {error_line(error, resubmits=pays)}"
        for task, error, pays in failures()
    ]
    return "```output\n" + "\n".join(found) + "\n```\n"


def page(text: str) -> str:
    """Return the page with today's lines."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{lines()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
