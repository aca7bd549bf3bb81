"""How the README becomes the page on PyPI, where a path leads nowhere: Hatch runs this.

Each path becomes the address of that file at the version's tag.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?<=\]\()(?!https?:|#)(?=[^)]+\))")
PICTURE = re.compile(r'(?<=src=")(?!https?:)')
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)


def with_addresses(text: str, repository: str, version: str) -> str:
    """Put the address of the repository, at the version's tag, in front of each path."""
    text = LINK.sub(f"{repository}/blob/v{version}/", text)
    return PICTURE.sub(f"{repository}/raw/v{version}/", text)


class ReadmeHook(MetadataHookInterface):
    """Gives the wheel its description; ``project.urls`` names the repository as ``Source``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``readme`` to the metadata of the project."""
        root = Path(self.root)
        package = str(metadata["name"]).replace("-", "_")
        found = VERSION.search((root / package / "__init__.py").read_text())
        if found is None:
            raise ValueError(f"{package}/__init__.py names no __version__")
        text = (root / "README.md").read_text()
        text = with_addresses(text, metadata["urls"]["Source"], found[1])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
