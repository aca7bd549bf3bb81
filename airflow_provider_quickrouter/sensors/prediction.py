"""The sensor that waits for a prediction: on a worker, by rescheduling, or in the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow.utils.state import TaskInstanceState

from airflow_provider_quickrouter.api.attachments import check_not_a_task, is_template
from airflow_provider_quickrouter.api.errors import (
    APIError,
    FileUnavailable,
    PredictionError,
    QuickRouterError,
)
from airflow_provider_quickrouter.api.outcome import Outcome, Reason
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.hooks.airflow_errors import airflow_errors, tries_left
from airflow_provider_quickrouter.links import QuickRouterPredictionLink
from airflow_provider_quickrouter.polling.poll import (
    DEFAULT_POLL_INTERVAL,
    LONGEST,
    SHORTEST_PAUSE,
    Again,
    Limits,
    Poll,
    airflows_limit,
)
from airflow_provider_quickrouter.submission.cancel import MARK, TIMEOUT, cancel_and_log, is_canceled
from airflow_provider_quickrouter.tasks.arguments import check_flag
from airflow_provider_quickrouter.tasks.base import PredictionTask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs


# Whether this Airflow renders a trigger's arguments and can start a task in the triggerer.
AIRFLOW_STARTS = tuple(int(number) for number in airflow_version.split(".")[:2]) >= (3, 3)


class StartArgs:
    """``start_trigger_args``, made when Airflow writes the DAG into the database.

    Not in ``__init__``, since callbacks, outlets and mapped tasks may be added later. Not for the
    class either, since Airflow would use them for every mapped task.
    """

    def __get__(self, task: Any, owner: Any = None) -> StartTriggerArgs | None:
        """Return them for a task, None for the class."""
        return None if task is None else task.make_start_args()


def _needs_worker_to_start(task: QuickRouterPredictionSensor) -> bool:
    """Return whether only a worker can start this task.

    Airflow's triggers start tasks since 3.3, but call neither callbacks nor listeners, and know
    nothing of mapping. Airflow renders templates on a worker.
    """
    if not (AIRFLOW_STARTS and task.start_from_trigger and task.get_dag()):
        return True
    return any(
        (
            task.on_execute_callback,
            getattr(task, "_pre_execute_hook", None),
            _overrides(task, "pre_execute", "execute"),
            task.get_closest_mapped_task_group(),
            task.manifest is not None,
            is_template(task.quickrouter_conn_id),
            _has_listeners(),
        )
    )


def _needs_worker_to_end(task: QuickRouterPredictionSensor) -> bool:
    """Return whether a success of this task has to end on a worker.

    The triggerer stores no files. When it ends a task, Airflow handles neither outlets nor
    callbacks, and does not expand tasks that are mapped over this one's output.
    """
    return any(
        (
            task.outlets,
            task.output_path,
            task.on_success_callback,
            getattr(task, "_post_execute_hook", None),
            getattr(task, "returns_dag_result", False),
            _overrides(task, "post_execute", "execute_complete"),
            task.get_dag() and next(task.iter_mapped_dependants(), None) is not None,
            _has_listeners(),
        )
    )


def _overrides(task: QuickRouterPredictionSensor, *names: str) -> bool:
    """Return whether a subclass, or this task itself, has other methods than the sensor."""
    methods = ((getattr(task, name), getattr(QuickRouterPredictionSensor, name)) for name in names)
    return any(getattr(method, "__func__", None) is not known for method, known in methods)


def _has_listeners() -> bool:
    """Return whether a plugin, such as OpenLineage's, listens to tasks: only workers call it."""
    # Imported here: it loads all plugins. Airflow has loaded them before it reads the start arguments.
    from airflow.providers.common.compat.sdk import get_listener_manager

    return bool(get_listener_manager().has_listeners)


def _id_arguments(task: QuickRouterPredictionSensor) -> dict[str, Any] | None:
    """Return the trigger's arguments that lead to the id; None if only a worker can find it."""
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    given: Any = task.prediction_id
    if isinstance(given, str):
        # Airflow renders templates on a worker, since they may use the DAG's own macros.
        return None if is_template(given) else {"prediction_id": given}
    if not isinstance(given, PlainXComArg):
        return None
    upstream = task.dag.task_dict.get(given.operator.task_id)
    # A mapped task leaves one XCom for each map index.
    if upstream is None or upstream.is_mapped or upstream.get_closest_mapped_task_group():
        return None
    return {"from_task": given.operator.task_id, "from_key": given.key}


class QuickRouterPredictionSensor(PredictionTask, BaseSensorOperator):
    """Wait until a prediction is over; return its output, always a list.

    XCom: ``return_value`` is the output, ``prediction`` the manifest, ``file`` the first stored path or
    else the first URL, for the input of another model; they are the same in every mode. A prediction
    that failed fails the task permanently, since a retry would find the same failure; ``soft_fail``
    skips instead, in every mode. The wait continues through ten minutes of API errors; then the task
    fails, and a retry resumes the same prediction. In ``reschedule`` mode each poke is a new process,
    so the wait continues through errors until ``timeout``.

    :param prediction_id: the id that the submitting task returned.
    :param poke_interval: seconds, the longest pause between two polls; the first pauses are
        shorter. In ``reschedule`` mode every pause is this long. Give 60 or more there, since
        Airflow's scheduler may confuse the ends of two pokes that are a few seconds apart.
        ``exponential_backoff`` and ``max_wait`` have an effect only in ``reschedule`` mode.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param cancel_on_kill: cancel the prediction at ``timeout`` (or ``execution_timeout``, if that
        is shorter), and when a person marks the waiting task (while it is deferred: Airflow 3.3
        and later; not between two pokes in ``reschedule`` mode). Default False, since the prediction
        belongs to another task. A clear does not cancel it, since the next attempt resumes the wait
        (while the task is on its worker: Airflow 3 and later).
    :param end_from_trigger: let a success end the deferred task in the triggerer, with the same
        XComs. A worker handles every other outcome. It also handles a success if the task has
        outlets, ``on_success_callback``, ``post_execute``, a subclass's ``execute_complete``, tasks
        mapped over its output, or listeners (OpenLineage, for instance). From Airflow 3.0 to 3.2
        the triggerer may be unable to push XComs; then a worker ends the task, too.
    :param start_from_trigger: let the scheduler defer the task, so that no worker starts it;
        implies ``deferrable`` and ``end_from_trigger``. ``timeout`` counts from the deferral. It works
        if the id is a literal or the ``output`` of an unmapped task. With a template, when mapped,
        with ``on_execute_callback``, ``pre_execute`` or a subclass's ``execute``, with listeners,
        and before Airflow 3.3, the task starts on a worker as usual. Pools and limits on running
        tasks do not apply, since Airflow applies them to workers only. Until the wait is over, the
        UI shows neither rendered templates nor manifest and link.
    :param allow_empty: succeed also with an output that holds nothing, such as ``""`` or
        ``{"detections": []}``; a worker then ends the wait. Default False: a filter may have removed
        every picture.
    :param output_path: folder, as ``ObjectStoragePath`` accepts it, in which to store the output,
        like ``QuickRouterToObjectStorageOperator``: its files, or else its text or JSON, with XCom
        ``files``; a worker then ends the wait. If a file cannot be stored, the task fails and a
        retry stores the missing files; ``soft_fail`` skips only the last attempt. None stores nothing;
        the API deletes the files after an hour.
    :param manifest: XCom ``prediction`` of a submitting task with ``reuse``: a reused prediction is
        not polled. Such a wait starts on a worker.
    :param quickrouter_conn_id: connection of type ``quickrouter``.
    """

    template_fields: Sequence[str] = ("prediction_id", "output_path", "manifest", "quickrouter_conn_id")
    operator_extra_links = (QuickRouterPredictionLink(),)
    ui_color = "#ede9fe"
    start_trigger_args: Any = StartArgs()

    def __init__(  # noqa: PLR0913  # each is given by its name, and nearly always only a few
        self,
        *,
        prediction_id: str,
        poke_interval: float | timedelta = DEFAULT_POLL_INTERVAL,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        cancel_on_kill: bool = False,
        end_from_trigger: bool = False,
        start_from_trigger: bool = False,
        allow_empty: bool = False,
        output_path: str | None = None,
        manifest: Any = None,
        quickrouter_conn_id: str = "quickrouter_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.prediction_id = prediction_id
        self.deferrable = deferrable or start_from_trigger
        # Not named end_from_trigger: Airflow rejects a DAG with that attribute if there are listeners.
        self.ends_in_triggerer = end_from_trigger or start_from_trigger
        self.start_from_trigger = start_from_trigger and AIRFLOW_STARTS
        self.cancel_on_kill = cancel_on_kill
        self.manifest = manifest
        self.quickrouter_conn_id = quickrouter_conn_id
        with airflow_errors():
            check_not_a_task("prediction_id", prediction_id)
            self.allow_empty = check_flag("allow_empty", allow_empty)
            self._set_output_path(output_path)
        self._check_templates(*self.template_fields)
        self._current_poll: Poll | None = None
        self._pause = SHORTEST_PAUSE

    def execute(self, context: Context) -> Any:
        """Wait in this process, or poll once and then defer to the triggerer."""
        with self._airflow_errors():
            self._check_output_path()
            reused = self._reused_in(self.manifest)
            if reused and (outcome := Outcome.of(reused, time.time())):
                return self._finish(context, outcome)
        self.kill_handler.track(self.prediction_id, context["ti"])
        if not self.deferrable:
            return self._wait_here(context)
        with self._airflow_errors():
            poll = self._poll(context)
            step = self._poll_once(context, poll)
            if isinstance(step, Outcome):
                return self._finish(context, step)
        method = self.execute_complete.__name__
        return self._defer_to_trigger(poll, method, **self._trigger_arguments())

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""
        self._pause = self.poke_interval  # if an error ends this poke, silent_fail continues with it
        with self._airflow_errors():
            poll = self._poll(context)
            step = self._poll_once(context, poll)
            while isinstance(step, Again) and poll.awaits_output:
                # Not in the next poke: another process would not know since when the output is missing.
                time.sleep(step.after)
                step = self._poll_once(context, poll)
            if isinstance(step, Outcome):
                return PokeReturnValue(is_done=True, xcom_value=self._finish(context, step))
        self._pause = step.after
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None) -> list[Any]:
        """Resume after the trigger's event, which holds the outcome."""
        with self._airflow_errors():
            return self._finish(context, self._polled_again(self._outcome(event)))

    def start_complete(self, context: Context, event: Any = None) -> list[Any]:
        """Resume after the trigger's event, if no worker started this task."""
        outcome = self._outcome(event)
        with self._airflow_errors():
            if not outcome.prediction and isinstance(outcome.error, APIError):
                self._push_manifest(context, Prediction.from_id(self.prediction_id))
        return self.execute_complete(context, event)

    def resume_after_deadline(self, context: Context) -> list[Any]:
        """Poll once more; what is not over by now is a timeout."""
        with self._airflow_errors():
            late = Outcome(reason=Reason.TIMEOUT, prediction_id=self.prediction_id)
            return self._finish(context, self._polled_again(late))

    def make_start_args(self) -> StartTriggerArgs | None:
        """Return how the scheduler defers this task; None: it starts on a worker, and defers there."""
        if _needs_worker_to_start(self) or (id_arguments := _id_arguments(self)) is None:
            return None
        # Imported here, since Airflow's triggers take a time that parsing should not pay.
        from airflow.triggers.base import StartTriggerArgs

        from airflow_provider_quickrouter.triggers.starting import QuickRouterStartTrigger

        own_limit = Limits(min(self.timeout, LONGEST), self.execution_timeout).own
        deferral_limit = airflows_limit(own_limit, 0.0)
        arguments = id_arguments | {
            "quickrouter_conn_id": self.quickrouter_conn_id,
            "poll_interval": self.poke_interval,
            **self._trigger_arguments(),
            "timeout": own_limit,
            "airflows_timeout": min(deferral_limit, self.execution_timeout or deferral_limit).total_seconds(),
            "confirmed": False,
        }
        path = f"{QuickRouterStartTrigger.__module__}.{QuickRouterStartTrigger.__qualname__}"
        method = self.start_complete.__name__
        return StartTriggerArgs(path, method, arguments, timeout=deferral_limit)

    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "cancel_on": [TIMEOUT, MARK] if self.cancel_on_kill else [],
            "end_from_trigger": self.ends_in_triggerer and not _needs_worker_to_end(self),
            "push_xcom": self.do_xcom_push,
        }

    def _outcome(self, event: Any) -> Outcome:
        """Read the event."""
        # After an event that ends the task itself, ``dag.test`` calls this method nevertheless.
        if event != TaskInstanceState.SUCCESS:
            return Outcome.from_payload(event)
        seen = self.hook.get_prediction(self.prediction_id)
        return Outcome.of(seen, time.time()) or Outcome.from_payload(event)

    def _wait_here(self, context: Context) -> Any:
        """Let Airflow's own loop poke; it also reschedules."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout:
            with self._airflow_errors():
                return self._finish(context, self._poll(context).timed_out())
        except AirflowSkipException:
            # With soft_fail Airflow's loop skips by itself when the time is up.
            last = self._poll(context).last
            if self.cancel_on_kill and not (last and last.status.terminal):
                cancel_and_log(self.hook, self.prediction_id, self.log)
            raise

    def _get_next_poke_interval(
        self, started_at: Any, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the next pause; Airflow's own would always be ``poke_interval``."""
        if self.reschedule:
            planned = super()._get_next_poke_interval(started_at, run_duration, poke_count)
            return max(planned, self._pause)
        return max(SHORTEST_PAUSE, min(self._pause, self.timeout - run_duration()))

    def _finish(self, context: Context, outcome: Outcome) -> list[Any]:
        if self.cancel_on_kill and outcome.timed_out and not is_canceled(outcome.stopped):
            outcome = self._canceled(outcome)
        try:
            return self._end(context, outcome)
        except PredictionError:
            if self.soft_fail or self.never_fail:
                self._push_no_files(context)
            raise
        except FileUnavailable as error:
            if self.soft_fail and tries_left(context["ti"]):
                # Not an exception of Airflow: that would skip at once, and no retry would store the files.
                raise RuntimeError(str(error)) from error
            raise

    def _poll(self, context: Context) -> Poll:
        """Return the state of this wait, which lives as long as this process."""
        if self._current_poll is None:
            # Airflow 2.11 does not report the first poke: there an unknown id is polled until ``timeout``.
            get_date = getattr(context["ti"], "get_first_reschedule_date", None)
            first = get_date(context) if self.reschedule and get_date else None
            started_at = first.timestamp() if first else time.time()
            limits = Limits(self.timeout, self.execution_timeout)
            self._current_poll = Poll(
                self.prediction_id,
                started_at,
                deadline=started_at + limits.own if self.deferrable else None,
                poll_interval=self.poke_interval,
                # An earlier process has poked: a wrong key would have failed that one.
                confirmed=first is not None,
            )
        return self._current_poll

    @contextmanager
    def _airflow_errors(self) -> Iterator[None]:
        """Raise Airflow's exceptions; ``soft_fail`` and ``never_fail`` skip in every mode."""
        skips = self.soft_fail or self.never_fail
        try:
            with airflow_errors(None if skips else self.log):
                yield
        except QuickRouterError as error:
            if skips:
                raise AirflowSkipException(f"Skipped instead of failed: {error}") from error.__cause__
            raise
