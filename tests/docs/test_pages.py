"""What the pages promise in tables is what the code says."""

from __future__ import annotations

import inspect
import json
import re
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_provider_quickrouter.api import attachments, errors, prediction
from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.files import DEFAULT_MAX_BYTES, StoredFile
from airflow_provider_quickrouter.api.outcome import Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.batch.ledger import NOT_STORED, NOT_SUBMITTED, REFUSED, UNCERTAIN
from airflow_provider_quickrouter.hooks import input_files
from airflow_provider_quickrouter.hooks.airflow_errors import as_airflow
from airflow_provider_quickrouter.operators.batch import CREATES_PER_MINUTE
from airflow_provider_quickrouter.plugins import cards
from airflow_provider_quickrouter.sandbox.__main__ import _parser
from airflow_provider_quickrouter.sandbox.faults import KINDS
from airflow_provider_quickrouter.storage import record
from airflow_provider_quickrouter.storage.names import DEFAULT_NAME, FIELDS
from airflow_provider_quickrouter.tasks import reporting
from airflow_provider_quickrouter.tasks.reporting import asset_extra
from tests.docs import model_docs
from tests.docs.blocks import DOCS, ROOT, inline_code, those_in

PACKAGE = "airflow_provider_quickrouter"
PUBLIC = {
    "hooks.quickrouter.QuickRouterHook": "hook",
    "operators.prediction.QuickRouterSubmitPredictionOperator": "submit",
    "operators.prediction.QuickRouterRunPredictionOperator": "run",
    "operators.prediction.QuickRouterBatchPredictionOperator": "batch",
    "sensors.prediction.QuickRouterPredictionSensor": "wait",
    "transfers.object_storage.QuickRouterToObjectStorageOperator": "store",
    "policies.retry.QuickRouterRetryPolicy": "retry-policy",
    "decorators.pictures.quickrouter_pictures": "taskflow",
}
TROUBLESHOOTING = "operations/troubleshooting.md"
ABSTRACT = ("QuickRouterError", "APIError", "FileError", "PredictionError")


@pytest.mark.parametrize(("path", "guide"), PUBLIC.items())
def test_a_public_name_has_a_guide_and_a_place_in_the_reference(path: str, guide: str) -> None:
    name = path.rpartition(".")[2]
    assert resolve_name(f"{PACKAGE}.{path}")
    assert name in (DOCS / "guides" / f"{guide}.md").read_text()
    reference = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    assert re.search(rf"auto(class|function):: {PACKAGE}\.{re.escape(path)}\n", reference)
    assert name in (ROOT / "README.md").read_text()


def failure_rows() -> dict[str, tuple[str, str]]:
    """``{class: last two columns}`` of the table of failures: of operators and of the sensor."""
    table = (DOCS / TROUBLESHOOTING).read_text().partition("## All exceptions")[2]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    promises = [(row[0], (row[-2].strip(), row[-1].strip())) for row in rows]
    return {name: said for names, said in promises for name in re.findall(r"`(\w+)`", names)}


def instance(kind: type[QuickRouterError]) -> QuickRouterError:
    if issubclass(kind, errors.PredictionError):
        return kind("text", prediction_id="p1")
    return kind("text")


def errors_below(kind: type[QuickRouterError]) -> list[type[QuickRouterError]]:
    """All classes that a task can raise: the leaves, and the bases that are raised themselves."""
    below = [found for child in kind.__subclasses__() for found in errors_below(child)]
    ours = kind.__module__ == errors.__name__ and "AirflowException" not in str(kind.__mro__)
    return below + ([kind] if ours and kind.__name__ not in ABSTRACT else [])


def test_the_table_of_failures_names_every_error_and_what_airflow_does() -> None:
    said, kinds = failure_rows(), errors_below(QuickRouterError)
    assert set(said) == {kind.__name__ for kind in kinds}
    for kind in kinds:
        for promise, resubmits in zip(said[kind.__name__], (True, False), strict=True):
            failure = as_airflow(instance(kind), resubmits=resubmits)
            final = isinstance(failure, AirflowFailException | AirflowSensorTimeout)
            usually = promise.partition("otherwise ")[2] or promise
            kept = promise == "never raised" or usually.startswith("no" if final else "yes")
            assert kept, (kind.__name__, promise)


def test_who_is_on_call_finds_every_error() -> None:
    told = {name for name in first_cells(TROUBLESHOOTING, "On call") if name[0].isupper()}
    assert told == {kind.__name__ for kind in errors_below(QuickRouterError)}


def test_the_page_of_models_is_made_of_their_classes() -> None:
    assert model_docs.PAGE.read_text() == model_docs.page(), "run python -m tests.docs.model_docs"


def first_cells(page: str, heading: str) -> list[str]:
    """The names in the first column of the first table under a heading."""
    section = (DOCS / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return first_cells_of(section)


def first_cells_of(text: str) -> list[str]:
    rows = re.findall(r"(?m)^\| ((?:Extra )?`[^|]*?) \|", text)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_fault_of_the_sandbox_is_told() -> None:
    assert set(first_cells("guides/sandbox.md", "Faults")) == set(KINDS)


def test_every_option_of_the_sandbox_is_told() -> None:
    told = {cell.split(" ")[0] for cell in first_cells("guides/sandbox.md", "The command line")}
    options = {name for action in _parser()._actions for name in action.option_strings}
    assert told == options - {"-h", "--help"}


def test_every_asset_extra_the_connection_is_told() -> None:
    from airflow_provider_quickrouter.hooks.connection import EXTRAS

    assert set(first_cells("getting-started/connection.md", "Fields")) == EXTRAS


def test_the_keys_of_the_manifest_and_of_a_stored_file_are_told() -> None:
    manifest = Prediction.from_json({"id": "p1"}).manifest("https://x")
    assert first_cells("reference/xcom.md", "`prediction`: the manifest") == list(manifest)
    (example,) = [block for block in those_in("json") if '"sha256"' in block.text]
    (file,) = json.loads(example.text)
    assert StoredFile.from_json(file).to_json() == file


def test_the_fields_of_a_name_are_told() -> None:
    assert {cell[1:-1] for cell in first_cells("guides/store.md", "Names")} >= set(FIELDS)


def test_every_outcome_of_a_line_of_a_batch_is_told() -> None:
    words = {str(reason) for reason in Reason} - {Reason.START_TIMEOUT}
    told = first_cells("guides/batch.md", "What it returns")
    assert set(told) - {"outcome"} == words | {REFUSED, UNCERTAIN, NOT_STORED, NOT_SUBMITTED}


def test_every_reason_of_a_metric_is_told_and_every_metric() -> None:
    page = (DOCS / "operations" / "metrics.md").read_text()
    reasons = page.partition("`reason` is one of:")[2].partition("\nEach")[0]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"(?m)^\| (`.*?) \|", reasons)))
    assert set(told) - {"reason"} == {str(reason) for reason in Reason}
    metrics = {value for value in vars(reporting).values() if str(value).startswith("quickrouter.")}
    assert set(re.findall(r"`(quickrouter\.\w+)", page)) == metrics


def test_what_an_asset_event_tells_is_told() -> None:
    told = first_cells_of((DOCS / "guides" / "assets.md").read_text())
    extra = asset_extra(Prediction.from_json({"id": "p1"}), [])
    assert set(told) - {"extra"} == set(extra)


def test_figures_outside_of_the_measurements_are_those_of_the_measurements() -> None:
    measured = (DOCS / "operations" / "polling.md").read_text()
    production = (DOCS / "operations" / "production.md").read_text()
    rows = re.findall(r"(?m)^\| (.*\d(?: s)?) \|$", production)
    figures = [cell for row in rows for cell in row.split(" | ") if cell[0].isdigit()]
    assert len(figures) > 8
    assert [figure for figure in figures if f"| {figure} |" not in measured] == []


LIMITS = {
    "guides/inputs.md": (
        f"{input_files.DATA_URI_LIMIT:,} characters",
        f"{input_files.LARGEST_FILE:,} bytes",
    ),
    "guides/gallery.md": (f"{cards.MAX_SIZE // 2**20} MiB at most",),
    "guides/store.md": (
        f"default {DEFAULT_MAX_BYTES // 2**20} MiB",
        f"default `{DEFAULT_NAME}`",
        f"`{record.FOLDER}/<prediction id>.json`",
    ),
    "guides/batch.md": (f"({CREATES_PER_MINUTE:.0f} a minute: `creates_per_minute`)",),
    "reference/xcom.md": (
        f"more than {prediction.MAX_TEXT:,} characters",
        f"more than {prediction.MAX_JSON:,}",
    ),
}


@pytest.mark.parametrize(("page", "told"), LIMITS.items())
def test_limits_are_those_of_the_code(page: str, told: tuple[str, ...]) -> None:
    text = " ".join((DOCS / page).read_text().split())
    assert [limit for limit in told if limit not in text] == []


def test_the_fields_that_are_said_to_take_a_file_do() -> None:
    text = (DOCS / "guides" / "inputs.md").read_text()
    named = text.partition("decides by the name of the field:")[2].partition("and similar names")[0]
    names = re.findall(r"`(\w+)`", named)
    assert names
    assert all(map(attachments.takes_file, names))


def arguments() -> set[str]:
    """The names of all arguments that our public classes take, Airflow's own included."""
    from airflow.sdk import BaseOperator, BaseSensorOperator, TaskGroup

    from airflow_provider_quickrouter.decorators.quickrouter import quickrouter_task
    from airflow_provider_quickrouter.sandbox.faults import Faults
    from airflow_provider_quickrouter.sandbox.server import Sandbox

    kinds: list[Any] = [
        quickrouter_task,
        TaskGroup,
        BaseOperator,
        BaseSensorOperator,
        Faults,
        Sandbox,
        Sandbox.set_faults,
    ]
    for path in PUBLIC:
        kind = resolve_name(f"{PACKAGE}.{path}")
        kinds += [kind, *(getattr(kind, name) for name in dir(kind) if name == "create_prediction")]
    names: set[str] = set()
    for kind in kinds:
        callables = kind.__mro__[:-1] if isinstance(kind, type) else [kind]
        for one in callables:
            names |= set(inspect.signature(one).parameters)
    return names


def test_every_argument_that_a_sentence_names_is_one() -> None:
    named = {
        name
        for code in inline_code()
        if not re.match(r"(make|quickrouter-sandbox|curl|AIRFLOW)", code)
        for name in re.findall(r"(?<![\w.-])([a-z_]+)=(?!=)", code)
    }
    assert named - arguments() - {"task_ids", "wait"} == set()
