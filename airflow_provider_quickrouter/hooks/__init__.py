"""The Airflow connection and the two ways to send a request."""
