"""``make live``: one cheap prediction on the real gateway, and what it really returns.

Needs a key. Prints status codes, names of headers, keys and states of each response,
so that what is only inferred about the API can be settled. Values and the key are not printed.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator

import requests

from airflow_provider_quickrouter.api import protocol
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from airflow_provider_quickrouter.api.prediction import Prediction, PredictionStatus
from airflow_provider_quickrouter.api.protocol import Request, Response
from airflow_provider_quickrouter.hooks.connection import (
    DEFAULT_BASE_URL,
    DEFAULT_PATH_PREFIX,
    Settings,
)
from airflow_provider_quickrouter.hooks.quickrouter import USER_AGENT
from airflow_provider_quickrouter.hooks.transport import BearerAuth, send
from dev.gateway import KEY_VARIABLE

CHEAP = {"prompt": "a lighthouse", "num_inference_steps": 10, "width": 512, "height": 512}
UNKNOWN_ID = "0" * 26
PATIENCE = 600.0
LIST = Request("GET", "predictions")
USAGE = Request("GET", "api/usage/token/", prefixed=False)


class Gateway:
    """The gateway at one address, whose responses are printed."""

    def __init__(self, base_url: str, path_prefix: str, api_key: str) -> None:
        self.settings = Settings(base_url=base_url, path_prefix=path_prefix, api_key=api_key)
        self.session = requests.Session()
        self.session.auth = BearerAuth(api_key)
        self.session.headers["User-Agent"] = USER_AGENT

    def send(self, request: Request, what: str) -> Response:
        """Send a request and print the shape of the response."""
        response = send(self.session, self.settings, request)
        print(f"\n{what}: {request.method} {self.settings.url(request)}")
        print("\n".join(f"    {line}" for line in shape(response)), flush=True)
        return response


def shape(response: Response) -> Iterator[str]:
    """Yield what a response is made of, without its values."""
    yield f"status   {response.status}"
    yield f"headers  {', '.join(sorted(response.headers))}"
    try:
        body = json.loads(response.body)
    except ValueError:
        yield f"body     no JSON: {response.body[:80]!r}"
        return
    if not isinstance(body, dict):
        yield f"body     {type(body).__name__}"
        return
    for key, value in body.items():
        keys = f" of {', '.join(map(str, value))}" if isinstance(value, dict) else ""
        yield f"{key:16} {type(value).__name__}{keys}"


def wait(gateway: Gateway, prediction_id: str) -> Prediction:
    """Poll every second until the prediction ends; print each new state."""
    seen, deadline = "", time.monotonic() + PATIENCE
    request = protocol.get(prediction_id)
    while time.monotonic() < deadline:
        response = send(gateway.session, gateway.settings, request)
        prediction = protocol.read_prediction(request, response, time.time())
        if prediction.raw_status != seen:
            seen = prediction.raw_status
            gateway.send(request, f"state {seen!r}, read as {prediction.status_word!r}")
        if prediction.status.terminal:
            return prediction
        time.sleep(1)
    raise TimeoutError(f"prediction {prediction_id} did not end within {PATIENCE:g} s")


def look(gateway: Gateway) -> bool:
    """Send each kind of request once; return whether the picture was created."""
    gateway.send(protocol.probe(), "free call with a good key")
    gateway.send(USAGE, "usage of the key")
    gateway.send(LIST, "list of predictions (may not exist)")
    gateway.send(protocol.get(UNKNOWN_ID), "unknown id")
    create = protocol.create(CHEAP, version=STABLE_DIFFUSION, cancel_after=300)
    response = gateway.send(create, "create (this one costs money)")
    made = wait(gateway, protocol.read_prediction(create, response, time.time()).id)
    gateway.send(protocol.cancel(made.id), "cancel of a prediction that is over (may not exist)")
    stranger = Gateway(gateway.settings.base_url, gateway.settings.path_prefix, "not-a-good-key")
    stranger.send(protocol.probe(), "free call with a bad key")
    print(f"\nprediction {made.id}: {made.status_word}, {len(made.items)} item(s) {made.error}")
    return made.status is PredictionStatus.SUCCEEDED


def main() -> int:
    """Read the command line; return 0 if the picture was made."""
    parser = argparse.ArgumentParser(prog="make live", description=__doc__)
    parser.add_argument("--base-url", default=DEFAULT_BASE_URL)
    parser.add_argument("--path-prefix", default=DEFAULT_PATH_PREFIX)
    options = parser.parse_args()
    gateway = Gateway(options.base_url, options.path_prefix, os.environ[KEY_VARIABLE])
    return 0 if look(gateway) else 1


if __name__ == "__main__":
    raise SystemExit(main())
