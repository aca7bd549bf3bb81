"""Checking a command of the docs as far as that is cheap: it exists, and takes these options."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from airflow.sdk import Connection
from packaging.requirements import Requirement

from airflow_provider_quickrouter.hooks.connection import Settings
from airflow_provider_quickrouter.sandbox.__main__ import _parser
from airflow_provider_quickrouter.sandbox.faults import parse_fault_options
from tests.docs.blocks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENDS = "&|;\n"
"""What ends a simple command."""

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands_of(script: str) -> Iterator[list[str]]:
    """The simple commands of a script, each as its words."""
    plain = re.sub(r"(?m)^\s*#.*$|\\\n", "", script)
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=ENDS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set(ENDS):
            words.append(word)
        elif words:
            yield words
            words = []


def check(words: list[str]) -> None:
    """Raise if there is no such command, or if it does not take such arguments."""
    while words and (assigned := re.fullmatch(r"(\w+)=(.*)", words[0])):
        assignment(*assigned.groups())
        words = words[1:]
    if words:
        CHECKS[Path(words[0]).name](words[1:])


def assignment(name: str, value: str) -> None:
    if name.startswith("AIRFLOW_CONN_"):
        connection(value)


def connection(value: str) -> Settings:
    """Read a connection as Airflow does, and as the hook does."""
    as_json = value.startswith("{")
    read = Connection.from_json if as_json else Connection.from_uri
    return Settings.of(read(value, conn_id="c"))


def export(words: list[str]) -> None:
    for word in words:
        name, equals, value = word.partition("=")
        assert equals, word
        assignment(name, value)


def make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    assert set(targets) <= TARGETS, targets


def pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        wanted = Requirement(word.replace(".", PROJECT["name"], 1) if word[0] == "." else word)
        own = wanted.name == PROJECT["name"]
        known = PROJECT["optional-dependencies"] if own else extras_of(wanted.name)
        assert wanted.extras <= set(known), word


def extras_of(name: str) -> list[str]:
    """The extras of a distribution, which is installed here."""
    return importlib.metadata.metadata(name).get_all("Provides-Extra") or []


def sandbox(words: list[str]) -> None:
    parse_fault_options(_parser().parse_args(words).fault)


def python(words: list[str]) -> None:
    assert words[0] == "-m", words
    module, *arguments = words[1:]
    spec = importlib.util.find_spec(module)
    assert spec, module
    assert spec.origin
    if module.startswith("benchmarks"):
        source = spec.origin.replace("__init__", "__main__")
        options = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        assert [name for name in options if f'"{name}"' not in Path(source).read_text()] == []


def airflow(words: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(words)


def curl(words: list[str]) -> None:
    assert words[-1].startswith("http://127.0.0.1:8189/sandbox/"), words


def anything(words: list[str]) -> None:
    """Of a shell's own commands nothing is checked but the grammar."""


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "airflow": airflow,
    "apt": anything,
    "curl": curl,
    "export": export,
    "kill": anything,
    "make": make,
    "nc": anything,
    "pip": pip,
    "python": python,
    "quickrouter-sandbox": sandbox,
}
