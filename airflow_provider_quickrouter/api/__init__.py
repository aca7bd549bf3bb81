"""Decisions about the API, without Airflow, without an HTTP client, without a clock."""
