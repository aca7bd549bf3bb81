"""Replicate's own public client works with the sandbox: it is the judge of the API's shape."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.pagination import paginate

from airflow_provider_quickrouter.sandbox.server import Sandbox

from .client import FLUX, PROMPT, STABLE_DIFFUSION

DIGEST = STABLE_DIFFUSION.rpartition(":")[2]


@pytest.fixture
def replicate_client(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.01")
    client = Client(api_token="any-key", base_url=sandbox.url)
    yield client
    client._client.close()


def test_it_creates_by_version_and_waits(replicate_client: Client) -> None:
    prediction = replicate_client.predictions.create(version=DIGEST, input={"prompt": PROMPT})
    assert prediction.status == "starting"
    prediction.wait()
    assert prediction.completed_at is not None
    assert prediction.version == DIGEST
    assert prediction.output is not None
    assert httpx.get(prediction.output[0]).content.startswith(b"\x89PNG")


def test_it_creates_by_model_and_waits(replicate_client: Client) -> None:
    prediction = replicate_client.models.predictions.create(FLUX, input={"prompt": PROMPT})
    prediction.wait()
    assert prediction.model == FLUX
    assert isinstance(prediction.output, str)


def test_it_creates_by_deployment_and_waits(replicate_client: Client, sandbox: Sandbox) -> None:
    prediction = replicate_client.deployments.predictions.create("acme/shop", input={"prompt": PROMPT})
    prediction.wait()
    assert isinstance(prediction.output, list)
    assert sandbox.predictions[0]["deployment"] == "acme/shop"


def test_it_runs_a_model(replicate_client: Client) -> None:
    output = replicate_client.run(FLUX, input={"prompt": PROMPT})
    assert httpx.get(str(output)).content.startswith(b"\x89PNG")


def test_it_raises_for_a_prediction_that_failed(replicate_client: Client) -> None:
    given = {"prompt": PROMPT, "sandbox": {"fail": "NSFW content detected"}}
    with pytest.raises(ModelError, match="NSFW content detected"):
        replicate_client.run(FLUX, input=given)


def test_it_lists_and_pages(replicate_client: Client) -> None:
    created = [
        replicate_client.predictions.create(version=DIGEST, input={"prompt": str(n)}).id for n in range(101)
    ]
    pages = list(paginate(replicate_client.predictions.list))
    assert [len(page) for page in pages] == [100, 1]
    assert [prediction.id for page in pages for prediction in page] == created[::-1]


def test_it_cancels(replicate_client: Client) -> None:
    given = {"prompt": PROMPT, "sandbox": {"never": True}}
    prediction = replicate_client.predictions.create(version=DIGEST, input=given)
    prediction.cancel()
    assert prediction.status == "canceled"
    prediction.reload()
    assert prediction.status == "canceled"


def test_it_raises_its_own_error_for_an_unknown_id(replicate_client: Client) -> None:
    with pytest.raises(ReplicateError) as caught:
        replicate_client.predictions.get("unknown")
    assert caught.value.status == 404


def test_it_raises_its_own_error_for_a_wrong_input(replicate_client: Client) -> None:
    with pytest.raises(ReplicateError, match=r"input\.width") as caught:
        replicate_client.models.predictions.create("stability-ai/stable-diffusion", input={"width": 100})
    assert caught.value.status == 422


def test_it_raises_its_own_error_for_a_wrong_key() -> None:
    with Sandbox(api_key="right") as sandbox:
        client = Client(api_token="wrong", base_url=sandbox.url)
        with pytest.raises(ReplicateError) as caught:
            client.predictions.get("any")
        client._client.close()
    assert caught.value.status == 401
