"""The part of Airflow's server that keeps XComs, for what asks it in the process of a test."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.comms import DeleteXCom, GetXCom, OKResponse, SetXCom, XComResult

from tests.tasks import TASK_RUNNER, TaskInstance

Values = dict[tuple[str, str], Any]


def keep_xcoms(patch: pytest.MonkeyPatch, values: Values | None = None) -> Values:
    """Let Airflow answer from, and set, ``{(task id, key): value}``, of the test's only run."""
    kept: Values = dict(values or {})

    def send(question: Any) -> Any:
        assert (question.dag_id, question.run_id) == (TaskInstance.dag_id, TaskInstance.run_id)
        place = question.task_id, question.key
        if isinstance(question, GetXCom):
            return XComResult(key=question.key, value=kept.get(place))
        if isinstance(question, DeleteXCom):
            kept.pop(place, None)
            return OKResponse(ok=True)
        assert isinstance(question, SetXCom)
        kept[place] = json.loads(json.dumps(question.value))
        return OKResponse(ok=True)

    patch.setattr(f"{TASK_RUNNER}.SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    return kept


def no_xcoms(patch: pytest.MonkeyPatch) -> None:
    """Let Airflow be out of order."""

    def send(question: Any) -> Any:
        raise OSError("the database is away")

    patch.setattr(f"{TASK_RUNNER}.SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
