"""The models of the sandbox whose outputs are other than a list of pictures, and their files."""

from __future__ import annotations

import json
import math
import re
import struct
import wave
from io import BytesIO
from typing import Any

FILES = "{files}"  # in an output: the URL of the folder with the prediction's files

SENTENCE = "The keeper of the lighthouse climbs the stairs, lights the lamp and waits for the ships. "

OUTPUTS: dict[str, Any] = {
    "sandbox/transcript": SENTENCE * 460,  # 40 kB
    "sandbox/tokens": [f" {word}" for word in (SENTENCE.split() * 60)[:900]],
    "sandbox/stems": {"vocals": f"{FILES}/vocals.wav", "drums": f"{FILES}/drums.wav"},
    "sandbox/mesh": f"{FILES}/mesh.glb",
    "sandbox/filtered": [None, f"{FILES}/out-1.png"],
    "sandbox/detections": {"detections": []},
}

RATE = 8_000  # samples of a sound in a second
NOTES = {"vocals": 440.0, "drums": 110.0}  # Hz


def output_of(model: str, files: str) -> Any:
    """Return the output of a model of :data:`OUTPUTS`; ``files`` is the URL of its folder."""
    return json.loads(json.dumps(OUTPUTS[model]).replace(FILES, files))


def file_names(model: str) -> list[str]:
    """Return the names of the files in the output of a model of :data:`OUTPUTS`."""
    return re.findall(rf"{FILES}/([\w.-]+)", json.dumps(OUTPUTS[model]))


def render_other(name: str) -> tuple[bytes, str]:
    """Return the bytes and the content type of a file that is not a picture."""
    stem, _, ext = name.partition(".")
    return (_sound(NOTES[stem]), "audio/wav") if ext == "wav" else (_mesh(), "model/gltf-binary")


def _sound(hertz: float) -> bytes:
    """Return half a second of a tone as WAV."""
    samples = (int(8_000 * math.sin(math.tau * hertz * n / RATE)) for n in range(RATE // 2))
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return file.getvalue()


def _mesh() -> bytes:
    """Return a triangle as binary glTF: a chunk of JSON, and one with the corners."""
    corners = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    scene = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,
                "count": 3,
                "type": "VEC3",
                "min": [0, 0, 0],
                "max": [1, 1, 0],
            }
        ],
        "bufferViews": [{"buffer": 0, "byteLength": len(corners)}],
        "buffers": [{"byteLength": len(corners)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(corners), b"BIN\0") + corners
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
