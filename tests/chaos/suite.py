"""Which DAGs a run is about: the one thing that a benchmark of another provider changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.gateway import SANDBOX_KEY, connection, connection_env

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Flow:
    """One DAG, mapped over prompts: index ``n`` has ``prompt.format(n)``.

    ``submit`` is the task that creates the prediction, ``wait`` the one that waits for it, None
    where ``submit`` does.
    """

    dag_id: str
    prompt: str
    submit: str
    wait: str | None = None


def quickrouter_env(url: str) -> Mapping[str, str]:
    """Return the default connection, to the gateway at ``url``."""
    return connection_env(connection(SANDBOX_KEY, url))


@dataclass(frozen=True)
class Suite:
    """The flows, each of which gets an equal part of the tasks, and the folder of their DAGs.

    ``env`` returns what Airflow's environment has to hold for a gateway's address.

    A DAG reads the number of all tasks from the environment variable ``CHAOS_TASKS``. What its
    tasks hold is the id in the XCom ``prediction``, else a text returned. Failures are lines of
    JSON in ``failures.jsonl``, as ``dags/chaos_failures.py`` writes them.
    """

    dags: Path
    flows: tuple[Flow, ...]
    env: Callable[[str], Mapping[str, str]] = quickrouter_env


QUICKROUTER = Suite(
    HERE / "dags",
    (
        Flow("chaos_run", "chaos run {}", "run"),
        Flow("chaos_pair", "chaos pair {}", "pair.submit", "pair.wait"),
    ),
)
