"""A sandbox inside this process: the server runs in a thread, on a port of its own.

with Sandbox() as sandbox:
    requests.get(f"{sandbox.url}/v1/models", headers={"Authorization": "Bearer any"})
    assert sandbox.requests[-1].status == 200

With a state file a sandbox may end in any way and be started again, in this process or another:
all that it ever accepted is still there. With a seed it lets things go wrong by a plan: see
:mod:`airflow_provider_quickrouter.sandbox.chaos`.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from airflow_provider_quickrouter.sandbox.app import App
from airflow_provider_quickrouter.sandbox.bodies import ledger_entry
from airflow_provider_quickrouter.sandbox.faults import NONE, Faults
from airflow_provider_quickrouter.sandbox.gateway import Gateway, Settings
from airflow_provider_quickrouter.sandbox.journal import Entry
from airflow_provider_quickrouter.sandbox.schedule import ScheduledFaults

START_TIMEOUT = 10.0


class Sandbox:
    """A local gateway, as a context manager; several may run at once.

    :param api_key: the only good key; any key is good without it.
    :param starting: seconds that a prediction is ``starting``.
    :param processing: seconds that it is ``processing``.
    :param faults: what goes wrong all the time.
    :param host: the address to listen on.
    :param port: the port to listen on; 0 takes a free one.
    :param chaos: the seed of a plan by which a few requests and predictions go wrong; what is set
        for a request or prediction in any other way goes before it.
    :param state: the file that keeps predictions, cancels and counts, also when the process is
        killed; one sandbox at a time.
    :param creates_per_minute: how many creates are let through; ``None`` sets no limit.
    :param calls_per_minute: how many other calls to the API are let through, likewise.
    :raises ValueError: when a limit is not more than 0.
    :raises OSError: when the port is taken (upon entering).
    :raises StateError: when the state file cannot be used (upon entering).
    """

    def __init__(  # noqa: PLR0913  # each is given by its name, and nearly always only a few
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
    ) -> None:
        limits = (creates_per_minute, calls_per_minute)
        self._gateway = Gateway(Settings(api_key, starting, processing, faults, chaos, state, *limits))
        self._address = (host, port)
        self.port = port

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{self._address[0]}:{self.port}"

    @property
    def requests(self) -> list[Entry]:
        """The requests to the API, oldest first."""
        return list(self._gateway.journal.entries)

    @property
    def creates(self) -> int:
        """How many predictions were accepted since the first start or the last :meth:`clear`."""
        return self._gateway.journal.creates

    @property
    def counts(self) -> dict[str, Any]:
        """What ``GET /sandbox/counts`` shows, since the last :meth:`clear`.

        These are ``starts``, ``creates``, ``requests`` by their kinds and ``peak_per_minute``.
        """
        return self._gateway.counted()

    @property
    def peak_per_minute(self) -> int:
        """The most requests to the API other than creates that came within any 60 seconds.

        The refused and the dropped ones are counted too.
        """
        return self._gateway.journal.peak_per_minute

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """All predictions as they are now, oldest first, as the API answers them.

        They have their input for ever; ``canceled`` and ``cancels`` say what came to cancel them.
        """
        now, records = time.time(), self._gateway.predictions.all()
        return [ledger_entry(record, now, self.url) for record in records]

    @property
    def cancel_requests(self) -> list[dict[str, Any]]:
        """The requests to cancel that arrived, oldest first: ``id``, and ``at`` (epoch seconds).

        The refused and the dropped ones are among them.
        """
        return list(self._gateway.cancel_requests)

    def set_faults(
        self,
        faults: Faults | None,
        times: int | None = None,
        method: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Schedule faults behind the ones that are scheduled; ``None`` forgets all of these.

        They hold for ``times`` requests of ``method`` (``"GET"``, ``"POST"``; ``None``: both), for
        ``seconds`` from now on; with neither, until other ones are set.

        :raises FaultError: when ``times`` or ``method`` cannot be.
        """
        if faults is None:
            self._gateway.schedule.clear()
            return
        until = None if seconds is None else time.time() + seconds
        self._gateway.schedule.add(ScheduledFaults(faults, times, method, until))

    def clear(self) -> None:
        """Forget predictions, requests and scheduled faults, also in the state file.

        No request may be under way.
        """
        self._gateway.clear()

    def __enter__(self) -> Self:
        listener = socket.create_server(self._address)
        try:
            self._gateway.start()
        except Exception:
            listener.close()  # a state file that cannot be used must not keep the port
            raise
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            App(self._gateway),
            access_log=False,
            date_header=False,  # the app sends one, which a fault may shift
            lifespan="off",
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,  # a held request must not hold the end
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            # A daemon: a test that dies before the end of its `with` must not hang its process.
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
