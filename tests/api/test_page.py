from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.api.prediction import PredictionStatus
from airflow_provider_quickrouter.api.protocol import Response, page, read_page

NOW = 1_000_000.0


def response(body: Any, status: int = 200) -> Response:
    return Response(status, {}, json.dumps(body).encode())


def test_a_page_is_asked_for_at_the_connections_own_address() -> None:
    assert page().path == "predictions"
    assert page("a b&c=../d").path == "predictions?cursor=a%20b%26c%3D..%2Fd"


def test_a_page_tells_predictions_and_the_cursor_of_the_next() -> None:
    found, cursor = read_page(
        response(
            {
                "next": "https://api.replicate.com/v1/predictions?cursor=cD0yMDIy%3D",
                "results": [{"id": "p1", "status": "processing"}, {"id": "p2", "status": "failed"}],
            }
        ),
        NOW,
    )
    assert [each.id for each in found] == ["p1", "p2"]
    assert found[0].status is PredictionStatus.PROCESSING
    assert cursor == "cD0yMDIy="


@pytest.mark.parametrize("link", [None, 7, "", "https://x/predictions", "http://[/?cursor=1"])
def test_a_page_without_a_cursor_is_the_last_one(link: Any) -> None:
    assert read_page(response({"next": link, "results": []}), NOW) == ([], None)


def test_entries_that_are_no_predictions_are_passed_over() -> None:
    found, _ = read_page(response({"results": [None, "p1", {"status": "x"}, {"id": "p2"}]}), NOW)
    assert [each.id for each in found] == ["p2"]


@pytest.mark.parametrize("body", [{}, {"results": {}}, {"id": "p1"}])
def test_what_is_no_page_is_an_error(body: Any) -> None:
    with pytest.raises(errors.UpstreamError, match="not a page"):
        read_page(response(body), NOW)


def test_a_gateway_without_a_list_is_a_typed_error() -> None:
    with pytest.raises(errors.NotFoundError):
        read_page(response({"error": {"message": "Invalid URL (GET /predictions)"}}, 404), NOW)


def test_a_body_with_a_byte_order_mark_is_read() -> None:
    assert read_page(Response(200, {}, b'\xef\xbb\xbf{"results": []}'), NOW) == ([], None)
