"""Files as servers send them, and tasks that store them."""

from __future__ import annotations

import base64
import io
import struct
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator
from tests.faults.dags import in_dag, run_operator
from tests.faults.gateway import Gateway
from tests.faults.responses import Header, Response
from tests.faults.running import TaskInstance, run_task


def file(
    data: bytes,
    content_type: str = "image/png",
    *headers: Header,
    status: int = 200,
    with_length: bool = True,
) -> Response:
    """Return the response of a server of files."""
    return Response(status, data, (("Content-Type", content_type), *headers), with_length)


def picture(form: str = "PNG", size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a picture of noise: half of its bytes are half of the picture."""
    from PIL import Image

    made = io.BytesIO()
    Image.effect_noise(size, 90).convert("P" if form == "GIF" else "RGB").save(made, form)
    return made.getvalue()


def wav(declared_size: int) -> bytes:
    """Return a sound that a program has streamed: it could not know its size."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    size = struct.pack("<I", declared_size)
    return b"RIFF" + size + b"WAVEfmt " + form + b"data" + size + b"\1\2" * 9000


def zipped(name: str) -> bytes:
    """Return an archive with one file of this name."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, "x")
    return made.getvalue()


def data_uri(data: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def instant(ahead: float = 0.0) -> str:
    """Return the time in so many seconds as the API writes it."""
    return datetime.fromtimestamp(time.time() + ahead, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def storing_run(folder: Path, **arguments: Any) -> Any:
    """Return a task that creates a prediction, waits for it and stores its output."""
    return run_operator(output_path=f"file://{folder}", **arguments)


def run_and_store(
    gateway: Gateway, folder: Path, output: Any, task_instance: TaskInstance | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """Run a task with ``output_path``; return its XCom ``files``.

    :param fields: of the prediction that has ended.
    """
    ti = task_instance or TaskInstance()
    gateway.result = {"status": "succeeded", "output": output} | fields
    run_task(storing_run(folder), ti)
    return list(ti.xcoms["files"])


def store_of_prediction(
    gateway: Gateway, folder: Path, output: Any, **arguments: Any
) -> list[dict[str, Any]]:
    """Let a task of its own store a prediction's output; return its XCom ``files``."""
    ti = TaskInstance()
    gateway.result = {"status": "succeeded", "output": output}
    prediction_id = gateway.accept({})
    run_task(
        in_dag(
            lambda: QuickRouterToObjectStorageOperator(
                task_id="run", path=f"file://{folder}", prediction_id=prediction_id, **arguments
            )
        ),
        ti,
    )
    return list(ti.xcoms["files"])


def bytes_of(entry: dict[str, Any]) -> bytes:
    """Return what is stored where an entry of ``files`` says."""
    return Path(entry["path"].removeprefix("file://")).read_bytes()


def stored_in(folder: Path) -> list[Path]:
    """Return all files in a folder but hidden ones and those in hidden folders."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
