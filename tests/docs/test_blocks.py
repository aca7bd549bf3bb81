"""Every block of the README and of the site is of a kind that some test here checks."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from airflow_provider_quickrouter.api.errors import QuickRouterError
from airflow_provider_quickrouter.api.inputs import check_input
from airflow_provider_quickrouter.api.models import STABLE_DIFFUSION
from tests.docs import commands
from tests.docs.blocks import BLOCKS, Block, inline_code, those_in, where

CHECKED = ("bash", "console", "ini", "json", "output", "python", "text", "yaml")
DIRECTIVES = ("{eval-rst}", "{figure}", "{image}", "{include}", "{literalinclude}", "{toctree}")


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_a_block_says_in_which_language_it_is(block: Block) -> None:
    assert block.language in (*CHECKED, *DIRECTIVES)


@pytest.mark.parametrize("block", those_in("bash", "console"), ids=where)
def test_a_command_exists_and_takes_its_options(block: Block) -> None:
    grammar = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)  # noqa: S607
    assert grammar.returncode == 0, grammar.stderr
    for words in commands.commands_of(block.text):
        commands.check(words)


INLINE = sorted(
    code
    for code in inline_code()
    if re.match(r"(make|airflow|curl|pip|quickrouter-sandbox|python -m|apt) ?", code)
    and (" " in code or code.startswith("quickrouter"))
)


@pytest.mark.parametrize("command", INLINE)
def test_a_command_within_a_sentence_exists_and_takes_its_options(command: str) -> None:
    commands.check(shlex.split(command))


@pytest.mark.parametrize("block", those_in("json"), ids=where)
def test_json_can_be_parsed_and_a_connection_can_be_read(block: Block) -> None:
    value = json.loads(block.text)
    if "conn_type" in value:
        commands.connection(block.text)


@pytest.mark.parametrize("code", sorted(code for code in inline_code() if code.startswith('{"conn_type"')))
def test_a_connection_within_a_sentence_can_be_read(code: str) -> None:
    commands.connection(code)


@pytest.mark.parametrize("block", those_in("yaml"), ids=where)
def test_yaml_can_be_parsed_and_its_commands_exist(block: Block) -> None:
    for script in scripts_of(yaml.safe_load(block.text)):
        for words in commands.commands_of(script):
            commands.check(words)


def scripts_of(value: Any) -> list[str]:
    """What stands under ``run``, at any depth; the environment as assignments."""
    if isinstance(value, list):
        return [script for item in value for script in scripts_of(item)]
    if not isinstance(value, dict):
        return []
    own = [value["run"]] if "run" in value else []
    own += [f"{name}={shlex.quote(text)}" for name, text in value.get("env", {}).items()]
    return own + [script for item in value.values() for script in scripts_of(item)]


@pytest.mark.parametrize("block", those_in("ini"), ids=where)
def test_a_setting_of_airflow_is_known_to_airflow(block: Block) -> None:
    from airflow.configuration import conf

    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    for section in parser.sections():
        for name, value in parser[section].items():
            assert conf.configuration_description[section]["options"][name]
            if name == "backend":
                resolve_name(value)(**json.loads(parser[section]["backend_kwargs"]))


def test_a_setting_in_the_environment_is_known_to_airflow() -> None:
    from airflow.configuration import conf

    texts = "\n".join([*inline_code(), *(block.text for block in BLOCKS)])
    named = set(re.findall(r"AIRFLOW__(\w+?)__(\w+)", texts))
    assert named
    for section, name in named:
        options = conf.configuration_description[section.lower()]["options"]
        assert name.lower() in options, (section, name)


def said_by(make: Callable[[], Any]) -> str:
    with pytest.raises(QuickRouterError) as raised:
        make()
    return str(raised.value)


def refused(**input: Any) -> Callable[[], Any]:
    return lambda: check_input(input, STABLE_DIFFUSION)


MESSAGES = [
    lambda: commands.connection('{"password": "k", "extra": {"path_prefx": "/v1"}}'),
    refused(width=700),
    refused(promt="a cat"),
    refused(seed=None),
]


def test_each_message_that_is_shown_is_said_just_so() -> None:
    said = {said_by(make) for make in MESSAGES}
    shown = {line for block in those_in("text") for line in block.text.splitlines()}
    assert shown == said
