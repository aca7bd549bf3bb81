"""The operator that stores the files of an output, which the API deletes after an hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator
from pydantic import BaseModel

from airflow_provider_quickrouter.api.attachments import NOTHING, check_not_a_task, is_template
from airflow_provider_quickrouter.api.errors import InvalidInputError
from airflow_provider_quickrouter.api.files import DEFAULT_MAX_BYTES, StoredFile, parse_rendered
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.storage.names import DEFAULT_NAME, check_distinct, check_name
from airflow_provider_quickrouter.storage.target import check_path
from airflow_provider_quickrouter.tasks.arguments import check_flag, positive
from airflow_provider_quickrouter.tasks.base import PredictionTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_quickrouter.api.prediction import Prediction
    from airflow_provider_quickrouter.storage.store import Storing


class QuickRouterToObjectStorageOperator(PredictionTask, BaseOperator):
    """Store every file of an output, and return the paths, in the order of the output.

    URLs and ``data:`` URIs are found in any nesting. An output without any is stored as ``0.txt`` (a
    string, or a list of strings such as tokens, which are joined) or ``0.json``. Six files are downloaded
    at a time, each to the disk of this machine. Magic bytes, then the address, then the content type
    decide the extension; an error message or an HTML page instead of a file is refused. A file gets its
    name only when it is complete. The task fails only after all that can be stored is.

    XCom: ``return_value`` are the paths, ``files`` a list of ``path``, ``size`` (bytes),
    ``sha256``, ``content_type``, ``width`` and ``height`` (pixels, None if not known), ``key`` (in the
    output's object, such as ``vocals``, or None) and ``index`` (in the output's list); ``file`` is the
    first path, for the input of another model; ``prediction`` the manifest, if ``prediction_id`` is given.

    The API deletes files an hour after the prediction has ended: then the task fails permanently,
    with ``PredictionExpired``. Errors of a file (404, 403, 408, 429, 5xx, a broken download, a page in
    place of the file) are waited out for two minutes; then a retry stores what is missing. A file that
    was stored and is unchanged is left alone; a small record under ``.quickrouter/`` in ``path`` lists
    them. Neither a retry nor a kill touches the prediction, and a kill leaves no half file.

    Addresses that are not public are refused, redirects to them, too, unless the connection's
    extra has ``allow_private_addresses``. Neither key nor cookie is sent with a download.

    :param path: folder, as ``ObjectStoragePath`` takes it: ``s3://conn_id@bucket/pictures``,
        ``file:///data/pictures``.
    :param prediction_id: the id that the submitting task returned, of a prediction that has
        succeeded; or else
    :param output: what a waiting task returned. ``data:`` URIs do not fit into XCom: for models
        that respond with them give ``prediction_id``. ``{prediction_id}`` in ``name`` is a digest
        of the output then.
    :param name: of each file below ``path``: ``{prediction_id}``, ``{n}`` (number in the output,
        from 0, where a null in a list keeps its number; ``{n:03}`` for three digits), ``{ext}``,
        ``{sha256}``, and folders.
    :param max_bytes: of one file; a larger one fails the task.
    :param manifest: XCom ``prediction`` of a submitting task with ``reuse``: a reused prediction is
        not polled.
    :param allow_empty: succeed also if the prediction has no output, or one that holds nothing.
    :param quickrouter_conn_id: connection of type ``quickrouter``: proxies, CA bundle, timeouts.
    """

    template_fields: Sequence[str] = (
        *("path", "prediction_id", "given_output", "name", "manifest", "quickrouter_conn_id"),
    )
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#ddd6fe"

    def __init__(
        self,
        *,
        path: Any,
        prediction_id: Any = None,
        output: Any = None,
        name: str = DEFAULT_NAME,
        max_bytes: int = DEFAULT_MAX_BYTES,
        manifest: Any = None,
        allow_empty: bool = False,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():  # Airflow's at once: a mapped task comes here on the worker
            check_not_a_task("prediction_id", prediction_id)
            check_not_a_task("output", output)
            _check(path, prediction_id, output)
            if not is_template(name):
                check_distinct(check_name(name), _outputs(output if prediction_id is None else prediction_id))
            self.max_bytes = int(positive("max_bytes", max_bytes))
            self.allow_empty = check_flag("allow_empty", allow_empty)
        self.path = path
        self.prediction_id = prediction_id
        self.given_output = output  # BaseOperator.output is the XCom of this task itself
        self.name = name
        self.manifest = manifest
        self.quickrouter_conn_id = quickrouter_conn_id
        self.cancel_on_kill = False  # the prediction is over; a kill only stops the storing
        self._check_templates(*self.template_fields)

    def execute(self, context: Context) -> list[str]:
        """Store what is missing; return all paths."""
        # Here, since its HTTP client takes half a second that no parsing of DAGs should pay.
        from airflow_provider_quickrouter.storage.store import Storing

        with airflow_errors(self.log):
            _check(self.path, self.prediction_id, self.given_output)
            storing = Storing(
                self.hook,
                self.log,
                path=self.path,
                name=self.name,
                max_bytes=self.max_bytes,
                allow_empty=self.allow_empty,
            )
            prediction, files = self._store(context, self._stoppable(storing))
        self._report(context, prediction, files)
        return [file.path for file in files]

    def _store(self, context: Context, storing: Storing) -> tuple[Prediction | None, list[StoredFile]]:
        if self.prediction_id is None:
            return None, storing.store(_plain(self.given_output))
        # Imported here for the same reason.
        from airflow_provider_quickrouter.submission.submit import poll_through_outage

        reused = self._reused_in(self.manifest)
        prediction = reused or poll_through_outage(self.hook, self.prediction_id, self.log, confirmed=False)
        self._push_manifest(context, prediction)
        before = storing.stored_before(prediction.id) if reused else []
        return prediction, before or storing.store_prediction(prediction)


def _check(path: Any, prediction_id: Any, output: Any) -> None:
    check_path("path", path)
    if (prediction_id is None) == (output is None):
        raise InvalidInputError(
            "Give exactly one of prediction_id= (of a prediction that has succeeded) and output= "
            "(what a waiting task returned)."
        )
    if isinstance(output, str) and output.strip() in NOTHING:
        raise InvalidInputError(
            "output: is empty; give what a waiting task returned. A template becomes so if it "
            "names a task or key that there is not."
        )


def _outputs(source: Any) -> int:
    """Return how many outputs the task was asked to create whose XCom this is, if that is constant."""
    task = getattr(source, "operator", None)
    if task is not None and hasattr(task, "prediction_id"):
        return _outputs(task.prediction_id)
    given = getattr(task, "input", None)
    count = dict(given).get("num_outputs") if isinstance(given, dict | BaseModel) else 1
    return count if isinstance(count, int) else 1


def _plain(output: Any) -> Any:
    """Return as JSON what templates made text of, and XComs of mapped tasks that come singly."""
    if isinstance(output, str | Mapping) or not isinstance(output, Iterable):
        return parse_rendered(output)
    return list(output)
