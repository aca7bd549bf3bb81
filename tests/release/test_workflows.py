"""The workflows: each action is one that somebody looked at, each job may do what it must only."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from dev.release_closure import ROOT
from tests.docs.commands import PROJECT, TARGETS

GITHUB = ROOT / ".github"
PATHS = sorted((GITHUB / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in PATHS}
USES = re.compile(r"uses: (\S+?)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")
JOBS = [
    pytest.param(job, id=f"{name}-{key}")
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
]


def steps() -> Iterator[dict[str, Any]]:
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            yield from job["steps"]


def test_an_audit_finds_nothing() -> None:
    zizmor = str(Path(sys.executable).parent / "zizmor")
    command = [zizmor, "--offline", "--persona=pedantic", "--no-progress", str(GITHUB)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_action_is_pinned_to_one_commit_whose_version_is_told() -> None:
    lines = [line for path in PATHS for line in path.read_text().splitlines() if "uses:" in line]
    found = [USES.search(line) for line in lines]
    assert None not in found
    assert len(lines) == len([step for step in steps() if "uses" in step])
    pins = {match.groups() for match in found if match}
    assert len({name for name, _, _ in pins}) == len(pins)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_as_a_whole_may_do_nothing(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {}
    assert "group" in WORKFLOWS[name]["concurrency"]


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_and_says_what_it_may_do(job: dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 90
    assert job["permissions"]
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_the_job_that_publishes_may_speak_for_the_project() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert [key for key, job in jobs.items() if "environment" in job] == ["publish"]
    publishing = [step for step in steps() if "gh-action-pypi-publish@" in step.get("uses", "")]
    assert len(publishing) == 1
    assert "with" not in publishing[0]
    assert "secrets." not in "".join(path.read_text() for path in PATHS)


def test_nothing_is_published_that_was_not_built_checked_and_attested() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert set(jobs["attest"]["needs"]) == {"build", "check"}
    assert jobs["publish"]["needs"] == "attest"
    assert jobs["announce"]["needs"] == "publish"
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
    assert jobs["build"]["steps"][2]["run"] == 'python -m dev.release check "$GITHUB_REF_NAME"'


def test_each_command_that_a_workflow_runs_exists() -> None:
    script = "\n".join(step["run"] for step in steps() if "run" in step)
    made = set(re.findall(r"\bmake ([a-z]+)", script))
    assert {"build", "sbom", "matrix"} <= made <= TARGETS
    modules = set(re.findall(r"python -m ([\w.]+)", script))
    assert {"dev.release", "dev.release_closure"} <= modules
    assert all(map(find_spec, modules))


def test_the_matrix_runs_every_python_that_is_promised() -> None:
    pythons = WORKFLOWS["matrix"]["jobs"]["matrix"]["strategy"]["matrix"]["python"]
    promised = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "3." in text]
    assert pythons == promised


def test_updates_wait_until_somebody_may_have_looked() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"github-actions", "pip"}
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)
