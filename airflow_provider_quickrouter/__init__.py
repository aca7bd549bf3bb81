"""QuickRouter provider for Apache Airflow: submit an image prediction, wait for it, use it."""

from __future__ import annotations

from typing import Any

__version__ = "0.6.0"

_NAME = "QuickRouter"


def get_provider_info() -> dict[str, Any]:
    """Return what this package contains (entry point ``apache_airflow_provider``).

    The keys are those of Airflow's ``provider_info.schema.json``; ``conn-fields`` and
    ``ui-field-behaviour`` draw the connection's form.
    """
    package = __name__
    return {
        "package-name": "airflow-provider-quickrouter",
        "name": _NAME,
        "description": "Predictions of image models through `QuickRouter <https://quickrouter.ai>`__.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://quickrouter.ai",
                "logo": "/docs/_static/logo.png",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules(f"{package}.hooks.quickrouter")],
        "operators": [_modules(f"{package}.operators.prediction")],
        "sensors": [_modules(f"{package}.sensors.prediction")],
        "triggers": [
            _modules(
                f"{package}.triggers.prediction", f"{package}.triggers.starting", f"{package}.triggers.batch"
            )
        ],
        "transfers": [
            {
                "source-integration-name": _NAME,
                "target-integration-name": "Common IO",
                "how-to-guide": "/docs/guides/store.md",
                "python-module": f"{package}.transfers.object_storage",
            }
        ],
        "task-decorators": [
            {"name": "quickrouter", "class-name": f"{package}.decorators.quickrouter.quickrouter_task"},
            {"name": "quickrouter_batch", "class-name": f"{package}.decorators.batch.quickrouter_batch_task"},
        ],
        "plugins": [
            {"name": "quickrouter", "plugin-class": f"{package}.plugins.gallery.QuickRouterGalleryPlugin"}
        ],
        "cli": [f"{package}.cli.commands"],
        "extra-links": [f"{package}.links.QuickRouterPredictionLink"],
        "connection-types": [
            {
                "connection-type": "quickrouter",
                "hook-class-name": f"{package}.hooks.quickrouter.QuickRouterHook",
                "hook-name": _NAME,
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {
                        "password": "the key from QuickRouter's console",
                        "host": "https://api.quickrouter.ai",
                    },
                },
                "conn-fields": _CONNECTION_FIELDS,
            }
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _NAME, "python-modules": list(names)}


def _field(label: str, kind: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


_CONNECTION_FIELDS = {
    "path_prefix": _field(
        "Path prefix", "string", "In front of the API's routes; / for none, /replicate/v1 if empty."
    ),
    "timeout": _field(
        "Timeout (seconds)",
        "number",
        "For connecting and for reading; 10 and 60 if empty. In JSON also [connect, read].",
    ),
    "proxies": _field(
        "Proxies", "object", 'By scheme: {"https": "http://proxy:3128"}; the environment\'s if empty.'
    ),
    "verify": _field("Verify TLS", "string", "true, false, or the path of a CA bundle; true if empty."),
    "cert": _field("Client certificate", "string", "Path of a PEM file with certificate and key."),
    "trust_env": _field(
        "Trust environment", "boolean", "Take proxies and CA bundle from the environment.", default=True
    ),
    "requests_per_minute": _field(
        "Requests a minute",
        "number",
        "The most requests a minute of each triggerer: 1500 if empty, half of Replicate's limit; 0 "
        "for no limit.",
    ),
    "allow_private_addresses": _field(
        "Allow private addresses",
        "boolean",
        "Files of an output may be fetched from addresses that are not public, as those of a "
        "gateway in one's own network; else they are refused.",
        default=False,
    ),
    "prices": _field(
        "Prices",
        "object",
        'By model, to see costs: {"owner/name": {"per_second": 0.0011}}, or {"per_output": 0.04} there.',
    ),
    "console_url": _field(
        "Console URL",
        "string",
        "Where a person looks at a prediction, with {id}; the API's own address of it if empty.",
    ),
}
