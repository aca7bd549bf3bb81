from __future__ import annotations

from tests.error_docs import PAGE, page


def test_the_page_of_errors_is_the_table_of_the_tests() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.error_docs"
