"""Files of the tests, and what a log was told."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import struct
import zlib
from typing import Any

from PIL import Image

from airflow_provider_quickrouter.api.files import StoredFile


class Log:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, line: str, *values: Any) -> None:
        self.infos.append(line % values)

    def warning(self, line: str, *values: Any) -> None:
        self.warnings.append(line % values)

    @property
    def text(self) -> str:
        return "\n".join([*self.infos, *self.warnings])


def image(form: str = "PNG", size: tuple[int, int] = (31, 17), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (10, 120, 230)).save(out, form, **options)
    return out.getvalue()


def large_png(seed: int, length: int = 2**20) -> bytes:
    """A picture of just this many bytes: the rest of it is a chunk that nobody reads."""
    picture = image(size=(8 + seed, 8))
    noise = random.Random(seed).randbytes(length - len(picture) - 12)
    chunk = struct.pack(">I", len(noise)) + b"npIx" + noise
    return picture[:-12] + chunk + struct.pack(">I", zlib.crc32(b"npIx" + noise)) + picture[-12:]


def data_uri(data: bytes, content_type: str = "image/png") -> str:
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(file: StoredFile | str) -> bytes:
    """Read a stored file the way its users do."""
    from airflow.sdk import ObjectStoragePath

    path = file.path if isinstance(file, StoredFile) else file
    with ObjectStoragePath(path).open("rb") as opened:
        return bytes(opened.read())
