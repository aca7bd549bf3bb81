from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_quickrouter.api.errors import (
    FileRefused,
    FileUnavailable,
    InvalidInputError,
    PredictionExpired,
    from_payload,
)
from airflow_provider_quickrouter.storage.fetching import (
    LONGEST_PAUSE,
    LONGEST_RETRY_AFTER,
    PATIENCE,
    Failure,
    Owner,
    about,
    check_redirect,
    expired,
    is_redirect,
    pause_before,
    read_status,
)

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOW = AT.timestamp()
LIVING = Owner("p1", AT + timedelta(hours=1))
DEAD = Owner("p1", AT - timedelta(seconds=1))
UNKNOWN = Owner("digest", known=False)
GONE = Failure("HTTP 404", gone=True)


def test_a_good_status_is_no_trouble() -> None:
    assert read_status(200, {}, NOW) is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_passing_trouble(status: int) -> None:
    assert read_status(status, {}, NOW) == Failure(f"HTTP {status}")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_gone(status: int) -> None:
    assert read_status(status, {}, NOW) == Failure(f"HTTP {status}", gone=True)


@pytest.mark.parametrize("status", [201, 204, 206, 302, 400, 401, 402, 451])
def test_what_another_try_would_meet_again(status: int) -> None:
    with pytest.raises(FileRefused, match=f"HTTP {status}"):
        read_status(status, {}, NOW)


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("7", 7),
        ("Mon, 23 Nov 2026 12:00:09 GMT", 9),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", LONGEST_RETRY_AFTER),
        ("99999999", LONGEST_RETRY_AFTER),
    ],
)
def test_the_pause_that_a_server_asks_for(header: str, asked: float | None) -> None:
    trouble = read_status(503, {"retry-after": header}, NOW)
    assert trouble == Failure("HTTP 503", asked)


def test_pauses_grow_and_end() -> None:
    trouble, pauses = Failure("HTTP 503"), list[float]()
    for tries in range(1, 9):
        pauses.append(pause_before(trouble, tries, sum(pauses), LIVING, NOW))
    assert pauses == [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    assert sum(pauses) <= PATIENCE < sum(pauses) + LONGEST_PAUSE
    with pytest.raises(FileUnavailable, match="HTTP 503, after 9 attempts"):
        pause_before(trouble, 9, sum(pauses), LIVING, NOW)


def test_a_pause_beyond_the_patience_is_left_to_the_task() -> None:
    assert pause_before(Failure("HTTP 429", 60), 1, 0, LIVING, NOW) == 60
    with pytest.raises(FileUnavailable) as failed:
        pause_before(Failure("HTTP 429", 121), 1, 0, LIVING, NOW)
    assert (failed.value.retry_after, failed.value.transient) == (121, True)


@pytest.mark.parametrize("owner", [LIVING, DEAD, UNKNOWN])
@pytest.mark.parametrize("failure", [GONE, Failure("HTTP 403", gone=True), Failure("a page", refused=True)])
def test_what_may_be_late_is_requested_again_whatever_is_known_of_its_hour(
    owner: Owner, failure: Failure
) -> None:
    assert [pause_before(failure, n, 0, owner, NOW) for n in (1, 2, 3)] == [0.5, 1, 2]
    assert pause_before(failure, 4, PATIENCE - 4, owner, NOW) == 4


def test_what_is_gone_after_its_hour_has_expired() -> None:
    with pytest.raises(PredictionExpired, match=r"expired at 2026-11-23T11:59:59\+00:00"):
        pause_before(GONE, 9, PATIENCE, DEAD, NOW)
    assert not DEAD.expired(NOW - 2)


def test_what_is_gone_before_its_hour_may_be_there_for_a_retry() -> None:
    with pytest.raises(FileUnavailable, match="after 9 attempts"):
        pause_before(GONE, 9, PATIENCE, LIVING, NOW)
    with pytest.raises(FileUnavailable, match="after 1 attempt$"):
        pause_before(Failure("HTTP 503", 999), 1, 0, LIVING, NOW)


def test_what_is_gone_without_a_known_hour_has_expired_or_is_forbidden() -> None:
    with pytest.raises(PredictionExpired, match="The files of the output are gone"):
        pause_before(GONE, 9, PATIENCE, UNKNOWN, NOW)
    with pytest.raises(FileRefused, match="its signature may have expired"):
        pause_before(Failure("HTTP 403", gone=True), 9, PATIENCE, UNKNOWN, NOW)


@pytest.mark.parametrize("owner", [LIVING, DEAD, UNKNOWN])
def test_what_stays_something_else_is_refused(owner: Owner) -> None:
    with pytest.raises(FileRefused, match="it is an HTML page"):
        pause_before(Failure("it is an HTML page", refused=True), 9, PATIENCE, owner, NOW)


def test_an_hour_is_told_in_utc_with_what_to_do() -> None:
    there = timedelta(hours=2)
    owner = Owner("p1", datetime.fromisoformat("2026-11-23T14:00:00+02:00"))
    assert owner.expires_at is not None
    assert owner.expires_at.utcoffset() == there
    error = expired(owner)
    assert "files of prediction p1 expired at 2026-11-23T12:00:00+00:00" in str(error)
    assert "output_path=" in str(error)
    assert error.prediction_id == "p1"


def test_redirects() -> None:
    assert all(map(is_redirect, (301, 302, 303, 307, 308)))
    assert not any(map(is_redirect, (200, 300, 304, 305, 404)))
    check_redirect(5, "https", "https")
    check_redirect(1, "http", "https")
    with pytest.raises(FileRefused, match="more than 5 times"):
        check_redirect(6, "https", "https")
    with pytest.raises(FileRefused, match="from https to http"):
        check_redirect(1, "https", "http")


def test_an_error_names_its_file_and_keeps_what_it_is() -> None:
    error = FileUnavailable("HTTP 429", retry_after=7)
    told = about(error, 3, "https://x.test/a")
    assert str(told) == "File 3 of the output (https://x.test/a) was not stored: HTTP 429."
    assert (type(told), told.retry_after) == (FileUnavailable, 7)
    other = InvalidInputError("name: x")
    assert about(other, 3, "") is other


@pytest.mark.parametrize("kind", [FileRefused, FileUnavailable])
def test_an_error_crosses_to_another_process(kind: type[FileRefused | FileUnavailable]) -> None:
    error = from_payload(kind("too large").to_payload())
    assert (type(error), str(error)) == (kind, "too large")
