"""Runs inside an environment of the matrix: read a stored picture as the gallery does.

Takes the folder where a run has stored it. Prints a line of JSON.
"""

import hashlib
import json
import sys
from pathlib import Path

from airflow_provider_quickrouter.plugins import stored


def main() -> None:
    """Read the picture, and print the result."""
    picture = next(Path(sys.argv[1]).rglob("*.png"))
    data = picture.read_bytes()
    entry = {
        "path": f"file://{picture}",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_type": "image/png",
        "width": None,
        "height": None,
    }
    try:
        wrong = "" if stored.read(stored.recorded([entry], 0))[0] == data else "another picture"
    except stored.NoSuchFile:
        wrong = f"the gallery cannot read {picture.name}"
    print(json.dumps({"wrong": wrong, "detail": ""}))


main()
