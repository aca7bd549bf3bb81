"""The modules that know neither Airflow nor an HTTP client, and that tests cover completely."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "airflow_provider_quickrouter"
API = [f"api.{path.stem}" for path in sorted((PACKAGE / "api").glob("[!_]*.py"))]
PURE = (
    *API,
    "batch.ledger",
    *("polling.schedule", "polling.history", "polling.poll", "polling.list_poll"),
    *("polling.poll", "polling.rate_limit"),
    *("storage.addresses", "storage.fetching", "storage.media", "storage.names"),
    *("submission.record", "submission.reconcile"),
)


def main() -> None:
    """Print their files as one argument of ``coverage report --include``."""
    files = (f"{PACKAGE.name}/{module.replace('.', '/')}.py" for module in PURE)
    sys.stdout.write(",".join(files))


if __name__ == "__main__":
    main()
