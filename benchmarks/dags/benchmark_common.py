"""What all contenders share: the prompts, the retries and the pause between two questions."""

import os
from datetime import timedelta

from chaos_failures import report_failure, report_retry

PROMPTS = [f"benchmark {number}" for number in range(int(os.environ.get("CHAOS_TASKS", "1")))]
POLL_SECONDS = 2
DAG_ARGUMENTS = {
    "schedule": None,
    "max_active_tasks": len(PROMPTS),
    "default_args": {
        "retries": 6,
        "retry_delay": timedelta(seconds=2),
        "on_failure_callback": report_failure,
        "on_retry_callback": report_retry,
    },
}
