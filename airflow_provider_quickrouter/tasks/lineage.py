"""What a task reports to OpenLineage; imported only where that provider is installed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.common.compat.openlineage.facet import (
    OutputDataset,
    OutputStatisticsOutputDatasetFacet,
    RunFacet,
)
from airflow.providers.openlineage.extractors.base import OperatorLineage
from attrs import define

if TYPE_CHECKING:
    from airflow_provider_quickrouter.api.files import StoredFile
    from airflow_provider_quickrouter.api.prediction import Prediction

RUN_FACET = "quickrouter_prediction"  # key of the run facet


@define
class QuickRouterPredictionRunFacet(RunFacet):
    """Which prediction a task made or waited for.

    :ivar predictionId: the API's id.
    :ivar model: ``owner/name``, or the version; None where the API names neither.
    :ivar seed: with it the same input makes the same output again; None if it is not known.
    :ivar cost: in the unit of the connection's prices; None if it is not known.
    """

    predictionId: str  # noqa: N815  # facets are spelled as OpenLineage spells its own
    status: str
    model: str | None
    version: str | None
    seed: int | None
    cost: float | None


def lineage_of(
    prediction: Prediction | None, files: Iterable[StoredFile]
) -> OperatorLineage[OutputDataset, RunFacet]:
    """Return the stored files as outputs, and the prediction as a run facet."""
    facets: dict[str, RunFacet] = {}
    if prediction:
        facets[RUN_FACET] = QuickRouterPredictionRunFacet(
            predictionId=prediction.id,
            status=prediction.status_word,
            model=prediction.model_name or None,
            version=prediction.version,
            seed=prediction.seed,
            cost=prediction.cost,
        )
    outputs = []
    for file in files:
        namespace, name = dataset_name(file.path)
        size = OutputStatisticsOutputDatasetFacet(size=file.size, fileCount=1)
        outputs.append(OutputDataset(namespace, name, outputFacets={"outputStatistics": size}))
    return OperatorLineage(outputs=outputs, run_facets=facets)


def dataset_name(path: str) -> tuple[str, str]:
    """Name a stored file as OpenLineage does: ``s3://bucket`` and the key, ``file`` and the path.

    The connection in ``s3://conn_id@bucket/key`` is not a part of it.
    """
    parts = urlsplit(path)
    place = parts.netloc.rpartition("@")[2]
    if parts.scheme in ("", "file", "local"):
        return "file", parts.path
    return f"{parts.scheme}://{place}", parts.path.lstrip("/")
