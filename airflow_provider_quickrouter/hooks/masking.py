"""``mask_secret`` of any Airflow: ``common.compat`` names it only since 1.22.

Airflow 2.11 to 3.3 were released with older ones, which their own constraints keep.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.log import mask_secret
else:
    try:
        from airflow.sdk.log import mask_secret
    except ImportError:  # Airflow 2
        from airflow.utils.log.secrets_masker import mask_secret

__all__ = ["mask_secret"]
