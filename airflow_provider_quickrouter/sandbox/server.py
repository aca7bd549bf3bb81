"""A sandbox in this process: the server runs in a thread, on its own port.

with Sandbox() as sandbox:
    requests.get(f"{sandbox.url}/v1/models", headers={"Authorization": "Bearer any"})
    assert sandbox.requests[-1].status == 200

With a state file, a sandbox has all accepted predictions again after a restart, in this process or
another, also after a kill. With a seed it simulates faults by a plan: see
:mod:`airflow_provider_quickrouter.sandbox.chaos`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from airflow_provider_quickrouter.sandbox.app import App
from airflow_provider_quickrouter.sandbox.bodies import ledger_entry, parse_prices
from airflow_provider_quickrouter.sandbox.faults import NONE, Faults
from airflow_provider_quickrouter.sandbox.gateway import Gateway, Settings
from airflow_provider_quickrouter.sandbox.journal import Entry
from airflow_provider_quickrouter.sandbox.schedule import ScheduledFaults

START_TIMEOUT = 10.0


class Sandbox:
    """A local gateway, as a context manager; several may run at the same time.

    :param api_key: the only valid key; without it any key is valid.
    :param starting: seconds that a prediction is ``starting``.
    :param processing: seconds that it is ``processing``.
    :param faults: the faults of all requests.
    :param host: the address to listen on.
    :param port: the port to listen on; 0 chooses a free one.
    :param chaos: the seed of a plan of faults for a few requests and predictions; faults that are
        set in another way take precedence.
    :param state: the file for predictions, cancels and counts, which survives a kill of the
        process; one sandbox at a time.
    :param creates_per_minute: the maximum rate of create requests; ``None`` means no limit.
    :param calls_per_minute: the maximum rate of other requests to the API; ``None`` means no limit.
    :param prices: of models and deployments, in the form of the connection's extra ``prices``.
    :raises ValueError: a limit is not more than 0, or prices have another form.
    :raises OSError: the port is in use (when entering).
    :raises StateError: the state file cannot be used (when entering).
    """

    def __init__(  # noqa: PLR0913  # keyword arguments, of which tests set a few
        self,
        *,
        api_key: str | None = None,
        starting: float = 0.0,
        processing: float = 0.2,
        faults: Faults = NONE,
        host: str = "127.0.0.1",
        port: int = 0,
        chaos: int | None = None,
        state: Path | None = None,
        creates_per_minute: float | None = None,
        calls_per_minute: float | None = None,
        prices: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        limits = (creates_per_minute, calls_per_minute, parse_prices(prices or {}))
        self._gateway = Gateway(Settings(api_key, starting, processing, faults, chaos, state, *limits))
        self._address = (host, port)
        self.port = port

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self._address[0]}:{self.port}"

    @property
    def requests(self) -> list[Entry]:
        """The requests to the API, oldest first."""
        return list(self._gateway.journal.entries)

    @property
    def creates(self) -> int:
        """The number of predictions accepted since the first start or the last :meth:`clear`."""
        return self._gateway.journal.creates

    @property
    def counts(self) -> dict[str, Any]:
        """The counts of ``GET /sandbox/counts``, since the last :meth:`clear`.

        These are ``starts``, ``creates``, ``requests`` by their kinds, ``peak_per_minute``, and ``cost``:
        the sum over all predictions, by the sandbox's prices.
        """
        return self._gateway.counted()

    @property
    def peak_per_minute(self) -> int:
        """The maximum of requests to the API, without creates, within any 60 seconds.

        Refused and dropped requests are included.
        """
        return self._gateway.journal.peak_per_minute

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """All predictions in their current state, oldest first, as the API returns them.

        They always have their input. ``canceled`` is whether a cancel took effect, ``cancels`` the number
        of executed cancel requests, ``cost`` what it has cost by the sandbox's prices.
        """
        now, prices = time.time(), self._gateway.settings.prices
        return [ledger_entry(each, now, self.url, prices) for each in self._gateway.predictions.all()]

    @property
    def cancel_requests(self) -> list[dict[str, Any]]:
        """The received cancel requests, oldest first: ``id``, and ``at`` (epoch seconds).

        Refused and dropped requests are included.
        """
        return list(self._gateway.cancel_requests)

    def set_faults(
        self,
        faults: Faults | None,
        times: int | None = None,
        method: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Schedule faults after those already scheduled; ``None`` removes all scheduled faults.

        They apply to ``times`` requests of ``method`` (``"GET"``, ``"POST"``; ``None``: both), for
        ``seconds`` from now; without both, until other faults are set.

        :raises FaultError: ``times`` or ``method`` is invalid.
        """
        if faults is None:
            self._gateway.schedule.clear()
            return
        until = None if seconds is None else time.time() + seconds
        self._gateway.schedule.add(ScheduledFaults(faults, times, method, until))

    def clear(self) -> None:
        """Delete predictions, requests and scheduled faults, also in the state file.

        No request may be running.
        """
        self._gateway.clear()

    def __enter__(self) -> Self:
        listener = socket.create_server(self._address)
        try:
            self._gateway.start()
        except Exception:
            listener.close()  # free the port
            raise
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            App(self._gateway),
            access_log=False,
            date_header=False,  # the app sends one, which a fault may change
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,  # a delayed response must not delay the shutdown
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            # A daemon, so that a test that ends within its `with` does not block its process.
            target=self._server.run,
            args=([listener],),
            name="quickrouter-sandbox",
            daemon=True,
        )
        self._thread.start()
        give_up = time.monotonic() + START_TIMEOUT
        while not self._server.started:
            if time.monotonic() > give_up:
                raise RuntimeError(f"the sandbox did not start within {START_TIMEOUT:g} s")
            time.sleep(0.001)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._gateway.stop()
