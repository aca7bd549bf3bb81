"""Marks of the integration tests."""

import pytest

more_runs = pytest.mark.slow("more runs on the Airflow that the other integration tests share")
