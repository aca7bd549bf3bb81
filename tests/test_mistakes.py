"""The twenty likeliest mistakes: found before anything is paid for, with the remedy in the message."""

from __future__ import annotations

import pytest

from tests import mistakes
from tests.mistakes import MISTAKES, PAGE, PARSED, Mistake, Seen


@pytest.fixture(scope="module")
def found() -> list[Seen]:
    return mistakes.all_seen()


def test_at_least_fifteen_of_twenty_mistakes_are_found_when_the_dag_is_parsed(found: list[Seen]) -> None:
    assert len(found) == 20
    assert sum(one.stage == PARSED for one in found) >= 15


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_the_message_of_a_mistake_names_the_remedy_before_anything_is_paid(
    mistake: Mistake, found: list[Seen]
) -> None:
    one = found[MISTAKES.index(mistake)]
    assert mistake.remedy in one.message
    assert one.creates == 0


def test_the_page_of_mistakes_is_what_the_command_prints(found: list[Seen]) -> None:
    assert PAGE.read_text() == mistakes.page(PAGE.read_text(), found), "run python -m tests.mistakes"
