"""An auth manager as companies have them: not everyone may see everything of every DAG."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

SECRET_DAG = "quickrouter_secret_studio"
HIDDEN = {"without_xcoms": DagAccessEntity.XCOM, "without_tasks": DagAccessEntity.TASK_INSTANCE}


class DenyingAuthManager(SimpleAuthManager):
    """Keeps one DAG from ``outsider``, and from two others a part of each DAG."""

    def is_authorized_dag(
        self, *, method: Any, user: Any, access_entity: DagAccessEntity | None = None, details: Any = None
    ) -> bool:
        if details and details.id == SECRET_DAG and user.username == "outsider":
            return False
        if access_entity and HIDDEN.get(user.username) is access_entity:
            return False
        return super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
