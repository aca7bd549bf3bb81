"""Run every DAG of a folder in this process, and print ``{dag_id: state}`` as the last line."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def dags_of(file: Path) -> dict[str, Any]:
    """The DAGs that a file leaves among its names, or makes with ``@dag``."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    DagContext.autoregistered_dags.clear()
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    DagContext.current_autoregister_module_name = file.stem
    sys.modules[file.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {dag.dag_id: dag for dag, _ in DagContext.autoregistered_dags}


def main(folder: Path, stored: Path) -> None:
    """Run them one after the other; what has a parameter ``folder`` stores there."""
    states = {}
    for file in sorted(folder.glob("*.py")):
        for name, dag in dags_of(file).items():
            conf = {"folder": f"file://{stored}"} if "folder" in dag.params else None
            states[name] = str(dag.test(run_conf=conf).state)
    print(json.dumps(states))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
