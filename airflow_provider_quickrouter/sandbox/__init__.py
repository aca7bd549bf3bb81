"""A local gateway that speaks the API, for demos and tests; nothing of the package imports it.

It needs the extra ``sandbox``. Start it with ``quickrouter-sandbox`` (or ``python -m
airflow_provider_quickrouter.sandbox``), or hold one in a test with
:class:`airflow_provider_quickrouter.sandbox.server.Sandbox`.
"""
