"""The steps of a row, each one a column of the table."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from dev.matrix.commands import CommandFailed
from dev.matrix.environment import Environment
from dev.matrix.examples import COUNT, EXAMPLES, WAYS, Example, states, wrong_with
from dev.matrix.table import Outcome

PACKAGE = "airflow-provider-quickrouter"
INSIDE = Path(__file__).parent / "inside"
Step = Callable[[Environment, Path], Outcome]


def steps() -> tuple[Step, ...]:
    """Return the steps in the order of the table's columns."""
    return (install, imports, provider_info, examples)


def install(environment: Environment, wheel: Path) -> Outcome:
    """Install Airflow, then the wheel; count the distributions that the wheel adds."""
    environment.create()
    environment.install(f"apache-airflow=={environment.cell.airflow}")
    before = environment.installed()
    environment.install(str(wheel))
    after = environment.installed()
    environment.uv("pip", "check", "--python", str(environment.venv))
    if before - after:
        return Outcome(wrong=f"the wheel replaces {', '.join(sorted(before - after))}")
    added = {one for one in after - before if not one.startswith(f"{PACKAGE}==")}
    loose = (before | added) - pinned(environment.cell.pins)
    if loose:
        return Outcome(wrong=f"not pinned: {', '.join(sorted(loose))}")
    return Outcome(detail=f"+{len(added)}")


def pinned(file: Path) -> set[str]:
    """Return name and version of each distribution in a file of constraints."""
    return {line.split(";")[0].strip() for line in file.read_text().splitlines()}


def imports(environment: Environment, wheel: Path) -> Outcome:
    """Import every module, with warnings as errors."""
    return verdict(environment.python(str(INSIDE / "imports.py")))


def provider_info(environment: Environment, wheel: Path) -> Outcome:
    """Validate the provider info, and check that Airflow finds what it names."""
    environment.airflow("db", "migrate")
    output = environment.python(str(INSIDE / "provider_info.py"))
    complaints = [line for line in output.splitlines() if is_complaint(line)]
    if complaints:
        return Outcome(wrong=complaints[0])
    listed = environment.airflow("providers", "list", "--output", "plain")
    if PACKAGE not in listed:
        return Outcome(wrong="'airflow providers list' does not show it")
    environment.python("-m", "airflow_provider_quickrouter.cli", "running")
    return verdict(output)


def is_complaint(line: str) -> bool:
    """Return whether a line of Airflow's log warns of this package."""
    text = line.lower()
    return bool("quickrouter" in text and re.search(r"\bwarning\b|\berror\b", text))


def verdict(output: str) -> Outcome:
    """Return what a script of ``inside`` found: a line of JSON, behind which Airflow may log."""
    found = [line for line in output.splitlines() if line.startswith('{"wrong"')]
    return Outcome(**json.loads(found[-1])) if found else Outcome(wrong=last_line(output))


def examples(environment: Environment, wheel: Path) -> Outcome:
    """Run every example DAG, and one more, with ``airflow dags test``; look at what they left."""
    environment.airflow("pools", "set", "quickrouter", "2", "at once", "--include-deferred")
    environment.airflow("dags", "reserialize")  # events need the assets in the database
    for example in (*EXAMPLES, WAYS):
        wrong = run(environment, example)
        if wrong:
            return Outcome(wrong=wrong)
    first = environment.folder / "stored" / EXAMPLES[0].dag_id
    shown = verdict(environment.python(str(INSIDE / "stored_picture.py"), str(first)))
    return shown if shown.wrong else Outcome(detail=f"{len(EXAMPLES)} and one more")


def run(environment: Environment, example: Example) -> str:
    """Run one example; return what is wrong, "" if nothing is."""
    folder = environment.folder / "stored" / example.dag_id
    conf = json.dumps({"folder": f"file://{folder}", "count": COUNT})
    try:
        environment.airflow("dags", "test", example.dag_id, "--conf", conf)
    except CommandFailed as error:
        return f"{example.dag_id}: {last_line(str(error))}"
    return wrong_with(example, states(environment.home / "airflow.db", example.dag_id), folder)


def last_line(output: str) -> str:
    """Return the last line that is not empty."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
