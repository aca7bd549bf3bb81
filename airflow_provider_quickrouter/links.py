"""XCom keys and class names that several modules know a task by, and the link to its prediction."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

RETURN_KEY = "return_value"
"""XCom key of what a task returns."""

MANIFEST_KEY = "prediction"
"""XCom key of the manifest, see ``Prediction.manifest``."""

FILES_KEY = "files"
"""XCom key of the stored files, see ``api.files.StoredFile``."""

FILE_KEY = "file"
"""XCom key of the file that another model can take as its input, see ``file_xcoms``."""


OPERATOR = "QuickRouter"
"""Part of the class names of all operators and sensors of this provider."""

STORE_OPERATOR = "QuickRouterToObjectStorageOperator"
"""Class name of the operator that stores files, for those who cannot import it."""

FOLLOWERS = ("Sensor", "ToObjectStorage", "Batch")
"""Parts of the class names of tasks that create no prediction with a manifest of its own."""


class QuickRouterPredictionLink(BaseOperatorLink):
    """Button to the prediction, on the page of each task that knows its id."""

    name = "QuickRouter prediction"
    xcom_key = "_link_QuickRouterPredictionLink"
    """Where Airflow 3 looks for the address; Airflow 2 calls :meth:`get_link`."""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the manifest's ``url``; "" before there is a prediction."""
        manifest = XCom.get_value(ti_key=ti_key, key=MANIFEST_KEY)
        return str(manifest["url"]) if manifest else ""


RESULT_KEYS = (RETURN_KEY, MANIFEST_KEY, FILE_KEY, QuickRouterPredictionLink.xcom_key)
"""XCom keys of a task that ends in the triggerer."""
