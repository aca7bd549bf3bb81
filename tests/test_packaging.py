"""What a user gets: the archives hold the package and its metadata, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from hashlib import sha256
from pathlib import Path

import pytest

from airflow_provider_quickrouter import __version__

ROOT = Path(__file__).parent.parent
PACKAGE = "airflow_provider_quickrouter"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, the wheel made of what the source archive holds."""
    return built(tmp_path_factory.mktemp("dist"))


def built(folder: Path, *which: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *which]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def metadata_of(dist: Path) -> Message:
    (wheel,) = dist.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
    return message_from_string(archive.read(name).decode())


def hashes(dist: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}


def test_the_wheel_contains_modules_page_examples_type_marker_and_licence(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"{PACKAGE}-{__version__}.dist-info"
    files = [
        *(ROOT / PACKAGE).rglob("*.py"),
        *(path for path in (ROOT / PACKAGE / "plugins/static").rglob("*") if path.is_file()),
    ]
    ours = {str(path.relative_to(ROOT)) for path in files}
    examples = {f"{PACKAGE}/example_dags/{path.name}" for path in (ROOT / "dags_examples").glob("*.py")}
    rest = {f"{PACKAGE}/py.typed", f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"}
    assert f"{PACKAGE}/plugins/static/gallery.html" in ours
    assert names == ours | examples | rest | {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")}


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
    papers = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    assert papers | {"pyproject.toml", "Makefile", "requirements-dev.txt"} <= names
    assert {"dags_examples/text_to_image.py", "tests/conftest.py", "dev/release.py"} <= names
    assert not any(name.startswith((".venv", ".airflow", ".git/", "output", "build")) for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))]


def test_the_same_source_makes_the_same_archives_byte_by_byte(dist: Path, tmp_path: Path) -> None:
    """The wheel here is made of the tree, the other one of the source archive."""
    again = hashes(built(tmp_path, "--sdist", "--wheel"))
    assert again == hashes(dist)
    assert len(again) == 2


def test_the_index_of_packages_takes_the_archives(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_metadata_tell_what_a_registry_asks_for(dist: Path) -> None:
    metadata = metadata_of(dist)
    assert metadata["Name"] == "airflow-provider-quickrouter"
    assert metadata["Version"] == __version__
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL") or [])
    assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} <= set(urls)
    classifiers = metadata.get_all("Classifier") or []
    assert "Framework :: Apache Airflow :: Provider" in classifiers
    assert not [requirement for requirement in metadata.get_all("Requires-Dist") or [] if "@" in requirement]


def test_no_link_of_the_description_leads_nowhere_outside_of_the_repository(dist: Path) -> None:
    text = str(metadata_of(dist).get_payload())
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert len(targets) > 20
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert f"/raw/v{__version__}/docs/screenshots/" in text


def test_what_the_two_commands_of_the_readme_need_is_pinned_without_addresses() -> None:
    pins = (ROOT / "requirements-dev.txt").read_text()
    assert "apache-airflow==" in pins
    assert "://" not in pins
    assert "--" not in pins
