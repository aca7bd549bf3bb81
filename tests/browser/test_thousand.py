"""A run with a thousand pictures: quick and light, or nobody looks at it twice."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from dev.gallery_browser import Visitor
from dev.gallery_runs import DAG_ID, prompt

pytestmark = pytest.mark.slow("starts an API server of its own, and Chromium")

SECONDS = 2.0
BYTES = 1_000_000


def test_first_pictures_are_there_within_two_seconds_and_a_megabyte(visitor: Visitor) -> None:
    """Of up to eight openings, each with an empty cache: other work on the machine only adds."""
    openings: list[float] = []
    while min(openings, default=SECONDS) >= SECONDS and len(openings) < 8:
        visitor.forget_files()
        openings.append(visitor.time_to_first_picture(DAG_ID, "thousand"))
    frame = visitor.ready()
    visitor.wait_for_pictures(least=4)
    for card in frame.locator(".card").all()[::4]:
        card.scroll_into_view_if_needed()
        visitor.wait_for_pictures()
    whole = sum(visitor.transferred.values())
    expect(frame.locator(".card")).to_have_count(48)
    assert min(openings) < SECONDS, openings
    assert 10_000 < whole < BYTES


def test_its_pages_are_turned_by_keyboard(visitor: Visitor) -> None:
    frame = visitor.open_run(DAG_ID, "thousand")
    range_shown = frame.locator(".range")
    expect(range_shown).to_have_text(re.compile(r"^1\D48 of 1,000$"))
    frame.get_by_role("button", name="Next page").focus()
    visitor.page.keyboard.press("Enter")
    expect(range_shown).to_have_text(re.compile(r"^49\D96 of 1,000$"))
    expect(frame.get_by_role("button", name="Next page")).to_be_focused()
    expect(frame.locator(".card").first).to_contain_text(prompt(48))
    visitor.wait_for_pictures(least=4)
    frame.get_by_role("button", name="Page 21").click()
    expect(range_shown).to_have_text(re.compile(r"^961\D1,000 of 1,000$"))
    expect(frame.get_by_role("button", name="Next page")).to_be_disabled()
