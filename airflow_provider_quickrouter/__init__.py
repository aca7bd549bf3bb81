"""QuickRouter provider for Apache Airflow: submit an image prediction, wait for it, use it."""

__version__ = "0.1.0"
