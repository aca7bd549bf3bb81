"""The operators that make predictions: submit only, submit and wait, or thousands at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_quickrouter.operators.run import QuickRouterRunPredictionOperator
from airflow_provider_quickrouter.operators.submit import QuickRouterSubmitPredictionOperator

if TYPE_CHECKING:
    from airflow_provider_quickrouter.operators.batch import QuickRouterBatchPredictionOperator

__all__ = [
    "QuickRouterBatchPredictionOperator",
    "QuickRouterRunPredictionOperator",
    "QuickRouterSubmitPredictionOperator",
]


def __getattr__(name: str) -> Any:
    """Import the batch operator when it is asked for: most DAG files have none, and are quicker."""
    if name == "QuickRouterBatchPredictionOperator":
        from airflow_provider_quickrouter.operators import batch

        return batch.QuickRouterBatchPredictionOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
