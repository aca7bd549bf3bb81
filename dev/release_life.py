"""What the tasks of this release leave behind while they run: events, and what a retry reads.

Made against a sandbox, with the code that is installed; see ``release_form``.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators import prediction as operators
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from dev.release_form import Form

KEY = "qr-key-of-the-fixtures-0123"
REFUSED = "refused"
"""Id of a connection whose key the gateway does not take."""

LONGEST = 60.0
"""Seconds that a trigger may take to its event."""

RESULTS = "results.jsonl"
INPUT = {"prompt": "a lighthouse at dusk", "num_outputs": 1}
INPUTS = [{"prompt": f"lighthouse {number}", "sandbox": {"never": True}} for number in range(2)]


class Remembering(dict[str, Any]):
    """Airflow's ``task_state_store``, as far as tasks use it."""

    def set(self, key: str, value: Any) -> None:
        """Store a value as JSON."""
        self[key] = json.loads(json.dumps(value))


def connections(url: str, key: str = KEY) -> dict[str, str]:
    """Return the environment variables by which Airflow finds the gateway."""
    fields = {"conn_type": "quickrouter", "host": url}
    keys = {"quickrouter_default": key, REFUSED: "qr-key-that-nobody-knows"}
    return {
        f"AIRFLOW_CONN_{name.upper()}": json.dumps({**fields, "password": one}) for name, one in keys.items()
    }


def life(url: str, folder: Path) -> Form:
    """Run tasks and triggers against the sandbox at ``url``; ``folder`` is for a batch."""
    found = {
        "events": events(),
        "memories": {"task": _memory_of_a_task(), "batch": _record_of_a_batch(folder)},
    }
    plain: Form = json.loads(json.dumps(found).replace(url, "https://gateway.example"))
    return plain


def events() -> Form:
    """Run a trigger to each kind of end, and return the events by that."""
    kind = QuickRouterPredictionTrigger
    never, over = _submit(never=True), dict[str, Any](started_at=1.79e9, deadline=1.79e9 + 1)
    return {
        "succeeded": event_of(kind(_submit())),
        "failed": event_of(kind(_submit(fail="CUDA is tired"))),
        "timeout": event_of(kind(never, **over)),
        "api_error": event_of(kind(_submit(), quickrouter_conn_id=REFUSED, confirmed=False)),
    }


def event_of(trigger: BaseTrigger) -> Any:
    """Run a trigger to its only event, and return the payload as JSON gives it back.

    :raises TimeoutError: it came to none in a minute, since it has lost its deadline, say.
    """

    async def run() -> list[Any]:
        async with asyncio.timeout(LONGEST):
            return [event.payload async for event in trigger.run()]

    (payload,) = asyncio.run(run())
    return json.loads(json.dumps(payload))


def _submit(**faults: Any) -> str:
    given = INPUT | {"sandbox": faults}
    return QuickRouterHook().create_prediction(given, version=STABLE_DIFFUSION).id


def context(task: Any, store: Remembering) -> Any:
    """Return what Airflow hands to a task's first try, as far as ours use it."""
    place = {"dag_id": "test", "task_id": "run", "run_id": "a run", "map_index": -1}
    tries = {"try_number": 1, "max_tries": 1}
    ti = SimpleNamespace(**place, **tries, xcom_push=lambda key, value: None)
    return {"ti": ti, "task": task, "task_state_store": store}


def _memory_of_a_task() -> Form:
    store = Remembering()
    with DAG("test"):
        task = operators.QuickRouterSubmitPredictionOperator(
            task_id="run", version=STABLE_DIFFUSION, input=INPUT
        )
    task.execute(context(task, store))
    return dict(store)


def _record_of_a_batch(folder: Path) -> Form:
    """Begin a batch; return the entries of its record, by name of file. Nothing before 0.3.0."""
    if not hasattr(operators, "QuickRouterBatchPredictionOperator"):
        return {}
    with DAG("test"):
        task = operators.QuickRouterBatchPredictionOperator(
            task_id="run",
            version=STABLE_DIFFUSION,
            inputs=INPUTS,
            output_path=str(folder / RESULTS),
            deferrable=True,
        )
    with suppress(TaskDeferred):
        task.execute(context(task, Remembering()))
    (path,) = folder.glob(f"{RESULTS}.record/*/*.jsonl")
    # The rest of its name is random.
    name = f"{path.relative_to(folder).parent}/{path.name[:7]}00000000.jsonl"
    return {name: [json.loads(line) for line in path.read_text().splitlines()]}
