"""The hook: an Airflow connection of type ``quickrouter``, and the API's verbs on it.

A create request is sent again only if it certainly was not accepted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import cached_property, partial
from typing import Any, Self, TypeVar

import requests
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.providers.http.hooks.http import HttpHook
from asgiref.sync import sync_to_async

from airflow_provider_quickrouter import __version__, get_provider_info
from airflow_provider_quickrouter.api import protocol
from airflow_provider_quickrouter.api.errors import (
    APIError,
    AuthenticationError,
    ConnectionLostError,
    InvalidConnectionError,
    QuickRouterError,
    UncertainCreateError,
    backoff,
)
from airflow_provider_quickrouter.api.prediction import Prediction
from airflow_provider_quickrouter.api.prices import priced
from airflow_provider_quickrouter.hooks import threads
from airflow_provider_quickrouter.hooks.connection import Settings, lookup_errors
from airflow_provider_quickrouter.hooks.input_files import InputFiles
from airflow_provider_quickrouter.hooks.transport import AsyncSender, BearerAuth, Session, proxy_and_tls, send

Value = TypeVar("Value")
Reader = Callable[[protocol.Response, float], Value]

_LARGE = 2**18  # bytes of a body that is parsed in a thread

# Seconds of pauses after which a worker leaves the create request to the scheduler's retry.
RESEND_LIMIT = 120.0
LONGEST_RESEND_PAUSE = 30.0

USER_AGENT = f"airflow-provider-quickrouter/{__version__} Airflow/{airflow_version}"


class QuickRouterHook(HttpHook):
    """Create, poll and cancel predictions through one Airflow connection.

    Use the async methods inside ``async with hook:``, which holds one session open; they
    never block the event loop.

    :param quickrouter_conn_id: connection of type ``quickrouter``: the password is the API
        key, the host the base URL (empty: ``https://api.quickrouter.ai``). Extras:
        ``path_prefix`` (default ``/replicate/v1``), ``timeout`` (seconds, or ``[connect,
        read]``; default 10 and 60), ``proxies``, ``verify``, ``cert``, ``trust_env``,
        ``requests_per_minute`` (of each triggerer; default 1500), ``console_url``, ``prices``.
    """

    conn_name_attr = "quickrouter_conn_id"
    default_conn_name = "quickrouter_default"
    conn_type = "quickrouter"
    hook_name = "QuickRouter"

    def __init__(self, quickrouter_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=quickrouter_conn_id)
        self.quickrouter_conn_id = quickrouter_conn_id
        self._async_sender: AsyncSender | None = None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form for Airflow before 3.2, which does not read provider info."""
        form = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in form.items()}

    def create_prediction(
        self,
        input: Any,
        *,
        version: str | None = None,
        model: str | None = None,
        deployment: str | None = None,
        cancel_after: float | timedelta | None = None,
        wait: int | None = None,
    ) -> Prediction:
        """Create a prediction, which costs money. Blocks.

        The request is sent again, after a pause, only if it certainly was not accepted (no
        connection, or 429), for two minutes at most.

        :param input: dict, or a model of ``api.models``. A file may be an ``ObjectStoragePath``
            or its string, see ``api.attachments``; it is read by this call.
        :param version: ``owner/name``, ``owner/name:<64 hex>`` or ``<64 hex>``; or else
        :param model: ``owner/name``, for models that are called by name; or else
        :param deployment: ``owner/name``, for deployments at Replicate itself.
        :param cancel_after: seconds (5 or more) after which the server itself ends it.
        :param wait: seconds (1 to 60) that the server may hold its response for the result.
        :raises InvalidInputError: an argument is wrong; nothing was sent.
        :raises UncertainCreateError: it may have been accepted and billed.
        :raises APIError: it was not accepted.
        """
        reference: dict[str, Any] = {"version": version, "model": model, "deployment": deployment}
        given = InputFiles(cancel_after).read(input, **reference)
        request = protocol.create(given, **reference, cancel_after=cancel_after, wait=wait)
        return self.send_create(request)

    def send_create(
        self,
        request: protocol.Request,
        wanted: Callable[[], bool] = lambda: True,
        sleep: Callable[[APIError, float], object] = lambda _, pause: time.sleep(pause),
    ) -> Prediction:
        """Send what ``protocol.create`` returned, as :meth:`create_prediction` does.

        :param wanted: returns whether to send it again; is called after each pause.
        :param sleep: pauses after an error, for the given number of seconds.
        :raises UncertainCreateError: it may have been accepted; states when it was sent.
        """
        _ = self._session  # raises what is wrong with its settings before anything is sent
        attempt, waited = 1, 0.0
        while True:
            begun_at = time.time()
            try:
                return self._send_once(request)
            except UncertainCreateError as error:
                lost = error.sent_between(begun_at, time.time(), request.reference)
                raise lost from error.__cause__
            except APIError as error:
                pause = resend_after(error, attempt, waited)
                if pause is None:
                    raise
                self.log.warning("Not accepted, sending again in %.0f s: %s", pause, error)
                # Nothing was accepted, so a task that is out of time fails with the gateway's error.
                with suppress(AirflowTaskTimeout):
                    sleep(error, pause)
                    if wanted():
                        attempt, waited = attempt + 1, waited + pause
                        continue
                raise

    def _send_once(self, request: protocol.Request) -> Prediction:
        """Send a create request once, from any thread.

        :raises UncertainCreateError: the create request may have been accepted.
        """
        try:
            # A new connection: the server may have closed an open one, and then it is unknown
            # whether it has read the request.
            with self.get_conn() as session:
                response = send(session, self.settings, request)
                return self._read(self.reader(request), response)
        except ConnectionLostError as error:
            raise protocol.uncertain(error) from None
        except InvalidConnectionError as error:
            raise error.as_permanent() from None  # it is transient only for a wait
        except (QuickRouterError, GeneratorExit):
            raise
        except AirflowTaskTimeout:
            raise protocol.cut_off_by_timeout() from None
        except BaseException as error:
            # Airflow 2 ends a task by a BaseException, which would be retried.
            lost = ConnectionLostError(f"reading it ended with {type(error).__name__}")
            raise protocol.uncertain(lost) from error

    def exchange(self, request: protocol.Request) -> protocol.Response:
        """Send one request; return its response unread. Blocks; raises as :meth:`asend`."""
        return send(self._session, self.settings, request)

    def get_prediction(self, prediction_id: str) -> Prediction:
        """Poll a prediction once. Free; blocks. Raises ``APIError``, see its subclasses."""
        return self._request(protocol.get(prediction_id))

    def cancel_prediction(self, prediction_id: str) -> Prediction:
        """Cancel a prediction; safe to repeat. A gateway may not have the route (404, 405, 501)."""
        return self._request(protocol.cancel(prediction_id))

    async def aget_prediction(self, prediction_id: str) -> Prediction:
        """Poll a prediction once, without blocking the event loop."""
        request = protocol.get(prediction_id)
        await self.aload()  # for the prices
        return await self.aread(self.reader(request), await self.asend(request))

    async def acancel_prediction(self, prediction_id: str) -> Prediction:
        """Cancel a prediction, without blocking the event loop."""
        await self.aload()
        cancel = partial(self.sibling().cancel_prediction, prediction_id)
        return await asyncio.wrap_future(threads.start(cancel))

    def prediction_url(self, prediction_id: str) -> str:
        """Where a person looks at the prediction."""
        return self.settings.prediction_url(prediction_id)

    def test_connection(self) -> tuple[bool, str]:
        """Send one free request. Return whether key, address and network work, or why not."""
        try:
            self._read(protocol.read_object, self.exchange(protocol.probe()))
        except QuickRouterError as error:
            return False, str(error)
        return True, f"{self.settings.base_url} accepts the key."

    @cached_property
    def settings(self) -> Settings:
        """The connection, read and checked once. Blocks; ``async with hook`` fills it before.

        Raises what :meth:`aload` does.
        """
        with lookup_errors(self.quickrouter_conn_id):
            connection = self.get_connection(self.quickrouter_conn_id)
        return Settings.of(connection)

    def get_conn(self, headers: Any = None, extra_options: Any = None) -> requests.Session:
        """Return a new session with key, User-Agent, proxies and TLS settings of the connection.

        :param headers: more headers, as for the HTTP provider's hook.
        :param extra_options: more options of the HTTP provider's ``run``.
        """
        session = Session()  # not HttpHook's: that sends unknown extras as headers
        # HttpHook.run reads these.
        self.base_url, self._base_url_initialized = self.settings.base_url, True
        self.merged_extra = {
            "timeout": self.settings.timeout,
            "allow_redirects": False,
            **(extra_options or {}),
        }
        session.auth = BearerAuth(self.settings.api_key)
        session.headers.update({"User-Agent": USER_AGENT, **(headers or {})})
        session.proxies = dict(self.settings.proxies)
        session.verify, session.cert = self.settings.verify, self.settings.cert
        session.trust_env = self.settings.trust_env
        return self._configure_session_from_mount_adapters(session)

    def sibling(self) -> Self:
        """Return a hook with the same settings and its own session."""
        # A session of requests belongs to one thread, so each thread needs its own hook.
        other = type(self)(self.quickrouter_conn_id)
        if "settings" in vars(self):
            other.settings = self.settings
        return other

    async def __aenter__(self) -> Self:
        """Open one session for all requests in the block."""
        settings = await self.aload()
        proxy, tls = await asyncio.to_thread(proxy_and_tls, self.get_conn(), settings.base_url)
        self._async_sender = AsyncSender(settings, {"User-Agent": USER_AGENT}, proxy, tls)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the session."""
        sender, self._async_sender = self._async_sender, None
        if sender:
            await sender.close()

    async def aload(self) -> Settings:
        """Read the connection, if that was not done before, without blocking the event loop.

        :raises InvalidConnectionError: there is none, or its settings cannot work.
        :raises UpstreamError: Airflow, or its secrets backend, could not return it; a retry may help.
        """
        if "settings" not in vars(self):
            with lookup_errors(self.quickrouter_conn_id):
                connection = await get_async_connection(self.quickrouter_conn_id)
            # In a thread: reading the extras masks secrets, reading certificates reads files.
            self.settings = await sync_to_async(Settings.of)(connection)
        return self.settings

    async def asend(self, request: protocol.Request) -> protocol.Response:
        """Send one request and return its response unread.

        Raises ``NotConnectedError``, ``ConnectionLostError`` or ``InvalidConnectionError``.
        """
        if self._async_sender:
            return await self._async_sender.send(request)
        async with self.sibling() as own:
            return await own.asend(request)

    async def aread(self, read: Reader[Value], response: protocol.Response) -> Value:
        """Read a response of :meth:`asend`. Raises ``APIError``.

        :param read: a function of ``api.protocol``, such as ``read_page``.
        """
        # Parsing a large body would block the event loop; for a small one a thread costs more.
        if len(response.body) < _LARGE:
            return self._read(read, response)
        return await asyncio.to_thread(self._read, read, response)

    def reader(self, request: protocol.Request) -> Reader[Prediction]:
        """Return what reads a response about one prediction, with the prediction's cost."""
        return lambda response, now: priced(
            protocol.read_prediction(request, response, now), self.settings.prices
        )

    def named(self, prediction: Prediction, model: str) -> Prediction:
        """Return a prediction with the requested model, and so its cost, if the API does not name it."""
        named = prediction.of_model(model)
        return named if named is prediction else priced(named, self.settings.prices)

    @cached_property
    def _session(self) -> requests.Session:
        session = self.get_conn()
        proxy_and_tls(session, self.settings.base_url)  # raises what is wrong with them
        return session

    def _request(self, request: protocol.Request) -> Prediction:
        try:
            return self._read(self.reader(request), self.exchange(request))
        except AuthenticationError:
            # The key may have been replaced: the next request reads the connection again.
            for name in ("settings", "_session"):
                vars(self).pop(name, None)
            raise

    def _read(self, read: Reader[Value], response: protocol.Response) -> Value:
        try:
            return read(response, time.time())
        except APIError as error:
            # The API may have echoed the key with escapes, or in a header.
            raise error.without(self.settings.api_key) from None


def resend_after(
    error: APIError, attempt: int, waited: float, jitter: Callable[[], float] = random.random
) -> float | None:
    """Return the seconds until a create request may be sent again, or None.

    None means that it may not be sent again at all, or that the scheduler's retry has to do it.

    :param attempt: how often it was sent, from 1.
    :param waited: seconds of the pauses so far.
    :param jitter: returns numbers in [0, 1).
    """
    if not error.resendable:
        return None
    # Up to a tenth more, so that tasks that met the same limit do not all return at the same time.
    pause = backoff(attempt, LONGEST_RESEND_PAUSE, minimum=error.retry_after) * (1 + jitter() / 10)
    return pause if waited + pause <= RESEND_LIMIT else None
