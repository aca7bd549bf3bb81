"""A real API server with users of several rights, and runs in its database."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest
import requests

from airflow_provider_quickrouter.sandbox.pictures import render
from dev.gallery_data import FilledRun, FilledTask
from dev.gallery_runs import DAG_ID, manifest, motley_run, prediction_tasks, store
from dev.gallery_server import ROOT, GalleryServer, token_of
from tests.plugins.costs_run import Costs, paid
from tests.plugins.denying import SECRET_DAG
from tests.plugins.files_run import files_run
from tests.s3 import s3_client, s3_server

USERS = {
    "admin": "admin",
    "viewer": "viewer",
    "outsider": "viewer",
    "without_xcoms": "viewer",
    "without_tasks": "viewer",
}
SETTINGS = {
    "AIRFLOW__CORE__AUTH_MANAGER": "tests.plugins.denying.DenyingAuthManager",
    # A bucket that is asked for by mistake is looked for on this machine alone.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}

Ask = Callable[..., requests.Response]


def secret_run(folder: Path) -> FilledRun:
    data = render("what nobody else may see", 1, 0, (128, 128))
    left = {"prediction": manifest(1), "files": [store(data, folder / "secret.png", (128, 128))]}
    task = FilledTask("submit", xcoms=left, given={"prompt": "what nobody else may see"})
    return FilledRun(SECRET_DAG, "secret", [task])


def states_run() -> FilledRun:
    """Predictions in every state, in a run that goes on."""
    words = ("succeeded", "processing", "starting", "failed", "canceled", "aborted")
    tasks: list[FilledTask] = []
    for n, word in enumerate(words):
        state = {"succeeded": "success", "processing": "deferred", "starting": "deferred"}.get(word)
        tasks += prediction_tasks(n, manifest(n, word), state=state or "failed")
    tasks += prediction_tasks(6, manifest(6, "processing"), state="failed")
    tasks += [FilledTask("submit", 7, state="failed"), FilledTask("submit", 8, state="running")]
    return FilledRun(DAG_ID, "states", tasks, state="running")


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """An S3 of moto's with one bucket, ``pictures``; yields its address."""
    with s3_server("pictures") as address:
        yield address


def measured(home: Path) -> list[str]:
    """Return what runs the server: under coverage if the tests are."""
    if not coverage.Coverage.current():
        return [sys.executable]
    settings = home / "coveragerc"
    lines = ("branch = true", "parallel = true", "sigterm = true", f"data_file = {ROOT}/.coverage")
    source = f"source = {ROOT}/airflow_provider_quickrouter"
    settings.write_text("\n".join(["[run]", *lines, source]))
    return [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}"]


@pytest.fixture(scope="session")
def costs() -> Costs:
    """What a run has cost, by the sandbox's ledger and by the provider's accounts."""
    return paid()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, bucket: str, costs: Costs) -> Iterator[GalleryServer]:
    home = tmp_path_factory.mktemp("gallery")
    with GalleryServer(home, USERS, env=SETTINGS, python=measured(home)) as server:
        files = home / "files"
        server.fill(
            bucket_run(files, s3_client(bucket)),
            as_text_run(),
            motley_run(files),
            secret_run(files),
            states_run(),
            files_run(files),
            elsewhere_run(),
            FilledRun(DAG_ID, "empty", []),
            costs.run,
        )
        yield server


def bucket_run(folder: Path, s3: Any) -> FilledRun:
    """A picture in a bucket that only a connection in Airflow's database opens."""
    data = render("in a bucket", 1, 0, (400, 400))
    s3.put_object(Bucket="pictures", Key="a/0.png", Body=data)
    file = {**store(data, folder / "copy.png", (400, 400)), "path": "s3://store@pictures/a/0.png"}
    return FilledRun(DAG_ID, "bucket", prediction_tasks(0, manifest(0), [file]))


def elsewhere_run() -> FilledRun:
    """A run whose XComs a custom backend stores in object storage: most of them, not small ones."""
    reference = "s3://xcoms/quickrouter_studio/elsewhere/wait/5a8a1a60.json"
    (submit, _) = prediction_tasks(0, manifest(0))
    tasks = [
        FilledTask("submit", 1, xcoms={"prediction": reference}),
        FilledTask("wait", 1, xcoms={"prediction": reference, "files": reference}),
        FilledTask("wait", 2, xcoms={"prediction": {"reference": reference}}),
        FilledTask("wait", 3, state="failed", xcoms={"prediction": reference}),
        FilledTask("wait", 4, xcoms={"prediction": manifest(4), "files": []}),
    ]
    return FilledRun(DAG_ID, "elsewhere", [submit, *tasks])


def as_text_run() -> FilledRun:
    """What is left by a task that ended in the triggerer, and an input that Airflow has cut."""
    first, last = prediction_tasks(0, manifest(0), given="Truncated. {'prompt': 'a very long on")
    last.xcoms = {"prediction": json.dumps(manifest(0))}
    alone = FilledTask("wait", 7, xcoms={"prediction": json.dumps(manifest(7))})
    number = FilledTask("wait", 8, xcoms={"prediction": "0.97", "files": "{"})
    return FilledRun(DAG_ID, "as_text", [first, last, alone, number])


@pytest.fixture(scope="session")
def tokens(server: GalleryServer) -> dict[str, str]:
    return {name: token_of(server.url, name) for name in USERS}


@pytest.fixture
def ask(server: GalleryServer, tokens: dict[str, str]) -> Ask:
    """Send a GET below the plugin's address; ``user=None`` is nobody."""

    def send(path: str, user: str | None = "viewer", **query: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {tokens[user]}"} if user else {}
        address = f"{server.url}/quickrouter/{path}"
        return requests.get(address, params=query, headers=headers, timeout=30)

    return send


@pytest.fixture
def pictures(ask: Ask) -> Ask:
    """Ask for the cards of a run."""

    def send(run_id: str, dag_id: str = DAG_ID, **more: Any) -> requests.Response:
        return ask(f"api/dags/{dag_id}/pictures", run_id=run_id, **more)

    return send


@pytest.fixture
def file(ask: Ask) -> Ask:
    """Ask for a stored file; by default that of a good picture."""

    def send(dag_id: str = DAG_ID, **more: Any) -> requests.Response:
        good = {"run_id": "motley", "task_id": "wait", "map_index": 0, "n": 0}
        return ask(f"api/dags/{dag_id}/file", **{**good, **more})

    return send
