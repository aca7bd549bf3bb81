"""What each release left in Airflow's database, as its fixture tells, and today's tasks for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.crypto import get_fernet
from airflow.models.trigger import Trigger
from airflow.sdk import DAG
from airflow.serialization.decoders import smart_decode_trigger_kwargs

from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from dev.release_fixture import RELEASES
from dev.release_life import INPUT
from tests.tasks import Store, TaskInstance, context_of

Entry = dict[str, Any]
STORED: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(RELEASES.glob("*.json"))}


def entries(*parts: str) -> list[tuple[str, Entry]]:
    """All entries of these parts, each with its name."""
    return [
        (f"{version}-{entry['classpath'].rpartition('.')[2]}-{number}", entry)
        for version, release in STORED.items()
        for part in parts
        for number, entry in enumerate(release[part])
    ]


def each(*parts: str) -> pytest.MarkDecorator:
    """Run a test with each entry that a release has in these parts."""
    found = [pytest.param(entry, id=name) for name, entry in entries(*parts)]
    return pytest.mark.parametrize("entry", found)


def those_with(has: Callable[[Any], Any]) -> pytest.MarkDecorator:
    """Run a test with each version whose fixture has something."""
    return pytest.mark.parametrize(
        "version", [version for version, release in STORED.items() if has(release)]
    )


def inflated(entry: Entry, **others: Any) -> Any:
    """The trigger as Airflow's triggerer makes it from a row; ``others``: this task's arguments."""
    row = Trigger(entry["classpath"], {})
    text = json.dumps(entry["kwargs"] | others)
    row.encrypted_kwargs = get_fernet().encrypt(text.encode()).decode()
    kind = TriggerRunner().get_trigger_by_classpath(row.classpath)
    read = Trigger._decrypt_kwargs(row.encrypted_kwargs)
    return kind(**{name: smart_decode_trigger_kwargs(value) for name, value in read.items()})


def waiting(prediction_id: str) -> Entry:
    """Arguments of a wait that has just begun, and that a worker is to end."""
    now = time.time()
    times = {"started_at": now, "deadline": now + 60, "start_deadline": now + 50}
    here = {"quickrouter_conn_id": "quickrouter_default", "from_task": None}
    return {"prediction_id": prediction_id, "end_from_trigger": False, **here, **times}


def submit(store: Store | None = None, **faults: Any) -> str:
    """Submit what every release has submitted for its fixture; return the prediction's id."""
    given = INPUT | {"sandbox": faults} if faults else INPUT
    with DAG("test"):
        task = QuickRouterSubmitPredictionOperator(task_id="run", version=STABLE_DIFFUSION, input=given)
    return str(task.execute(context_of(task, TaskInstance(store, max_tries=1))))
