from __future__ import annotations

from airflow_provider_quickrouter.hooks.airflow_errors import error_line
from tests import error_lines
from tests.error_docs import PAGE, page


def test_the_page_of_errors_is_the_table_of_the_tests() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.error_docs"


def test_the_page_on_failures_has_the_error_lines_of_the_code() -> None:
    assert error_lines.PAGE.read_text() == error_lines.page(error_lines.PAGE.read_text())


def test_each_error_line_is_one_line_that_states_the_cost_of_a_clear() -> None:
    for _, error, pays in error_lines.failures():
        line = error_line(error, resubmits=pays)
        assert "\n" not in line
        assert "Clear" in line
        assert error.remedy in line
