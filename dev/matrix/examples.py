"""The DAGs that are run, what each must store, and how a run of it is judged by what it left."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

COUNT = 6
"""Predictions in the batch."""


@dataclass(frozen=True)
class Example:
    """One DAG.

    :param pictures: files that its run stores.
    :param lines: results of a batch that its run stores.
    """

    dag_id: str
    pictures: int = 0
    lines: int = 0


EXAMPLES = (
    Example("quickrouter_text_to_image", pictures=1),
    Example("quickrouter_asset_producer", pictures=2),
    Example("quickrouter_asset_consumer"),  # reads what the producer stored
    Example("quickrouter_batch", lines=COUNT),
    Example("quickrouter_fallback_models"),
    Example("quickrouter_mapped_prompts"),
    Example("quickrouter_picture_group", pictures=3),
    Example("quickrouter_spending_guard"),
    Example("quickrouter_taskflow"),
    Example("quickrouter_upscaled_picture", pictures=2),
    Example("quickrouter_without_a_worker"),
)
"""Those of ``dags_examples``."""

WAYS = Example("quickrouter_matrix_ways", pictures=1)
"""That of ``dev/matrix/dags``: what the examples do not show."""


def states(database: Path, dag_id: str) -> dict[str, str]:
    """Return the states of a DAG's runs and of their task instances, from Airflow's SQLite file."""
    query = (
        "select 'run', state from dag_run where dag_id = :dag union all "
        "select task_id || '[' || map_index || ']', state from task_instance where dag_id = :dag"
    )
    with closing(sqlite3.connect(database)) as connection:
        return {name: str(state) for name, state in connection.execute(query, {"dag": dag_id})}


def wrong_with(example: Example, found: dict[str, str], folder: Path) -> str:
    """Return what is wrong with a run, "" if nothing is.

    :param found: from :func:`states`.
    :param folder: where the run stores its files.
    """
    bad = {name: state for name, state in found.items() if state != "success"}
    if bad or len(found) < 2:
        return f"{example.dag_id}: {bad or found}"
    pictures = [size_of(file) for file in folder.rglob("*.png")]
    if len(pictures) != example.pictures:
        return f"{example.dag_id}: {len(pictures)} pictures stored, not {example.pictures}"
    outputs = [line for file in folder.glob("*.jsonl") for line in results(file)]
    if len(outputs) != example.lines:
        return f"{example.dag_id}: {len(outputs)} results stored, not {example.lines}"
    return ""


def size_of(file: Path) -> tuple[int, int]:
    """Return width and height of a picture, in pixels, once all of it was read.

    :raises OSError: it is not a complete picture.
    """
    with Image.open(file) as picture:
        picture.load()
        return picture.size


def results(file: Path) -> list[str]:
    """Return the addresses in a batch's results."""
    lines = file.read_text().splitlines()
    return [url for line in lines for url in json.loads(line)["output"]]
