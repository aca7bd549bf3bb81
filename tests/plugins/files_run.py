"""A run whose XCom ``files`` hold what somebody might write there, well-meaning or not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_data import FilledRun, FilledTask
from dev.gallery_runs import DAG_ID, manifest, store

RUN = "files"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
PAGE = b"<!doctype html><script>alert(1)</script>"
TEXT = "Seven waves, 七 and a half. ".encode() * 100
PASSWD = Path("/etc/passwd")


def png(seed: int = 1) -> bytes:
    return render("a lighthouse", seed, 0, (400, 300))


def record(folder: Path, name: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {**store(data, folder / "odd" / name, (400, 300)), **more}


def record_of(path: Path) -> dict[str, Any]:
    """What a record of a file that is there already would be."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return {
        "path": str(path),
        "size": len(data),
        "sha256": digest,
        "content_type": "image/png",
        "width": 1,
        "height": 1,
    }


def entries(folder: Path) -> dict[str, Any]:
    """The files by what is odd about them."""
    good = record(folder, "good.png", png())
    above = f"{Path(good['path'].removeprefix('file://')).parent}/../odd/good.png"
    return {
        "good": good,
        "another sum": {**good, "sha256": "0" * 64},
        "another size": {**good, "size": good["size"] - 1},
        "passwd with the sum of a picture": {**good, "path": str(PASSWD)},
        "passwd with its own sum": record_of(PASSWD),
        "passwd as a URL": {**record_of(PASSWD), "path": PASSWD.as_uri()},
        "a path with dots": {**good, "path": above},
        "a path with dots and a scheme": {**good, "path": f"file://{above}"},
        "svg": record(folder, "picture.svg", SVG, content_type="image/svg+xml"),
        "svg said to be png": record(folder, "picture.png", SVG),
        "a page": record(folder, "page.png", PAGE),
        "a folder": {**good, "path": str(folder)},
        "a device": {**good, "path": "/dev/zero"},
        "not there": {**good, "path": f"{folder}/none.png"},
        "unknown scheme": {**good, "path": "gopher://somewhere/0.png"},
        "unknown connection": {**good, "path": "s3://nobody@bucket/0.png"},
        "too large": {**good, "size": 2**40},
        "no size": {**good, "size": "1"},
        "no object": "good.png",
        "nothing": None,
        "a nul": {**good, "path": f"{good['path']}\0.png"},
        "odd name": record(folder, 'a "b";\u00e9\u4e2d.png', png(2)),
        "text": record(folder, "0.txt", TEXT, content_type="text/plain"),
        "json": record(folder, "0.json", b'{"label": "cat"}', content_type="application/json"),
        "archive": record(folder, "0.tar.gz", b"\x1f\x8b\x08", content_type="application/gzip"),
        "passwd as a text": {**record_of(PASSWD), "content_type": "text/plain"},
        "a text in a hidden folder": record(folder, ".secret/0.txt", TEXT, content_type="text/plain"),
        "a text of another type": record(folder, "1.txt", TEXT, content_type="application/json"),
        "mesh": record(folder, "0.obj", b"v 0 0 0", content_type="application/octet-stream"),
        "no extension": record(folder, "0", b"v 0 0 0", content_type="application/octet-stream"),
        "a page as a text": record(folder, "2.txt", PAGE, content_type="text/plain"),
        "empty text": record(folder, "3.txt", b"", content_type="text/plain"),
    }


def files_run(folder: Path) -> FilledRun:
    odd = entries(folder)
    left = {"prediction": manifest(50), "files": list(odd.values())}
    tasks = [
        FilledTask("wait", 0, xcoms=left),
        FilledTask("wait", 1, xcoms={"files": {"path": "x"}}),
        FilledTask("wait", 2, xcoms={"files": "text"}),
        FilledTask("wait", 3, xcoms={"prediction": 0.97}),
        FilledTask("wait", 4, xcoms={"prediction": {"id": 1}, "files": []}),
        FilledTask("wait", 5, xcoms={"files": [record(folder, "alone.png", png(3))]}),
    ]
    return FilledRun(DAG_ID, RUN, tasks)
