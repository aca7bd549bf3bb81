"""How much memory the API server takes for large pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dev.gallery_data import FilledRun
from dev.gallery_runs import DAG_ID, manifest, prediction_tasks, store
from dev.gallery_server import GalleryServer
from tests.plugins.conftest import Ask

SIZE = (8192, 6100)
READERS = 4


def large_picture(shade: int) -> bytes:
    made = BytesIO()
    Image.new("RGB", SIZE, (shade, 90, 120)).save(made, "PNG", compress_level=1)
    return made.getvalue()


def memory(pid: int, field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


@pytest.fixture
def stored_pictures(server: GalleryServer, pictures: Ask, tmp_path: Path) -> list[dict[str, Any]]:
    """Four large pictures of one prediction, as a card describes them."""
    data = (large_picture(40 * n) for n in range(READERS))
    files = [store(picture, tmp_path / f"{n}.png", SIZE) for n, picture in enumerate(data)]
    server.fill(FilledRun(DAG_ID, "large", prediction_tasks(0, manifest(0), files)))
    (card,) = pictures("large").json()["cards"]
    return list(card["stored"])


@pytest.mark.slow("decodes four pictures of 50 megapixels")
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory as Linux reports it")
def test_four_large_pictures_at_once_take_less_than_600_mib(
    server: GalleryServer, file: Ask, stored_pictures: list[dict[str, Any]]
) -> None:
    assert len(stored_pictures) == 4
    process = max((each.pid for each in server.processes()), key=lambda pid: memory(pid, "VmRSS"))
    idle = memory(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak counts from here

    def thumbnail(shown: dict[str, Any]) -> int:
        names = ("task_id", "map_index", "n")
        return file(run_id="large", size="thumb", **{name: shown[name] for name in names}).status_code

    with ThreadPoolExecutor(READERS) as pool:
        assert list(pool.map(thumbnail, stored_pictures)) == [200] * 4
    assert memory(process, "VmHWM") - idle < 600
