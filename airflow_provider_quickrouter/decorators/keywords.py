"""``determine_kwargs`` of any Airflow: ``common.compat`` names it only since 1.14.1."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import determine_kwargs
else:
    try:
        from airflow.sdk.bases.decorator import determine_kwargs
    except ImportError:  # Airflow before 3.2
        from airflow.utils.operator_helpers import determine_kwargs

__all__ = ["determine_kwargs"]
