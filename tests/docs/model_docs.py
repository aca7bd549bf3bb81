"""Write docs/models.md from the classes of ``api.models``: ``python -m tests.docs.model_docs``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider_quickrouter.api import models
from airflow_provider_quickrouter.api.model_inputs import INPUTS, IS_FILE, ModelInput
from tests.docs.blocks import DOCS

PAGE = DOCS / "models.md"
HEAD = """\
# Models

The models on QuickRouter's pages, made by `python -m tests.docs.model_docs` from `api.models`. A
field that you do not set is not sent; the defaults are the server's. All take `seed`, a whole
number, which makes a run repeatable. How to give an input, and files: [inputs](howto/inputs.md).

"""
BY_NAME = ("black-forest-labs/", "flux-kontext-apps/")


def constants() -> dict[str, str]:
    """``{reference: name of its constant}``."""
    return {value: name for name, value in vars(models).items() if value in list(INPUTS)}


def range_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    parts = [
        f"{text} {schema[key]:g}"
        for key, text in (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "to"))
        if key in schema
    ]
    parts += [f"a multiple of {schema['multipleOf']}"] if "multipleOf" in schema else []
    return " ".join(parts).replace(" a multiple", ", a multiple")


def kind_of(name: str, kind: type[ModelInput], schema: dict[str, Any]) -> str:
    file = IS_FILE in kind.model_fields[name].metadata
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "flag"}
    return "file" if file else words[schema["type"]]


def default_of(name: str, schema: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "**required**"
    return "" if schema["default"] == "" else f"`{schema['default']}`".replace("`False`", "`false`")


def rows(kind: type[ModelInput]) -> Iterator[str]:
    schema = kind.model_json_schema()
    for name, field in schema["properties"].items():
        if name != "seed":
            cells = (
                f"`{name}`",
                kind_of(name, kind, field),
                default_of(name, field, schema.get("required", [])).replace("True", "true"),
                range_of(field),
            )
            yield f"| {' | '.join(cells)} |\n"


def section(reference: str, kind: type[ModelInput]) -> str:
    name = constants()[reference]
    argument = "model" if reference.startswith(BY_NAME) else "version"
    own, _, version = reference.partition(":")
    told = f"`{own}`" + (f", version `{version[:12]}...`" if version else "")
    summary = (kind.__doc__ or "").splitlines()[0].replace("``", "`")
    head = f"## {own.rpartition('/')[2]}\n\n{summary}\n\n"
    use = f"`{argument}={name}` is {told}; input class `{kind.__name__}`.\n\n"
    table = "| Field | Is | Default | Range |\n|---|---|---|---|\n"
    return head + use + table + "".join(rows(kind))


def page() -> str:
    return HEAD + "\n".join(section(*item) for item in INPUTS.items())


if __name__ == "__main__":
    PAGE.write_text(page())
