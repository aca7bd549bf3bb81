"""Callbacks that write down how a try of a task ended: one line of JSON each, in AIRFLOW_HOME."""

import json
import os
import time
from pathlib import Path


def report_failure(context):
    append(context, final=True)


def report_retry(context):
    append(context, final=False)


def append(context, final):
    """Write one line at once, so that lines of several processes do not mix."""
    error, task = context.get("exception"), context["ti"]
    line = {
        "dag_id": task.dag_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "try_number": task.try_number,
        "kinds": sorted(kinds(error)),
        "message": str(error or "no exception"),
        "at": time.time(),
        "final": final,
        "since": getattr(error, "begun_at", None),
        "until": getattr(error, "until", None),
    }
    with Path(os.environ["AIRFLOW_HOME"], "failures.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def kinds(error):
    """Return the names of an exception's classes, and of its causes'."""
    names = set()
    while isinstance(error, BaseException):
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__
    return names
