"""The key from a secrets backend or from the environment; a backend with trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import DAG
from airflow.sdk.configuration import clear_secrets_backends_cache
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_quickrouter.api import errors
from airflow_provider_quickrouter.hooks.quickrouter import QuickRouterHook
from airflow_provider_quickrouter.operators.prediction import QuickRouterSubmitPredictionOperator
from airflow_provider_quickrouter.polling import poller as poller_module
from airflow_provider_quickrouter.polling.poll import PATIENCE
from airflow_provider_quickrouter.sandbox.server import Sandbox
from airflow_provider_quickrouter.triggers.prediction import QuickRouterPredictionTrigger
from dev.waiting import wait_until
from tests.conftest import KEY
from tests.connections.company import CompanyStore
from tests.connections.senders import MODEL, Send, both_gets
from tests.connections.servers import port_of
from tests.faults.dags import in_dag
from tests.faults.running import failure_of, is_retried
from tests.faults.test_values import with_connection
from tests.tasks import Clock, Store, TaskInstance, context_of, event_of

ODD = "qr-a+b/c%41d=e@f:g#h?i&j;k'l\"m\\n~{o}"
"""A key with all that a URI or JSON writes in another way."""

CONN_ID = "quickrouter_default"
LOCAL_FILES = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
COMPANYS = "tests.connections.company.CompanyBackend"

Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Configure a secrets backend; no connection is in the environment then."""

    def configure(backend: str, section: str = "secrets", **arguments: object) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT", raising=False)
        prefix = "" if section == "secrets" else "SECRETS_"
        name = f"AIRFLOW__{section.upper()}__{prefix}BACKEND"
        monkeypatch.setenv(name, backend)
        monkeypatch.setenv(f"{name}_KWARGS", json.dumps(arguments))
        clear_secrets_backends_cache()

    yield configure
    clear_secrets_backends_cache()


@pytest.fixture
def store(gateway: Sandbox, use: Use) -> Iterator[CompanyStore]:
    """The company's store, configured, which has the connection to the gateway."""
    store = CompanyStore({CONN_ID: as_json(gateway.url)})
    with store.running():
        use(COMPANYS, url=store.url)
        yield store


def as_json(url: str, key: str = KEY) -> str:
    return json.dumps({"conn_type": "quickrouter", "password": key, "host": url})


def as_uri(url: str, key: str = KEY) -> str:
    return f"quickrouter://:{quote(key, safe='')}@{quote(url, safe='')}"


@pytest.fixture
def odd_gateway() -> Iterator[Sandbox]:
    """A gateway with an odd key."""
    with Sandbox(api_key=ODD) as sandbox:
        yield sandbox


@pytest.mark.parametrize("form", [as_json, as_uri], ids=["JSON", "URI"])
def test_an_odd_key_of_the_environment_arrives_as_it_is(
    odd_gateway: Sandbox, monkeypatch: pytest.MonkeyPatch, create: Send, form: Callable[[str, str], str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT", form(odd_gateway.url, ODD))
    assert create().id
    assert odd_gateway.creates == 1


@pytest.mark.parametrize("section", ["secrets", "workers"])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("c.json", lambda url: json.dumps({CONN_ID: json.loads(as_json(url, ODD))})),
        ("c.json", lambda url: json.dumps({CONN_ID: as_uri(url, ODD)})),
        ("c.yaml", lambda url: f"{CONN_ID}: {json.dumps(json.loads(as_json(url, ODD)))}\n"),
        ("c.env", lambda url: f"{CONN_ID}={as_uri(url, ODD)}\n"),
    ],
    ids=["JSON", "URI in JSON", "YAML", "env"],
)
def test_a_key_from_a_file_of_airflows_own_backend_arrives_as_it_is(
    odd_gateway: Sandbox,
    use: Use,
    tmp_path: Path,
    create: Send,
    section: str,
    name: str,
    form: Callable[[str], str],
) -> None:
    file = tmp_path / name
    file.write_text(form(odd_gateway.url))
    use(LOCAL_FILES, section, connections_file_path=str(file))
    assert create().id
    assert odd_gateway.creates == 1


@pytest.mark.parametrize("form", [as_json, as_uri], ids=["JSON", "URI"])
def test_a_key_from_a_companys_own_backend_arrives_as_it_is(
    odd_gateway: Sandbox, store: CompanyStore, create: Send, form: Callable[[str, str], str]
) -> None:
    store.values[CONN_ID] = form(odd_gateway.url, ODD)
    assert create().id
    assert (odd_gateway.creates, store.asked) == (1, [CONN_ID])


@pytest.mark.parametrize("trouble", ["down", "gone", "slow", "empty", "garbage"])
def test_a_backend_with_trouble_is_an_error_that_names_the_connection_and_passes(
    gateway: Sandbox,
    store: CompanyStore,
    use: Use,
    caplog: pytest.LogCaptureFixture,
    create: Send,
    trouble: str,
) -> None:
    good = store.values[CONN_ID]
    if trouble == "gone":
        use(COMPANYS, url="http://127.0.0.1:1")
    elif trouble == "slow":
        store.pause = 2.0
        use(COMPANYS, url=store.url, timeout=0.1)
    else:
        store.down = trouble == "down"
        garbled = {"empty": "", "garbage": good[:-1]}
        store.values[CONN_ID] = garbled.get(trouble, good)
    with pytest.raises(errors.UpstreamError) as caught:
        create()
    said = str(caught.value)
    assert "'quickrouter_default'" in said
    assert "secrets backend" in said
    assert "Nothing was sent." in said
    assert caught.value.transient
    assert KEY not in said + caplog.text
    assert gateway.requests == []

    store.pause, store.down, store.values[CONN_ID] = 0.0, False, good
    use(COMPANYS, url=store.url)
    assert create().id


@both_gets
def test_without_a_backend_a_missing_connection_is_a_permanent_error(
    monkeypatch: pytest.MonkeyPatch, get: Send
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT", raising=False)
    with pytest.raises(errors.InvalidConnectionError, match="'quickrouter_default' was not found") as caught:
        get()
    assert not caught.value.transient
    assert "secrets backend" not in str(caught.value)


@both_gets
@pytest.mark.parametrize("section", ["secrets", "workers"])
def test_with_a_backend_a_missing_connection_is_a_transient_error(
    use: Use, get: Send, section: str, tmp_path: Path
) -> None:
    (tmp_path / "c.json").write_text("{}")
    use(LOCAL_FILES, section, connections_file_path=str(tmp_path / "c.json"))
    with pytest.raises(errors.UpstreamError, match="'quickrouter_default' was not found") as caught:
        get()
    assert caught.value.transient
    assert "If it is in the secrets backend, that did not return it." in str(caught.value)


def test_a_connection_without_a_key_is_an_error_for_good(
    gateway: Sandbox, store: CompanyStore, create: Send
) -> None:
    store.values[CONN_ID] = as_json(gateway.url, "")
    with pytest.raises(errors.InvalidConnectionError, match=r"password: is empty; put the API key"):
        create()
    assert gateway.requests == []


def test_the_test_of_a_connection_that_cannot_be_read_says_so(store: CompanyStore) -> None:
    store.down = True
    good, text = QuickRouterHook().test_connection()
    assert not good
    assert "'quickrouter_default' was not found" in text


def submit() -> QuickRouterSubmitPredictionOperator:
    with DAG("test"):
        return QuickRouterSubmitPredictionOperator(task_id="run", input={"prompt": "x"}, model=MODEL)


def test_a_submit_that_met_a_backend_with_trouble_leaves_no_doubt_to_its_retry(
    gateway: Sandbox, store: CompanyStore
) -> None:
    first = TaskInstance(Store(), 1, 1)
    store.down = True
    with pytest.raises(AirflowException) as caught:
        submit().execute(context_of(submit(), first))
    assert not isinstance(caught.value, AirflowFailException)
    assert gateway.requests == []
    store.down = False
    again = submit()
    assert again.execute(context_of(again, first.again())) == gateway.predictions[0]["id"]
    assert gateway.creates == 1


@pytest.mark.parametrize("backend", [None, LOCAL_FILES], ids=["no backend", "a backend"])
@pytest.mark.parametrize(
    "kind", ["run", "deferred run", "submit", "batch", "sensor", "deferred sensor", "store"]
)
def test_a_task_without_its_connection_is_retried_only_where_a_backend_may_have_been_down(
    kind: str, backend: str | None, use: Use, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Clock(monkeypatch)
    monkeypatch.delenv("AIRFLOW_CONN_QUICKROUTER_DEFAULT", raising=False)
    if backend:
        (tmp_path / "c.json").write_text("{}")
        use(backend, connections_file_path=str(tmp_path / "c.json"))
    task = in_dag(lambda: with_connection(kind, CONN_ID, "p0000000000000000000000000", tmp_path))
    failure = failure_of(task)
    assert is_retried(failure) is bool(backend)
    assert "was not found. Add it under Admin > Connections" in str(failure)


def test_a_slow_backend_does_not_hold_up_the_event_loop(gateway: Sandbox, store: CompanyStore) -> None:
    store.pause = 1.0

    async def load() -> int:
        loading = asyncio.create_task(QuickRouterHook().aload())
        turns = 0
        while not loading.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await loading).api_key == KEY
        return turns

    assert asyncio.run(load()) > 10
    assert store.asked == [CONN_ID]


def trigger(prediction_id: str) -> QuickRouterPredictionTrigger:
    return QuickRouterPredictionTrigger(prediction_id=prediction_id, poll_interval=1.0)


def created() -> str:
    return QuickRouterHook().create_prediction({"prompt": "x"}, model=MODEL).id


async def both_ends(
    first: QuickRouterPredictionTrigger, second: QuickRouterPredictionTrigger, store: CompanyStore
) -> list[Any]:
    """Run two triggers in one event loop; the store is down from the second one's start on."""

    async def end(waiting: QuickRouterPredictionTrigger) -> Any:
        return [event.payload async for event in waiting.run()].pop()

    def asks() -> bool:
        return bool(first._poller)

    early = asyncio.create_task(end(first))
    await asyncio.to_thread(wait_until, asks, 5, lambda: "the first does not begin", 0.01)
    store.down = True
    return [await end(second), await early]


def test_waits_go_on_with_what_they_know_while_the_backend_is_down(
    gateway: Sandbox, store: CompanyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "FRESH", 0.0)
    first, second = created(), created()

    running, asked = trigger(first), len(store.asked)

    with ThreadPoolExecutor() as pool:
        loop = pool.submit(asyncio.run, both_ends(running, trigger(second), store))
        ended = loop.result(20)
    assert [payload["reason"] for payload in ended] == ["succeeded"] * 2
    assert len(store.asked) == asked + 2


def test_a_wait_that_cannot_begin_ends_in_an_error_after_which_a_retry_helps(
    store: CompanyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, prediction_id = Clock(monkeypatch), created()
    store.down = True
    payload = event_of(trigger(prediction_id))
    assert sum(clock.pauses) >= PATIENCE
    assert payload["error"]["type"] == "UpstreamError"
    assert "'quickrouter_default' was not found" in payload["error"]["message"]


def test_a_key_that_is_replaced_between_submit_and_wait_is_read_anew(
    store: CompanyStore, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with Sandbox(api_key="qr-the-first-key", state=state) as before:
        store.values[CONN_ID] = as_json(before.url, "qr-the-first-key")
        prediction_id = created()
    with Sandbox(api_key="qr-the-second-key", state=state) as after:
        store.values[CONN_ID] = as_uri(after.url, "qr-the-second-key")
        assert event_of(trigger(prediction_id))["reason"] == "succeeded"


def test_a_key_that_is_replaced_during_a_wait_is_read_anew(store: CompanyStore, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ThreadPoolExecutor() as pool:
        with Sandbox(api_key="qr-the-first-key", state=state, processing=0.5) as before:
            store.values[CONN_ID] = as_json(before.url, "qr-the-first-key")
            waiting = pool.submit(event_of, trigger(created()))
            wait_until(lambda: before.requests[1:], 5, lambda: "no question came", 0.01)
        store.values[CONN_ID] = as_json(before.url, "qr-the-second-key")
        with Sandbox(api_key="qr-the-second-key", state=state, port=port_of(before.url)):
            assert waiting.result(20)["reason"] == "succeeded"
