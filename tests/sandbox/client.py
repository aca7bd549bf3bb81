"""A client as small as can be: what the sandbox's tests speak to it with, over real HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import requests

from airflow_provider_quickrouter.sandbox.server import Sandbox

STABLE_DIFFUSION = (
    "stability-ai/stable-diffusion:ac732df83cea7fff18b8472768c88ad041fa750ff7682a21affe81863cbe77e4"
)
FLUX = "black-forest-labs/flux-kontext-pro"
PROMPT = "an astronaut riding a horse on mars, hd, dramatic lighting"
KEY = {"Authorization": "Bearer any-key"}


class Client:
    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        self.sandbox, self.session = sandbox, session

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str | None] | None = None,
        faults: dict[str, Any] | None = None,
        timeout: float = 10,
    ) -> requests.Response:
        extra = {} if faults is None else {"X-Sandbox-Faults": json.dumps(faults)}
        return self.session.request(
            method,
            self.sandbox.url + path,
            json=body,
            headers={**KEY, **extra, **(headers or {})},
            timeout=timeout,
            allow_redirects=False,
        )

    def create(
        self,
        given: dict[str, Any] | None = None,
        faults: dict[str, Any] | None = None,
        headers: dict[str, str | None] | None = None,
        timeout: float = 10,
    ) -> requests.Response:
        body = {"version": STABLE_DIFFUSION, "input": {"prompt": PROMPT, **(given or {})}}
        return self.send("POST", "/replicate/v1/predictions", body, headers, faults, timeout)

    def create_id(self, **own_faults: Any) -> str:
        answer = self.create({"sandbox": own_faults} if own_faults else {})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def get(self, prediction_id: str, faults: dict[str, Any] | None = None) -> requests.Response:
        return self.send("GET", f"/replicate/v1/predictions/{prediction_id}", faults=faults)

    def wait(self, prediction_id: str, seconds: float = 5) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body: dict[str, Any] = self.get(prediction_id).json()
            if body["completed_at"] is not None:
                return body
            time.sleep(0.01)
        raise AssertionError(f"{prediction_id} is not over after {seconds} s: {body}")
