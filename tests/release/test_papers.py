"""What contributors and reporters are told holds: links, commands, forms, addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image

from airflow_provider_quickrouter import get_provider_info
from dev.release_closure import ROOT
from tests.docs.commands import PROJECT, TARGETS

GITHUB = ROOT / ".github"
STATIC = ROOT / "docs" / "_static"
PAPERS = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    GITHUB / "PULL_REQUEST_TEMPLATE.md",
    ROOT / "tests" / "triggers" / "releases" / "README.md",
]
FORMS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml")
    if path.stem != "config"
}
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def headings(path: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"(?m)^#+ (.+)$", path.read_text())
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_links_lead_somewhere(paper: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", paper.read_text()):
        path, _, anchor = link.partition("#")
        assert (paper.parent / path).is_file(), link
        assert not anchor or anchor in headings(paper.parent / path), link


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.name)
def test_commands_and_paths_exist(paper: Path) -> None:
    text = paper.read_text()
    assert set(re.findall(r"`make (\w+)", text)) <= TARGETS
    modules = re.findall(r"-m (dev\.\w+)", text)
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)
    for path in re.findall(r"`((?:api|hooks|operators|dev|docs|tests)/[\w./]+)`", text):
        roots = (ROOT, ROOT / "airflow_provider_quickrouter")
        assert any((root / path).exists() for root in roots), path


def test_each_form_is_one_that_github_shows() -> None:
    assert set(FORMS) == {"bug", "feature"}
    for form in FORMS.values():
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        ids = [field["id"] for field in fields]
        assert form["name"]
        assert form["description"]
        assert {field["type"] for field in form["body"]} <= KINDS
        assert len(ids) == len(set(ids))
        assert all(field["attributes"]["label"] for field in fields)


def required(form: dict[str, Any]) -> set[str]:
    return {field["id"] for field in form["body"] if field.get("validations", {}).get("required", False)}


def test_a_bug_tells_what_is_asked_first_and_warns_of_the_key() -> None:
    assert {"what", "log", "provider", "airflow", "executor"} <= required(FORMS["bug"])
    ids = {field.get("id") for field in FORMS["bug"]["body"]}
    assert "status" in ids
    assert "Never post your API key" in FORMS["bug"]["body"][0]["attributes"]["value"]


def test_there_is_one_address_of_the_repository() -> None:
    repository = PROJECT["urls"]["Source"]
    texts = [path.read_text() for path in (*PAPERS, *(GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))]
    named = re.findall(r"https://github\.com/[\w-]+/[\w-]+", "\n".join(texts))
    assert named
    assert set(named) == {repository}
    assert f"--owner {repository.split('/')[-2]}" in (ROOT / "SECURITY.md").read_text()


def test_the_index_of_packages_is_told_where_everything_is() -> None:
    urls = PROJECT["urls"]
    assert set(urls) == {*("Homepage", "Documentation", "Source", "Changelog", "Issues", "Security")}
    for name in ("Documentation", "Changelog"):
        path = urls[name].partition("/blob/main/")[2]
        assert (ROOT / path).is_file()


def test_the_registry_of_airflow_is_told_of_logo_and_guide() -> None:
    info = get_provider_info()
    (integration,), (transfer,) = info["integrations"], info["transfers"]
    for path in (integration["logo"], transfer["how-to-guide"]):
        assert path.startswith("/docs/")
        assert (ROOT / path.lstrip("/")).is_file()
    wanted = {"Framework :: Apache Airflow", "Framework :: Apache Airflow :: Provider"}
    assert wanted <= set(PROJECT["classifiers"])


def test_the_logo_is_a_square_picture_and_a_drawing_that_loads_nothing() -> None:
    with Image.open(STATIC / "logo.png") as picture:
        assert picture.size == (256, 256)
        assert picture.mode == "RGBA"
    drawing = (STATIC / "logo.svg").read_text()
    assert 'viewBox="0 0 256 256"' in drawing
    assert not re.search(r"href|<image|<script|url\((?!#)", drawing)
