"""The code blocks of the README and of the site, as a Markdown parser sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
PRELUDE = DOCS / "guides" / "index.md"


@dataclass(frozen=True)
class Block:
    """One block: its page, the line where it begins, its language ("" if none) and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_dag_file(self) -> bool:
        return self.language == "python" and ("\n@dag" in self.text or "\nwith DAG(" in self.text)

    @property
    def is_test_file(self) -> bool:
        return self.language == "python" and "\ndef test_" in self.text


def blocks_of(page: Path) -> Iterator[Block]:
    """All blocks of a page, the indented ones too, whose language is ""."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in ("fence", "code_block"):
            line = token.map[0] + 1 if token.map else 0
            yield Block(page, line, token.info.split(" ")[0], token.content)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def those_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def prose(page: Path) -> str:
    """The text of a page without its blocks."""
    return re.sub(r"(?ms)^ *(```+).*?^ *\1$", "", page.read_text())


def inline_code(pages: Iterable[Path] = PAGES) -> set[str]:
    """All that stands between single backticks outside of blocks."""
    return {code for page in pages for code in re.findall(r"`([^`\n]+)`", prose(page))}


def where(block: Block) -> str:
    """Name a block in a test's id."""
    return block.where
