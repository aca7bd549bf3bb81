"""The answers of the services, as long and as deep as theirs. Pure."""

from __future__ import annotations

import json
from typing import Any

LOGS = "".join(
    f" {step * 100 // 28:3d}%|{'#' * (step // 3):<10}| {step}/28 [00:00<00:02, 9.41it/s]\n"
    for step in range(0, 29, 2)
)
SECOND = 1_795_000_000


def answer(status: int, reason: str, body: bytes) -> bytes:
    """Return the bytes of an answer."""
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Server: benchmark\r\nCache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def prediction(number: int, identity: str, over: bool) -> bytes:
    """Make a prediction as Replicate does; each has its own model: nothing can be learned."""
    return (_OVER if over else _RUNNING) % {b"id": identity.encode(), b"number": number}


def http(number: int, over: bool) -> bytes:
    """Make what an ``HttpSensor`` waits for: there or not there; the body does not matter."""
    return b'{"number": %d, "over": %s}' % (number, b"true" if over else b"false")


def dbt(number: int, over: bool) -> bytes:
    """Make a run of dbt Cloud; 3 is running, 10 success."""
    status = {"id": number, "status": 10 if over else 3, "is_complete": over, "duration": "00:05"}
    return json.dumps({"status": {"code": 200, "is_success": True}, "data": _DBT | status}).encode()


def databricks(number: int, over: bool) -> bytes:
    """Make a run of Databricks."""
    state = {"life_cycle_state": "RUNNING", "state_message": "In run"}
    if over:
        state = {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
    return json.dumps(_DATABRICKS | {"run_id": number, "state": state}).encode()


def openai(number: int, over: bool) -> bytes:
    """Make a batch of OpenAI."""
    status = {"id": f"batch_{number}", "status": "completed" if over else "in_progress"}
    return json.dumps(_OPENAI | status).encode()


def _prediction(over: bool) -> bytes:
    api, files = "https://api.replicate.com/v1/predictions", "https://replicate.delivery/yhqm"
    body: dict[str, Any] = {
        "id": "@ID",
        "model": "benchmark/model-@NUMBER",
        "version": "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa",
        "input": {"prompt": "an oil painting of a router at sunset, " * 4, "num_outputs": 2},
        "logs": "Using seed: 41023\n" + LOGS,
        "output": [f"{files}/@ID/out-{n}.webp" for n in (0, 1)] if over else None,
        "data_removed": False,
        "error": None,
        "source": "api",
        "status": "succeeded" if over else "processing",
        "created_at": "2026-11-22T20:31:10.422Z",
        "started_at": "2026-11-22T20:31:10.961Z",
        "completed_at": "2026-11-22T20:31:14.277Z" if over else None,
        "urls": {
            "cancel": f"{api}/@ID/cancel",
            "get": f"{api}/@ID",
            "stream": "https://stream.replicate.com/v1/files/bcwr-@ID",
            "web": "https://replicate.com/p/@ID",
        },
        "metrics": {"predict_time": 3.316, "total_time": 3.855} if over else {},
    }
    text = json.dumps(body).replace("%", "%%")
    return text.replace("@ID", "%(id)b").replace("@NUMBER", "%(number)d").encode()


_OVER, _RUNNING = _prediction(True), _prediction(False)
_DBT = {
    "trigger_id": 86,
    "account_id": 1,
    "environment_id": 2,
    "project_id": 3,
    "job_definition_id": 4,
    "git_branch": "main",
    "git_sha": "9b1c2f5d6e7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c",
    "status_message": None,
    "dbt_version": "1.11.0-latest",
    "created_at": "2026-11-22 20:31:10.422123+00:00",
    "updated_at": "2026-11-22 20:31:14.277123+00:00",
    "artifacts_saved": False,
    "href": "https://cloud.getdbt.com/deploy/1/projects/3/runs/5/",
}
_DATABRICKS = {
    "job_id": 11,
    "number_in_job": 455,
    "creator_user_name": "someone@example.com",
    "start_time": SECOND * 1000,
    "setup_duration": 0,
    "execution_duration": 0,
    "run_name": "nightly",
    "run_page_url": "https://example.cloud.databricks.com/#job/11/run/455",
    "run_type": "JOB_RUN",
    "tasks": [{"run_id": 2112892, "task_key": "orders", "attempt_number": 0}],
    "format": "MULTI_TASK",
}
_OPENAI = {
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "input_file_id": "file-abc123",
    "created_at": SECOND,
    "in_progress_at": SECOND + 5,
    "expires_at": SECOND + 86_400,
    "request_counts": {"total": 100, "completed": 95, "failed": 0},
    "metadata": {"customer_id": "user_123456789"},
}
