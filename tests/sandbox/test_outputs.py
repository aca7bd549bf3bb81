"""The sandbox's models whose outputs are other than pictures."""

from __future__ import annotations

import io
import json
import struct
import wave
from typing import Any

import pytest

from airflow_provider_quickrouter.sandbox.outputs import OUTPUTS

from .client import Client


def output_of(client: Client, model: str) -> Any:
    body = {"input": {"sandbox": {"starting": 0, "processing": 0}}}
    created = client.send("POST", f"/replicate/v1/models/{model}/predictions", body)
    return client.wait(created.json()["id"])["output"]


def urls_in(output: Any) -> list[str]:
    return [text for text in json.dumps(output).split('"') if text.startswith("http")]


@pytest.mark.parametrize("model", OUTPUTS)
def test_every_file_of_an_output_is_served(client: Client, model: str) -> None:
    output = output_of(client, model)
    assert "{files}" not in json.dumps(output)
    for url in urls_in(output):
        file = client.session.get(url, timeout=10)
        assert (file.status_code, bool(file.content)) == (200, True)
        assert client.session.get(f"{url}x", timeout=10).status_code == 404


def test_texts_are_as_long_as_those_of_real_models(client: Client) -> None:
    assert 40_000 < len(output_of(client, "sandbox/transcript")) < 42_000
    assert len(output_of(client, "sandbox/tokens")) == 900


def test_a_sound_can_be_played(client: Client) -> None:
    sounds = [client.session.get(url, timeout=10) for url in output_of(client, "sandbox/stems").values()]
    assert {sound.headers["content-type"] for sound in sounds} == {"audio/wav"}
    assert len({sound.content for sound in sounds}) == 2
    with wave.open(io.BytesIO(sounds[0].content)) as sound:
        assert sound.getnframes() / sound.getframerate() == 0.5


def test_a_mesh_is_binary_gltf(client: Client) -> None:
    data = client.session.get(output_of(client, "sandbox/mesh"), timeout=10).content
    magic, version, length = struct.unpack_from("<4sII", data)
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    assert json.loads(data[20 : 20 + size])["meshes"]


def test_a_picture_behind_a_filtered_one_is_a_picture(client: Client) -> None:
    none, url = output_of(client, "sandbox/filtered")
    assert none is None
    assert client.session.get(url, timeout=10).headers["content-type"] == "image/png"
