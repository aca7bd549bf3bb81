"""A run in which everything that people or gateways write is an attempt to become markup."""

from __future__ import annotations

from pathlib import Path

from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_data import FilledRun
from dev.gallery_runs import DAG_ID, manifest, prediction_tasks, store

SCRIPT = "<script>parent.hacked = hacked = 1</script>"
IMAGE = "<img src=x onerror='parent.hacked = hacked = 1'>"
PROMPT = f"{SCRIPT}{IMAGE}\"'><svg onload='parent.hacked = 1'>"
LINK = "javascript:parent.hacked=1"


def hostile_run(folder: Path) -> FilledRun:
    data = render("harmless", 1, 0, (256, 256))
    file = store(data, folder / "hostile" / "0.png", (256, 256))
    given = {"prompt": PROMPT, IMAGE: IMAGE}
    made = manifest(0, model=f"owner/{IMAGE}", version=SCRIPT)
    tasks = prediction_tasks(0, {**made, "url": LINK}, [file], given=given)
    error = f"{IMAGE} {SCRIPT}"
    failed = manifest(1, "failed", error=error, model=IMAGE)
    tasks += prediction_tasks(1, {**failed, "url": LINK}, given=given, state="failed")
    linked = manifest(2, output=[LINK, "data:text/html,<script>parent.hacked=1</script>"])
    tasks += prediction_tasks(2, {**linked, "id": IMAGE}, given=str(given))
    for task in tasks:
        task.label = IMAGE
    return FilledRun(DAG_ID, "hostile", tasks)
