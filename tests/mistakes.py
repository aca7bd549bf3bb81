"""Show what an author sees after each of the twenty likeliest mistakes: ``python -m tests.mistakes``.

Each one is made: its DAG file is executed and, if that works, its task runs against a sandbox. The command
prints the list, and writes it into docs/operations/mistakes.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from tests.conftest import KEY  # first: it sets up an Airflow of its own
from tests.faults.running import run_task

# ruff: isort: split
from airflow.sdk import DAG

from airflow_provider_quickrouter.api import models
from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.hooks.airflow_errors import error_line
from airflow_provider_quickrouter.operators.prediction import (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
)
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.sensors.prediction import QuickRouterPredictionSensor
from airflow_provider_quickrouter.transfers.object_storage import QuickRouterToObjectStorageOperator

PAGE = Path(__file__).parent.parent / "docs" / "operations" / "mistakes.md"
BEGIN, END = "<!-- mistakes: python -m tests.mistakes -->\n", "<!-- end of mistakes -->\n"
PARSED = "when the DAG is parsed"
STARTED = "when the task starts, before a request is sent"
REFUSED = "at the create request, which the gateway refuses"
OPERATORS = (
    QuickRouterRunPredictionOperator,
    QuickRouterSubmitPredictionOperator,
    QuickRouterPredictionSensor,
    QuickRouterToObjectStorageOperator,
)
NAMES = {kind.__name__: kind for kind in OPERATORS}
RUN = 'QuickRouterRunPredictionOperator(task_id="run",'
SUBMIT = 'QuickRouterSubmitPredictionOperator(task_id="submit",'
CAT = 'input={"prompt": "a cat"}'


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    :ivar code: of the DAG file.
    :ivar remedy: words of the message that say what to do.
    :ivar connection: fields that differ from a good connection; None if there is no connection.
    """

    title: str
    code: str
    remedy: str
    connection: dict[str, Any] | None = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What an author sees of a mistake, when, and how many predictions were created."""

    stage: str
    message: str
    creates: int


MISTAKES = (
    Mistake(
        "The name of the model is misspelled",
        f'{RUN} version="stabilty-ai/sdxl", {CAT})',
        "did you mean 'stability-ai/sdxl'?",
    ),
    Mistake(
        "A model that is called by its name is given as a version",
        f'{RUN} version="black-forest-labs/flux-kontext-pro", {CAT})',
        "use model=",
    ),
    Mistake("A version is given as a model", f"{RUN} model=SDXL, {CAT})", "use version="),
    Mistake(
        "The version id is copied in part",
        f'{RUN} version="stability-ai/sdxl:7762fd07cf82c948538e41f63f77d685e02b063e", {CAT})',
        "it needs 64 lower-case hex digits",
    ),
    Mistake("An argument is misspelled", f"{RUN} verison=SDXL, {CAT})", "did you mean 'version'?"),
    Mistake(
        "The prompt is given to the task",
        f'{RUN} version=SDXL, prompt="a cat")',
        "did you mean 'prompt' in input={...}?",
    ),
    Mistake(
        "A field of the input is misspelled",
        RUN + ' version=SDXL, input={"promt": "a cat"})',
        "did you mean 'prompt'?",
    ),
    Mistake(
        "A value is out of range",
        RUN + ' version=STABLE_DIFFUSION, input={"prompt": "a cat", "width": 700})',
        "multiple of 64",
    ),
    Mistake(
        "A required prompt is missing",
        RUN + ' model=FLUX_KONTEXT_PRO, input={"input_image": "https://example.com/cat.png"})',
        "Field required",
    ),
    Mistake(
        "A path of the author's machine is given as a file",
        RUN + ' version=SD_IMG2IMG, input={"image": "/data/cat.png"})',
        "its path in a storage",
    ),
    Mistake(
        "A task is given in the place of its output",
        f"submit = {SUBMIT} version=SDXL, {CAT})\n"
        'QuickRouterPredictionSensor(task_id="wait", prediction_id=submit)',
        "use its .output",
    ),
    Mistake(
        "The braces of a template do not match",
        RUN + ' version=SDXL, input={"prompt": "a cat on {{ ds }"})',
        "Close each {{ with }}",
    ),
    Mistake(
        "A template stands in an f-string",
        f"{RUN} version=SDXL, {CAT}," + ' output_path=f"s3://pictures/{{ ds }}")',
        "a template has two, {{ ds }}, and in an f-string four",
    ),
    Mistake(
        "The output path is relative",
        f"{RUN} version=SDXL, {CAT}," + ' output_path="pictures/{{ ds }}")',
        "give a folder such as s3://",
    ),
    Mistake(
        "The scheme of the output path does not exist",
        f"{RUN} version=SDXL, {CAT}," + ' output_path="s33://pictures/{{ ds }}")',
        "correct the scheme",
    ),
    Mistake(
        "Several pictures have one name",
        f"submit = {SUBMIT}" + ' version=SDXL, input={"prompt": "a cat", "num_outputs": 4})\n'
        "QuickRouterToObjectStorageOperator(\n"
        '    task_id="store", path="s3://pictures", prediction_id=submit.output, name="cat.{ext}"\n)',
        "add {n}",
    ),
    Mistake(
        "A template renders to nothing",
        RUN + """ version=SDXL, input={"prompt": "{{ ti.xcom_pull(task_ids='skipped') }}"})""",
        "may be skipped, or the XCom, variable or param missing",
    ),
    Mistake(
        "The connection does not exist",
        f"{RUN} version=SDXL, {CAT})",
        "Add it under Admin > Connections",
        connection=None,
    ),
    Mistake(
        "The API key is pasted with 'Bearer'",
        f"{RUN} version=SDXL, {CAT})",
        "give the key alone",
        connection={"password": f"Bearer {KEY}"},
    ),
    Mistake(
        "The API key is wrong",
        f"{RUN} version=SDXL, {CAT})",
        "Check the API key in the connection's password",
        connection={"password": "qr-another-key"},
    ),
)


def seen(mistake: Mistake, sandbox: Sandbox) -> Seen:
    """Make a mistake; return what its author sees."""
    sandbox.clear()
    try:
        with DAG("mistake", schedule=None) as dag:
            exec(mistake.code, {**NAMES, **vars(models)})  # noqa: S102  # this file's own code
    except QuickRouterError as error:
        return Seen(PARSED, f"InvalidInputError: {error}", sandbox.creates)
    variable = "AIRFLOW_CONN_QUICKROUTER_DEFAULT"
    good = {"conn_type": "quickrouter", "host": sandbox.url, "password": KEY}
    with mock.patch.dict(os.environ):
        os.environ.pop(variable, None)
        if mistake.connection is not None:
            os.environ[variable] = json.dumps(good | mistake.connection)
        try:
            run_task(dag.tasks[-1])
        except QuickRouterError as error:
            stage = REFUSED if sandbox.requests else STARTED
            return Seen(stage, f"ERROR {error_line(error, resubmits=True)}", sandbox.creates)
    return Seen("never", "", sandbox.creates)


def all_seen() -> list[Seen]:
    with Sandbox(api_key=KEY, starting=0.0, processing=0.0) as sandbox:
        return [seen(mistake, sandbox) for mistake in MISTAKES]


def lines(found: list[Seen]) -> Iterator[str]:
    """Yield the lines of the list."""
    for number, (mistake, one) in enumerate(zip(MISTAKES, found, strict=True), 1):
        yield f"{number}. {mistake.title}: {one.stage}"
        yield from (f"     {line}" for line in mistake.code.splitlines())
        yield f"   {one.message}"
    counts = [sum(one.stage == stage for one in found) for stage in (PARSED, STARTED, REFUSED)]
    yield f"{PARSED}: {counts[0]}; {STARTED}: {counts[1]}; {REFUSED}: {counts[2]}."


def page(text: str, found: list[Seen]) -> str:
    """Return the page with today's list."""
    before, _, rest = text.partition(BEGIN)
    block = "```output\n" + "\n".join(lines(found)) + "\n```\n"
    return f"{before}{BEGIN}{block}{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print the list, and write the page."""
    found = all_seen()
    sys.stdout.write("\n".join(lines(found)) + "\n")
    PAGE.write_text(page(PAGE.read_text(), found))


if __name__ == "__main__":
    main()
