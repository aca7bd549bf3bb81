"""What a user gets: the archives hold the package and its metadata, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from airflow_provider_quickrouter import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_quickrouter"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_every_module_the_gallerys_page_the_type_marker_and_the_licence(
    dist: Path,
) -> None:
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"{PACKAGE}-{__version__}.dist-info"
    files = [
        *(ROOT / PACKAGE).rglob("*.py"),
        *(path for path in (ROOT / PACKAGE / "plugins/static").rglob("*") if path.is_file()),
    ]
    ours = {str(path.relative_to(ROOT)) for path in files}
    rest = {f"{PACKAGE}/py.typed", f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"}
    assert f"{PACKAGE}/plugins/static/gallery.html" in ours
    assert names == ours | rest | {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")}


def test_the_wheel_registers_the_provider_and_the_sandbox(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    text = archive.read(name).decode()
    assert f"[apache_airflow_provider]\nprovider_info = {PACKAGE}:get_provider_info" in text
    assert f"quickrouter-sandbox = {PACKAGE}.sandbox.__main__:main" in text
    plugin = f"{PACKAGE}.plugins.gallery:QuickRouterGalleryPlugin"
    assert f"[airflow.plugins]\nquickrouter = {plugin}" in text


def test_the_source_archive_holds_what_a_packager_needs(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert {"dags_examples/text_to_image.py", "tests/conftest.py"} <= names
    assert not any(name.startswith((".venv", ".airflow", "output")) for name in names)


def test_what_the_two_commands_of_the_readme_need_is_pinned_without_addresses() -> None:
    pins = (ROOT / "requirements-dev.txt").read_text()
    assert "apache-airflow==" in pins
    assert "://" not in pins
    assert "--" not in pins
