"""Runs inside an environment of the matrix: whether Airflow accepts the provider info.

Prints a line of JSON among what Airflow logs.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
from airflow import plugins_manager
from airflow.providers_manager import ProvidersManager

from airflow_provider_quickrouter import __version__, get_provider_info
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.policies.retry import QuickRouterRetryPolicy

LINK = "airflow_provider_quickrouter.links.QuickRouterPredictionLink"


def schema_errors() -> Iterator[str]:
    """Yield how the provider info breaks the schema that this Airflow holds."""
    file = Path(airflow.__file__).parent / "provider_info.schema.json"
    validator = jsonschema.Draft7Validator(json.loads(file.read_text()))
    for error in validator.iter_errors(get_provider_info()):
        yield f"schema: {error.json_path}: {error.message}"


def missing(manager: Any) -> Iterator[str]:
    """Yield what Airflow's list of providers lacks."""
    hook = manager.hooks.get("quickrouter")
    found = {
        "provider": manager.providers["airflow-provider-quickrouter"].version == __version__,
        "hook": bool(hook) and hook.hook_name == "QuickRouter",
        "link": LINK in manager.extra_links_class_names,
        "decorator": "quickrouter" in manager.taskflow_decorators,
    }
    yield from (f"Airflow does not find the {name}" for name, there in found.items() if not there)


def form(manager: Any) -> str:
    """Describe which part of the connection's form this Airflow shows."""
    try:
        from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
    except ImportError:  # Airflow 2
        labels = manager.field_behaviours["quickrouter"]["relabeling"]
        return f"form: {len(labels)} labels, 0 extras"
    (found,) = (one for one in HookMetaService.hook_meta_data() if one.hook_name == "QuickRouter")
    fields = vars(found.standard_fields).values() if found.standard_fields else ()
    labels = [field.title for field in fields if field and field.title]
    return f"form: {len(labels)} labels, {len(found.extra_fields or ())} extras"


def plugin_errors() -> Iterator[str]:
    """Yield what went wrong when Airflow loaded its plugins, this package's among them."""
    plugins_manager.ensure_plugins_loaded()
    ask = getattr(plugins_manager, "get_import_errors", None)  # Airflow 3.2 and later
    errors = ask() if ask else getattr(plugins_manager, "import_errors")  # noqa: B009
    yield from (f"plugin {name}: {error}" for name, error in errors.items())


def untold_needs() -> Iterator[str]:
    """Yield what does not say that it needs a newer Airflow than this one."""
    newer = tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 3)
    try:
        QuickRouterRetryPolicy()
    except InvalidInputError as error:
        if newer or "Airflow 3.3" not in str(error):
            yield f"retry policy: {error}"
    else:
        if not newer:
            yield "the retry policy does not say that it needs Airflow 3.3"


def main() -> None:
    """Check, and print the result."""
    warnings.simplefilter("ignore")  # of ways to ask that newer Airflows call old
    manager = ProvidersManager()
    detail = form(manager)  # first, as in an API server: it stands in for packages of Airflow 2
    wrong = [*schema_errors(), *missing(manager), *plugin_errors(), *untold_needs()]
    print(json.dumps({"wrong": "\n".join(wrong), "detail": detail}))


main()
