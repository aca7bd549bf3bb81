"""An environment with another Airflow and this source tree, made when it is first needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dev.airflow2 import Release
from dev.matrix.cells import chosen
from dev.matrix.environment import UV

ROOT = Path(__file__).resolve().parent.parent.parent


def release(name: str, say: Callable[[str], None]) -> Release:
    """Return the Airflow of this cell of the matrix.

    :raises RuntimeError: it cannot be installed.
    """
    (cell,) = chosen([name])
    folder = ROOT / ".airflow" / f"chaos-airflow-{name}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        say(f"installing Airflow {cell.airflow}")
        uv("venv", "--clear", "--python", sys.executable, str(folder))
        install = ["pip", "install", "--python", str(python), "--constraint", str(cell.pins)]
        uv(*install, f"apache-airflow=={cell.airflow}", "asyncpg", "psycopg2-binary")
        uv(*install, "--editable", str(ROOT))
        (folder / "ready").touch()
    return Release(str(python), int(cell.airflow.partition(".")[0]))


def uv(*arguments: str) -> None:
    """Run uv.

    :raises RuntimeError: it failed; the message is its output.
    """
    command = [str(UV), *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout)
