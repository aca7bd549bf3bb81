"""A local gateway with QuickRouter's API, for demos and tests; no other package imports it.

It needs the extra ``sandbox``. Start it with ``quickrouter-sandbox`` (or ``python -m
airflow_provider_quickrouter.sandbox``), or in a test with
:class:`airflow_provider_quickrouter.sandbox.server.Sandbox`.
"""

from importlib.util import find_spec

_MISSING = [name for name in ("PIL", "starlette", "uvicorn") if find_spec(name) is None]
if _MISSING:
    raise ModuleNotFoundError(
        f"The sandbox needs {', '.join(_MISSING)}: pip install 'airflow-provider-quickrouter[sandbox]'",
        name=_MISSING[0],
    )
