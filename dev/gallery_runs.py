"""Runs for the gallery: made-up predictions with real pictures in real files."""

import hashlib
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.api.models import SDXL
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_data import FilledRun, FilledTask

DAG_ID = "quickrouter_studio"
SUBJECTS = (
    "a lighthouse in a storm, oil on canvas",
    "a forest at dawn, mist between the pines, soft light",
    "the ocean at night under a full moon",
    "a desert city of glass towers, golden hour, wide shot",
    "an alpine lake in autumn, mirror-still water",
    "a harbour in winter, charcoal drawing",
    "a red planet rising over an ice field, hd, dramatic lighting",
    "terraced rice fields after rain, aerial view",
)
MODELS = ("stability-ai/sdxl", "black-forest-labs/flux-kontext-pro")


def manifest(number: int, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    """Return the manifest of a made-up prediction.

    :param more: fields of the API's response that replace the usual ones.
    """
    created = datetime.now(UTC) - timedelta(minutes=12, seconds=-number % 60)
    started = created + timedelta(seconds=0.4 + number % 5)
    ended = started + timedelta(seconds=3.2 + number % 9)
    over = status not in ("starting", "processing")
    response = {
        "id": f"{hashlib.sha256(str(number).encode()).hexdigest()[:24]}{number % 100:02d}",
        "status": status,
        "output": None,
        "model": MODELS[number % 2],
        "version": SDXL,
        "created_at": created.isoformat(),
        "started_at": started.isoformat() if status != "starting" else None,
        "completed_at": ended.isoformat() if over else None,
        "metrics": {"predict_time": 3.2 + number % 9} if over else {},
        **more,
    }
    response["id"] = str(response["id"]).translate(str.maketrans("0123456789", "ghijkmnpqr"))
    prediction = Prediction.from_json(response)
    made = prediction.manifest(f"https://console.example.org/predictions/{prediction.id}")
    return {**made, "seed": 1000 + number}


def prompt(number: int) -> str:
    """Return the prompt of a made-up prediction."""
    return f"{SUBJECTS[number % len(SUBJECTS)]}, study {number + 1}"


def store(data: bytes, path: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Write a picture and return what a task records of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {
        "path": f"file://{path}",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_type": "image/png",
        "width": size[0],
        "height": size[1],
    }


def pictures(count: int, size: tuple[int, int], different: int) -> list[bytes]:
    """Return PNG files, each one unlike the others.

    Painting takes a third of a second: only ``different`` are painted, and the others differ from
    them by a comment behind the picture's end, which every program leaves alone.
    """
    painted = [render(prompt(n), 1000 + n, 0, size) for n in range(min(count, different))]
    return [
        painted[n] if n < len(painted) else painted[n % different] + f"copy {n}".encode()
        for n in range(count)
    ]


def prediction_tasks(
    number: int,
    made: dict[str, Any],
    files: Sequence[dict[str, Any]] = (),
    *,
    given: Any = None,
    state: str = "success",
    index: int | None = None,
) -> list[FilledTask]:
    """Return what a mapped submit and its downstream wait leave.

    :param state: of the wait.
    """
    map_index = number if index is None else index
    began = datetime.now(UTC).timestamp() - 700
    first = {**made, "status": "starting", "completed_at": None, "output": None, "error": ""}
    label = f"study {number + 1}"
    rendered = {"prompt": prompt(number), "width": 1024, "height": 1024} if given is None else given
    left: dict[str, Any] = {"prediction": made}
    if files:
        left["files"] = list(files)
    return [
        FilledTask("submit", map_index, "success", {"prediction": first}, rendered, began, began + 1, label),
        FilledTask("wait", map_index, state, left, None, began + 2, began + 20, label),
    ]


def large_run(folder: Path, count: int = 1000, side: int = 512) -> FilledRun:
    """Return a run with many stored pictures."""
    tasks: list[FilledTask] = []
    for n, data in enumerate(pictures(count, (side, side), different=40)):
        made = manifest(n)
        file = store(data, folder / "thousand" / made["id"] / "0.png", (side, side))
        tasks += prediction_tasks(n, made, [file])
    return FilledRun(DAG_ID, "thousand", tasks)


def motley_run(folder: Path, live: str | None = None) -> FilledRun:
    """Return a run with one of each kind of card.

    :param live: address of a picture that is not stored.
    """
    dice = random.Random(7)  # noqa: S311  # pictures need no secrecy
    tasks: list[FilledTask] = []
    for n in range(8):
        made = manifest(n)
        shape = dice.choice([(768, 768), (1024, 640), (640, 960)])
        files = [
            store(render(prompt(n), 1000 + n, k, shape), folder / "motley" / made["id"] / f"{k}.png", shape)
            for k in range(4 if n == 2 else 2 if n == 5 else 1)
        ]
        tasks += prediction_tasks(n, made, files)
    tasks += prediction_tasks(8, manifest(8, "failed", error="NSFW content detected"), state="failed")
    old = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    gone = manifest(9, output=["https://files.example.org/a/out-0.png"], completed_at=old)
    tasks += prediction_tasks(9, gone)
    if live:
        # The page of the prediction is on the same host, which may then be one of this machine.
        tasks += prediction_tasks(10, {**manifest(10, output=[live]), "url": live})
    tasks += prediction_tasks(11, manifest(11, "canceled"), state="failed")
    return FilledRun(DAG_ID, "motley", tasks, state="failed")


def running_run(folder: Path) -> FilledRun:
    """Return a run that has not ended."""
    tasks: list[FilledTask] = []
    for n in range(6):
        status = ("succeeded", "succeeded", "processing", "processing", "starting", "starting")[n]
        soon = datetime.now(UTC) - timedelta(seconds=9 - n)
        made = manifest(n, status, **({} if n < 2 else {"created_at": soon.isoformat()}))
        shape = (768, 768)
        data = render(prompt(n), 1000 + n, 0, shape) if n < 2 else b""
        files = [store(data, folder / "running" / made["id"] / "0.png", shape)] if data else []
        tasks += prediction_tasks(n, made, files, state="success" if n < 2 else "deferred")
    return FilledRun(DAG_ID, "running", tasks, state="running")
