"""``python -m dev.release_fixture``: store what this release leaves in Airflow's database.

It writes ``tests/triggers/releases/<version>.json``, unless that file has the same content.
``tests/triggers/test_releases.py`` reads all of them with the code of the day.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

RELEASES = Path(__file__).resolve().parent.parent / "tests" / "triggers" / "releases"


def main() -> None:
    """Write the fixture of the installed version, and print its path."""
    with tempfile.TemporaryDirectory() as home:
        _stand_alone(home)
        made = make(Path(home))
    path = RELEASES / f"{made['version']}.json"
    print(f"{path}: {'written' if write(made, path) else 'was up to date'}")


def make(folder: Path) -> dict[str, Any]:
    """Make the fixture with the code that is installed, against a sandbox of its own."""
    # Here, as importing Airflow reads the environment.
    from airflow_provider_quickrouter.sandbox.server import Sandbox
    from dev.release_form import form
    from dev.release_life import KEY, connections, life

    with Sandbox(api_key=KEY, starting=0.0, processing=0.2) as sandbox:
        os.environ.update(connections(sandbox.url))
        return {**form(), **life(sandbox.url, folder)}


def write(made: dict[str, Any], path: Path) -> bool:
    """Write a fixture; return False if the file has the same content."""
    from dev.release_form import same

    if path.exists() and same(made, json.loads(path.read_text())):
        return False
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made, indent=2) + "\n")
    return True


def _stand_alone(home: str) -> None:
    """Touch nothing of the user's own Airflow, and be heard by no plugin of it."""
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "QUICKROUTER_"))]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
    }


if __name__ == "__main__":
    main()
